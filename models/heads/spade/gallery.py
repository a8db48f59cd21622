"""Squared distances from patches to the nearest patch of some training pictures, exactly.

The feature of a patch is the concatenation of all stages, coarse ones repeated (Cohen and Hoshen
2020, section 3.4). All patches below one position of a coarse stage share that stage's channels, so
the squared distance of two patches p and q is a sum of terms that many pairs share:

    |F(p) − F(q)|² = Σ_i |F_i(p_i) − F_i(q_i)|²,   p_i: the position of stage i that covers p

The terms of coarse stages are computed once for all pairs that share them. For ResNet-18's three
stages this takes 1/6 of the products of the concatenated features.

The search orders pairs by |x − g|² − |x|² = (−2x, 1)·(g, |g|²), a product of matrices. Its rounding
errors are in proportion to |x|² and |g|², which can be a thousand times larger than |x − g|².
Features are centred on the mean of the training patches to keep these errors small, and the
distances of the pairs that were found are computed directly.
"""

import functools
import threading
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from models.grids import Grid, covering
from models.heads import Maps, Stages
from models.parallel import each

Found = tuple[np.ndarray, np.ndarray]  # values and positions of patches, float32 and int [P,κ]

BLOCK_ELEMENTS = 2**18  # of a block of distances, at most: 1 MB


@dataclass
class Level:
    """The maps of one grid: c channels, those of stages with the same grid together.

    stages : indices of these stages
    gallery : float32 [n,c,P], the training pictures, minus `centre`
    centre : float32 [c], mean of all training patches
    norms : float32 [n,P], |g|² of each patch of the gallery
    """

    grid: Grid
    channels: int
    stages: list[int]
    gallery: np.ndarray | None = None
    centre: np.ndarray | None = None
    norms: np.ndarray | None = None

    @property
    def places(self) -> int:
        return self.grid[0] * self.grid[1]

    def of(self, maps: Maps) -> np.ndarray:
        """This level's part of the stage maps, float32 [B,c,P]; a copy."""
        parts = [np.asarray(maps[i], np.float32) for i in self.stages]
        return np.concatenate(parts, axis=1).reshape(len(parts[0]), self.channels, self.places)

    def fill(self, batches: list[np.ndarray]) -> None:
        """Join `batches` [b,c,P] and centre them; empties the list to keep memory low."""
        self.gallery = np.empty((sum(map(len, batches)), self.channels, self.places), np.float32)
        start = 0
        while batches:
            batch = batches.pop(0)
            self.gallery[start : start + len(batch)] = batch
            start += len(batch)
        self.centre = self.gallery.mean(axis=(0, 2), dtype=np.float64).astype(np.float32)
        self.gallery -= self.centre[:, None]
        self.measure()

    def measure(self) -> None:
        self.norms = np.einsum("ncp,ncp->np", self.gallery, self.gallery)


def levels(stages: Stages) -> list[Level]:
    """One level per grid of `stages`, finest first."""
    found: dict[Grid, Level] = {}
    for i, (channels, grid) in enumerate(stages):
        level = found.setdefault(tuple(grid), Level(tuple(grid), 0, []))
        level.channels += channels
        level.stages.append(i)
    return list(found.values())


def nearest_patches(
    levels: Sequence[Level], patches: Sequence[np.ndarray], chosen: np.ndarray, kappa: int
) -> np.ndarray:
    """Mean squared distances to the `kappa` nearest patches of chosen training pictures.

    d(y,p) = 1/κ Σ_{f ∈ N_κ(F(y,p))} |f − F(y,p)|²  (Cohen and Hoshen 2020, equation 3)

    Parameters
    ----------
    patches : centred float32 [B,c,P] of each level, finest first
    chosen : int [B,K], the training pictures whose patches are searched
    kappa : number of nearest patches, at most K·P

    Returns float32 [B,P], of the finest level.
    """
    queries = [Query(levels, [level[b] for level in patches]) for b in range(len(chosen))]
    tasks = [(b, picture) for b, row in enumerate(chosen) for picture in row]
    found = each(lambda task: queries[task[0]].search(task[1], kappa), tasks)

    def score(b: int) -> np.ndarray:
        pictures = chosen[b]
        values, places = _joined(found[b * len(pictures) : (b + 1) * len(pictures)])
        each_has = values.shape[1] // len(pictures)
        best = _smallest(values, kappa)
        places = np.take_along_axis(places, best, axis=1)
        return queries[b].squares(pictures[best // each_has], places).mean(axis=1)

    return np.stack(each(score, range(len(chosen))))


class Query:
    """The patches of one picture, float32 [c,P] of each level, to compare with the gallery."""

    def __init__(self, levels: Sequence[Level], patches: Sequence[np.ndarray]):
        self.levels, self.patches = levels, patches
        self.factors = []
        for level, part in zip(levels, patches, strict=True):
            ones = np.ones((1, level.places), np.float32)
            self.factors.append(np.ascontiguousarray(np.concatenate([-2 * part, ones]).T))
        fine, coarse = levels[0].grid, levels[1].grid if len(levels) > 1 else None
        self.groups = _groups(fine, coarse)
        self.rows = [self.factors[0][places] for places, _ in self.groups]

    def search(self, picture: int, kappa: int) -> Found:
        """The nearest patches of one training picture, at most `kappa`, in no order.

        Returns |x − g|² − |x|², float32 [P,≤κ], and the positions of these patches, int32 [P,≤κ].
        """
        shared, level = self._shared(picture), self.levels[0]
        columns = []
        for places, parents in self.groups:
            part = np.empty((level.channels + 1, len(places)), np.float32)
            np.take(level.gallery[picture], places, axis=1, out=part[:-1], mode="clip")
            np.take(level.norms[picture], places, out=part[-1], mode="clip")
            columns.append((places, parents, part))
        widest = max(len(places) for places, _ in self.groups)
        values = np.empty((level.places, min(kappa, level.places)), np.float32)
        positions = np.empty(values.shape, np.int32)
        for (places, above), rows in zip(self.groups, self.rows, strict=True):
            for band in _bands(len(rows), widest):
                over = None if shared is None else _over(shared, above, band)
                found = _joined([_block(rows[band], *column, over, kappa) for column in columns])
                best = _smallest(found[0], kappa)
                values[places[band]] = np.take_along_axis(found[0], best, axis=1)
                positions[places[band]] = np.take_along_axis(found[1], best, axis=1)
        return values, positions

    def squares(self, pictures: np.ndarray, places: np.ndarray) -> np.ndarray:
        """|x − g|² of each patch and some patches of training pictures, both int [P,κ]: [P,κ]."""
        sums = np.zeros(places.shape, np.float32)
        own = np.arange(len(places))
        for i, level in enumerate(self.levels):
            if i:
                parent = covering(self.levels[i - 1].grid, level.grid)
                own, places = parent[own], parent[places]
            for band in _bands(len(own), level.channels * places.shape[1]):
                theirs = level.gallery[pictures[band], :, places[band]]
                away = theirs - self.patches[i].T[own[band], None]
                sums[band] += np.einsum("pkc,pkc->pk", away, away)
        return sums

    def _shared(self, picture: int) -> np.ndarray | None:
        """The distances of all levels but the finest, float32 [P',P']; None without such levels."""
        shared = None
        for i in range(len(self.levels) - 1, 0, -1):
            level = self.levels[i]
            gallery = np.concatenate([level.gallery[picture], level.norms[picture, None]])
            distances = _scratch(f"distances{i}", level.places, level.places)
            np.matmul(self.factors[i], gallery, out=distances)
            if shared is not None:
                parent = covering(level.grid, self.levels[i + 1].grid)
                columns = _scratch(f"columns{i}", len(shared), level.places)
                np.take(shared, parent, axis=1, out=columns, mode="clip")
                repeated = _scratch(f"repeated{i}", level.places, level.places)
                distances += np.take(columns, parent, axis=0, out=repeated, mode="clip")
            shared = distances
        return shared


def _block(rows, places, parents, gallery, over, kappa: int) -> Found:
    """The nearest patches [R,≤κ] to `rows` [R,c+1] in a group of the gallery [c+1,N].

    `places`, `parents`: of the group, as in `_groups`. `over` [R,P']: distances of what is above
    the rows to all positions of the next coarser level.
    """
    distances = np.matmul(rows, gallery, out=_scratch("block", len(rows), gallery.shape[1]))
    if over is not None:
        distances += over if parents is None else over[:, parents]
    best = _smallest(distances, kappa)
    return np.take_along_axis(distances, best, axis=1), places[best]


def _over(shared: np.ndarray, above: np.ndarray | None, band: slice) -> np.ndarray:
    """The rows of `shared` above a band of a group; `above` as in `_groups`."""
    return shared[band] if above is None else shared[above[band]]


def _bands(rows: int, columns: int) -> list[slice]:
    """Slices of about equal length of so many rows, of at most BLOCK_ELEMENTS (or one row)."""
    count = min(rows, -(-rows * columns // BLOCK_ELEMENTS))
    edges = [i * rows // count for i in range(count + 1)]
    return [slice(*pair) for pair in zip(edges[:-1], edges[1:], strict=True)]


_buffers = threading.local()


def _scratch(name: str, rows: int, columns: int) -> np.ndarray:
    """An array float32 [rows,columns] of this thread, which the next call of `name` overwrites.

    New arrays of this size would be returned to the system and cleared each time, which takes
    longer than the product of matrices that fills them.
    """
    buffer = getattr(_buffers, name, None)
    if buffer is None or buffer.size < rows * columns:
        buffer = np.empty(rows * columns, np.float32)
        setattr(_buffers, name, buffer)
    return buffer[: rows * columns].reshape(rows, columns)


def _joined(found: Sequence[Found]) -> Found:
    """What was found in several parts, side by side."""
    values, places = zip(*found, strict=True)
    return np.concatenate(values, axis=1), np.concatenate(places, axis=1)


def _smallest(values: np.ndarray, kappa: int) -> np.ndarray:
    """The columns int [R,≤κ] of the `kappa` smallest of each row, or of all."""
    if kappa == 1:
        return values.argmin(axis=1)[:, None]
    return np.argpartition(values, min(kappa, values.shape[1]) - 1, axis=1)[:, :kappa]


@functools.lru_cache(maxsize=16)
def _groups(fine: Grid, coarse: Grid | None) -> list[tuple[np.ndarray, np.ndarray | None]]:
    """The positions of the fine grid in groups, each with at most one below a coarse position.

    Of each group: positions int [N], and the coarse positions above them: int [N], or None if these
    are all, in order. So a group's distances need no repetition of the coarse ones. Without a
    coarse grid: one group.
    """
    if coarse is None:
        return [(np.arange(fine[0] * fine[1]), None)]
    parent = covering(fine, coarse)
    order = np.argsort(parent, kind="stable")
    ranks = np.arange(len(order)) - np.searchsorted(parent[order], parent[order])
    groups = []
    for rank in range(ranks.max() + 1):
        places = order[ranks == rank]
        complete = len(places) == coarse[0] * coarse[1]
        groups.append((places, None if complete else parent[places]))
    return groups
