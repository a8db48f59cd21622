"""Squared distances from patches to the nearest patch of some training pictures, exactly.

The feature of a patch is the concatenation of all stages, coarse ones repeated (Cohen and Hoshen
2020, section 3.4). All patches below one position of a coarse stage share that stage's channels, so
the squared distance of two patches p and q is a sum of terms that many pairs share:

    |F(p) − F(q)|² = Σ_i |F_i(p_i) − F_i(q_i)|²,   p_i: the position of stage i that covers p

The terms of coarse stages are computed once for all pairs that share them. For ResNet-18's three
stages this takes 1/6 of the products of the concatenated features.

|x − g|² is computed as |x|² + (−2x, 1)·(g, |g|²), as a product of matrices. Features are centred on
the mean of the training patches, which keeps rounding errors small.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from models.grids import Grid, covering
from models.heads import Maps, Stages
from models.parallel import each

BLOCK_ELEMENTS = 2**19  # of a block of distances, at most: 2 MB


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
    found = each(lambda task: queries[task[0]].nearest(task[1], kappa), tasks)
    scores = np.empty((len(chosen), levels[0].places), np.float32)
    for b, query in enumerate(queries):
        smallest = np.concatenate(found[b * chosen.shape[1] : (b + 1) * chosen.shape[1]], axis=1)
        scores[b] = _smallest(smallest, kappa).mean(axis=1) + query.norms
    return np.maximum(scores, 0)  # rounding errors of equal patches can be negative


class Query:
    """The patches of one picture, ready to be compared with those of training pictures.

    norms : float32 [P], |x|² of each patch of the finest level, with all levels
    """

    def __init__(self, levels: Sequence[Level], patches: Sequence[np.ndarray]):
        self.levels, self.factors = levels, []
        self.grids = [level.grid for level in levels]
        for level, part in zip(levels, patches, strict=True):
            ones = np.ones((1, level.places), np.float32)
            self.factors.append(np.ascontiguousarray(np.concatenate([-2 * part, ones]).T))
        squares = [np.einsum("cp,cp->p", part, part) for part in patches]
        self.norms = squares[-1]
        for i in range(len(levels) - 2, -1, -1):
            self.norms = squares[i] + self.norms[covering(self.grids[i], self.grids[i + 1])]

    def nearest(self, picture: int, kappa: int) -> np.ndarray:
        """The smallest distances to patches of one training picture, at most `kappa`, in no order.

        float32 [P,≤κ]: squared, minus |x|².
        """
        shared = self._shared(picture)
        groups = _groups(*self.grids[:2]) if len(self.grids) > 1 else _alone(self.grids[0])
        gallery, factor = self._gallery(0, picture), self.factors[0]
        columns = [(parents, gallery[:, places]) for places, parents in groups]
        smallest = np.empty((len(factor), min(kappa, len(factor))), np.float32)
        for places, above in groups:
            rows = factor[places]
            step = max(1, BLOCK_ELEMENTS // max(part.shape[1] for _, part in columns))
            for start in range(0, len(rows), step):
                band = slice(start, start + step)
                over = None if shared is None else shared[above][band]
                found = [_block(rows[band], *column, over, kappa) for column in columns]
                smallest[places[band]] = _smallest(np.concatenate(found, axis=1), kappa)
        return smallest

    def _shared(self, picture: int) -> np.ndarray | None:
        """The distances of all levels but the finest, float32 [P',P']; None without such levels."""
        shared = None
        for i in range(len(self.levels) - 1, 0, -1):
            distances = self.factors[i] @ self._gallery(i, picture)
            if shared is not None:
                parent = covering(self.grids[i], self.grids[i + 1])
                distances += shared[parent[:, None], parent]
            shared = distances
        return shared

    def _gallery(self, i: int, picture: int) -> np.ndarray:
        """A training picture at level i: its patches and their |g|², float32 [c+1,P]."""
        level = self.levels[i]
        return np.concatenate([level.gallery[picture], level.norms[picture, None]])


def _block(rows, parents, gallery, over, kappa: int) -> np.ndarray:
    """The smallest distances [R,≤κ] of patches `rows` [R,c+1] to those of `gallery` [c+1,N].

    `over` [R,P']: distances of what is above the rows to all positions of the next coarser level,
    of which `parents` are above the gallery's patches.
    """
    distances = rows @ gallery
    if over is not None:
        distances += over if isinstance(parents, slice) else over[:, parents]
    return _smallest(distances, kappa)


def _smallest(values: np.ndarray, kappa: int) -> np.ndarray:
    """The `kappa` smallest of each row, or all if there are not more."""
    if kappa == 1:
        return values.min(axis=1, keepdims=True)
    if kappa >= values.shape[1]:
        return values
    return np.partition(values, kappa - 1, axis=1)[:, :kappa]


def _alone(grid: Grid) -> list[tuple[np.ndarray, slice]]:
    """`_groups` without a coarser grid: one group of all positions."""
    return [(np.arange(grid[0] * grid[1]), slice(None))]


@functools.lru_cache(maxsize=16)
def _groups(fine: Grid, coarse: Grid) -> list[tuple[np.ndarray, np.ndarray | slice]]:
    """The positions of the fine grid in groups, each with at most one below a coarse position.

    Of each group: positions int [N], and the coarse positions above them: int [N], or slice(None)
    if these are all, in order. So a group's distances need no repetition of the coarse ones.
    """
    parent = covering(fine, coarse)
    order = np.argsort(parent, kind="stable")
    ranks = np.arange(len(order)) - np.searchsorted(parent[order], parent[order])
    groups = []
    for rank in range(ranks.max() + 1):
        places = order[ranks == rank]
        complete = len(places) == coarse[0] * coarse[1]
        groups.append((places, slice(None) if complete else parent[places]))
    return groups
