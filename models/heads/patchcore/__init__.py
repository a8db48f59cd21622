"""PatchCore: distances from a bank of normal patches (Roth et al. 2022, arXiv 2106.08265)."""

import numpy as np

from common.errors import UsageError
from models.heads import Maps, Stages, checked, stored
from models.heads.patchcore.coreset import DIMS
from models.heads.patchcore.duration import announced
from models.heads.patchcore.learned import EVERY, Learned
from models.heads.patchcore.patches import Patches
from models.heads.patchcore.search import Search

NEIGHBOURS = 9  # b of equation 7
SAMPLE = 2000  # training patches for `unit`


class PatchCoreHead:
    """Patch score: distance from the nearest entry of the bank (equation 6, for each patch).

    Image score: the largest patch score, re-weighted (`weighted`, equation 7). The bank is a
    coreset of the patches of all pictures (`models.heads.patchcore.coreset`). `settings`:
    models.methods.PatchCoreSettings. See `models.heads.Head` for the methods.

    Arrays: `bank` [M,D], in the order of choice; `pictures` int32 [M], the number of the training
    picture of each entry, from 0 in the order of learning, or EVERY; `unit` float32 [1].
    """

    def __init__(self, settings, stages: Stages):
        self.settings, self.stages, self.n, self.unit = settings, stages, 0, 1.0
        self.patches = Patches(stages)
        self.learned = Learned(self.patches.dims, settings.coreset_ratio)
        self.search: Search | None = None
        self.usual: list[tuple[int, float]] = []  # pictures and `unit` of reopened heads

    @staticmethod
    def memory(settings, stages: Stages, pictures: int) -> int:
        (h, w), dims = stages[0][1], sum(channels for channels, _ in stages)
        seen = pictures * h * w
        stored = Learned.most(seen, dims, settings.coreset_ratio)
        entries = Learned.kept(seen, settings.coreset_ratio)
        # Beside the patches: three copies of the projected ones while choosing; then of the bank
        # itself, the turned bank, two factors of the search, and a copy for saving.
        return 4 * (stored * (dims + 3 * (DIMS + 2)) + 5 * entries * (dims + 1))

    @staticmethod
    def stored_memory(settings, stages: Stages, pictures: int) -> int:
        (h, w), dims = stages[0][1], sum(channels for channels, _ in stages)
        entries = Learned.kept(pictures * h * w, settings.coreset_ratio)
        # The bank as float32 and, at worst, as float16 beside it; with the numbers of the pictures.
        return 4 * entries * (3 * dims // 2 + 2) + Search.memory(entries, dims)

    @staticmethod
    def announcement(settings, stages: Stages, pictures: int) -> str | None:
        (h, w), dims = stages[0][1], sum(channels for channels, _ in stages)
        return announced(pictures * h * w, dims, settings.coreset_ratio)

    def update(self, maps: Maps) -> None:
        self._require_open()
        b, (h, w) = len(maps[0]), self.patches.grid
        self.learned.add(self.patches(maps), np.repeat(np.arange(self.n, self.n + b), h * w))
        self.n += b

    def merge(self, other: "PatchCoreHead") -> None:
        self._require_open()
        other._require_open()
        if (self.patches.grid, self.patches.dims) != (other.patches.grid, other.patches.dims):
            raise ValueError("the patches are of maps of other shapes")
        self.learned.merge(other.learned, self.n)
        self.n += other.n
        self.usual += other.usual

    def finish(self) -> None:
        self._require_open()
        if self.n < 2:
            raise UsageError(f"training needs at least 2 good pictures, found {self.n}")
        bank, pictures = self.learned.coreset()
        # Stage maps are 0 outside a region of interest, and the coreset has only one such patch.
        pictures[~bank.any(axis=1)] = EVERY
        self.search = Search(bank, pictures, self.settings.search == "exact")
        self.unit = self._usual()
        self.learned = None  # frees memory

    def _usual(self) -> float:
        """The distances of training patches from what other pictures have."""
        if self.usual:  # the patches of a bank are farther from each other than usual ones
            counts, units = zip(*self.usual, strict=True)
            return float(np.average(units, weights=counts))
        distances, _ = self.search.nearest(*self.learned.sample(SAMPLE))
        usual = distances[np.isfinite(distances) & (distances > 0)]
        return float(np.median(usual)) if len(usual) else 1.0  # no two patches differ

    def reopened(self) -> "PatchCoreHead":
        """With its bank in place of the patches that it was chosen from; the next bank has all its
        entries, and those of new patches that are farthest from them."""
        head, (h, w) = PatchCoreHead(self.settings, self.stages), self.patches.grid
        head.learned.reopen(self.search.bank, self.search.pictures, self.n * h * w)
        head.n, head.usual = self.n, [(self.n, self.unit)]
        return head

    def state(self) -> dict[str, np.ndarray]:
        patches, pictures = self.learned.all()
        known = np.array([self.learned.seen, self.learned.limit], np.int64)
        return {"patches": patches, "pictures": pictures, "seen": known}

    def restore(self, arrays: dict, n: int) -> None:
        pictures, known, (h, w) = arrays["pictures"], arrays["seen"], self.patches.grid
        patches = checked(arrays, "patches", (len(pictures), self.patches.dims))
        if pictures.dtype != np.int32 or pictures.min() < 0 or pictures.max() >= n:
            raise ValueError(f"pictures: expected numbers from 0 to {n - 1}")
        if known.shape != (2,) or known[0] != n * h * w or known[1] < 0:
            raise ValueError(f"seen: expected {n * h * w} patches and a limit")
        self.learned.restore(patches, pictures, *map(int, known))
        self.n = n

    def _require_open(self) -> None:
        if self.search is not None:
            raise ValueError("the bank is complete: it cannot learn any more")

    def score(self, maps: Maps) -> tuple[np.ndarray | None, np.ndarray]:
        return self._scores(maps, None)

    def leave_one_out(self, maps: Maps, first: int = 0) -> tuple[np.ndarray | None, np.ndarray]:
        """The bank without the entries of the picture, not the bank that training without it would
        give. inf if no other picture has entries."""
        return self._scores(maps, np.arange(first, first + len(maps[0])))

    def _scores(self, maps: Maps, without) -> tuple[np.ndarray, np.ndarray]:
        """`without`: int [B], pictures whose entries are left out, or None."""
        b, (h, w) = len(maps[0]), self.patches.grid
        queries = self.patches(maps)
        own = None if without is None else np.repeat(without, h * w)
        distances, entries = self.search.nearest(queries, own)
        worst = distances.reshape(b, -1).argmax(axis=1) + np.arange(b) * h * w
        image = np.empty(b, np.float32)
        for i, patch in enumerate(worst):
            left_out = None if without is None else without[i]
            if np.isfinite(distances[patch]):
                near = self.search.neighbours(entries[patch], NEIGHBOURS, left_out)
                others = np.linalg.norm(queries[patch] - self.search.bank[near], axis=1)
                image[i] = weighted(distances[patch], others)
            else:
                image[i] = np.inf
        return image, distances.reshape(b, h, w)

    def arrays(self, dtype: str = "float32") -> dict[str, np.ndarray]:
        bank, unit = stored(self.search.bank, dtype), np.array([self.unit], np.float32)
        return {"bank": bank, "pictures": self.search.pictures, "unit": unit}

    @classmethod
    def from_arrays(cls, arrays: dict, settings, stages: Stages, n: int) -> "PatchCoreHead":
        head = cls(settings, stages)
        bank, pictures, unit = arrays["bank"], arrays["pictures"], checked(arrays, "unit", (1,))
        head._require_shapes(bank, pictures, n)
        if not unit[0] > 0:
            raise ValueError(f"unit is {unit}, expected one number above 0")
        head.n, head.unit, head.learned = n, float(unit[0]), None
        head.search = Search(
            bank.astype(np.float32, copy=False), pictures, settings.search == "exact"
        )
        return head

    def _require_shapes(self, bank: np.ndarray, pictures: np.ndarray, n: int) -> None:
        """ValueError if these are not arrays of a bank of `n` pictures."""
        dims, (h, w) = self.patches.dims, self.patches.grid
        # `stored_memory` counts no more entries.
        most = Learned.kept(n * h * w, self.settings.coreset_ratio)
        right = bank.ndim == 2 and bank.shape[1] == dims and 1 <= len(bank) <= most
        if not right or bank.dtype.kind != "f":
            raise ValueError(
                f"bank is {bank.dtype} {bank.shape}, expected float [M,{dims}], M from 1 to {most}"
            )
        if pictures.shape != (len(bank),) or pictures.dtype != np.int32:
            raise ValueError(
                f"pictures is {pictures.dtype} {pictures.shape}, expected int32 [{len(bank)}]"
            )
        if pictures.min() < EVERY or pictures.max() >= n:
            raise ValueError(f"pictures: expected numbers from {EVERY} to {n - 1}")

    def layer(self):
        from models.heads.patchcore.layer import BankScores

        return BankScores(self.patches, self.search, NEIGHBOURS)


def weighted(largest: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Equation 7: (1 − exp(s*) / Σ exp(d)) · s*.

    largest : s*, distance of the worst patch from the nearest entry m*
    others : distances d [≤ b] of that patch from the b nearest entries to m*, m* among them

    All exponents are reduced by the largest one, so that no power overflows. Where the bank has one
    entry only, there is nothing to compare with, and the score is s*.
    """
    if len(others) == 1:
        return largest
    top = others.max()
    return (1 - np.exp(largest - top) / np.exp(others - top).sum()) * largest
