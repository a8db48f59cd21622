"""The patches learned so far, and their reduction to a coreset within bounds of memory."""

import logging

import numpy as np

from common.errors import WorkError
from common.progress import progress
from models.heads.patchcore.coreset import choices, projection, whole
from models.parallel import each

logger = logging.getLogger(__name__)

# Bytes of patches above which they are reduced while more are learned. The selection takes time
# proportional to the square of their number.
BUDGET = 2**30
EVERY = -1  # in place of a picture's number: all pictures have this patch
# Such a reduction keeps so many times the patches of the final bank: the last one chooses again.
SPARE = 2


class Learned:
    """Patches float32 [·,D] of good pictures, each with the number of its picture.

    Attributes
    ----------
    seen : int, number of all patches, also of those that a reduction left out
    patches : list of float32 [·,D]; the first `banks` of them are complete banks, of which every
        coreset keeps all, so that the earlier pictures stay as near to it as they were
    pictures : list of int32 [·], the numbers of their pictures
    """

    def __init__(self, dims: int, ratio: float, budget: int = BUDGET):
        self.dims, self.ratio, self.budget = dims, ratio, budget
        self.seen, self.patches, self.pictures, self.banks = 0, [], [], 0
        self.limit = budget  # bytes; grows with what the last reduction kept

    @staticmethod
    def most(seen: int, dims: int, ratio: float, budget: int = BUDGET) -> int:
        """The largest number of patches that are kept at the same time, of `seen` patches."""
        return min(seen, max(budget // (4 * dims), int(2 * SPARE * ratio * seen)))

    @staticmethod
    def kept(seen: int, ratio: float) -> int:
        """The number of patches in the bank, of `seen` patches."""
        return max(1, int(ratio * seen))

    @staticmethod
    def distances(seen: int, dims: int, ratio: float, budget: int = BUDGET) -> int:
        """How many distances of a patch from a centre all reductions of `seen` patches compute.

        As if patches came one by one; in batches, there are slightly fewer reductions.
        """
        found = reached = stored = 0
        most = budget // (4 * dims)  # patches
        while SPARE * ratio < 1 and reached + most - stored + 1 <= seen:
            reached += most - stored + 1
            keep = max(1, int(SPARE * ratio * reached))
            found += (most + 1) * keep
            most, stored = max(budget // (4 * dims), 2 * keep), keep
        return found + (stored + seen - reached) * Learned.kept(seen, ratio)

    def add(self, patches: np.ndarray, pictures: np.ndarray) -> None:
        self._append(patches, pictures)
        self.seen += len(patches)
        self._fit()

    def merge(self, other: "Learned", first: int) -> None:
        """Add those of `other`, whose pictures get numbers from `first` on."""
        for i, (patches, numbers) in enumerate(zip(other.patches, other.pictures, strict=True)):
            pictures = np.where(numbers == EVERY, numbers, numbers + np.int32(first))
            if i < other.banks:
                self._add_bank(patches, pictures)
            else:
                self._append(patches, pictures)
        self.seen += other.seen
        self._fit()

    def reopen(self, bank: np.ndarray, pictures: np.ndarray, seen: int) -> None:
        """Begin with a complete bank of `seen` patches."""
        self._add_bank(bank, pictures)
        self.seen, self.limit = seen, max(self.budget, 2 * bank.nbytes)

    def restore(self, patches: np.ndarray, pictures: np.ndarray, seen: int, limit: int) -> None:
        """Go on with what `all` gave."""
        self._append(patches, pictures)
        self.seen, self.limit = seen, max(self.budget, limit)

    def all(self) -> tuple[np.ndarray, np.ndarray]:
        """Copies of all patches and the numbers of their pictures."""
        return np.concatenate(self.patches), np.concatenate(self.pictures)

    def coreset(self) -> tuple[np.ndarray, np.ndarray]:
        """The bank float32 [M,D], M = ratio · seen, and the picture of each entry, int32 [M].

        Fewer entries if patches are equal. WorkError if values are not finite.
        """
        return self._reduced(self.kept(self.seen, self.ratio), "coreset")

    def sample(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        """About `count` of the patches, evenly spread, and the numbers of their pictures."""
        total = sum(map(len, self.patches))
        return self._gathered(np.arange(0, total, max(1, total // count)))

    def _append(self, patches: np.ndarray, pictures: np.ndarray) -> None:
        self.patches.append(patches)
        self.pictures.append(np.asarray(pictures, np.int32))

    def _add_bank(self, bank: np.ndarray, pictures: np.ndarray) -> None:
        self.patches.insert(self.banks, bank)
        self.pictures.insert(self.banks, pictures)
        self.banks += 1

    def _fit(self) -> None:
        """Reduce the patches if they have more than `limit` bytes."""
        stored, keep = sum(map(len, self.patches)), int(SPARE * self.ratio * self.seen)
        if 4 * self.dims * stored <= self.limit or keep >= stored:
            return
        logger.info(
            "%d patches need more than %.2f GB: they are reduced to %d while more are learned, "
            "and the bank is a coreset of these coresets",
            *(stored, self.limit / 1e9, keep),
        )
        of_banks = self._of_banks()
        kept = self._reduced(max(1, keep), "coreset of a part")
        # The entries of banks come first.
        self.patches, self.pictures = ([a[:of_banks], a[of_banks:]] for a in kept)
        self.banks, self.limit = 1, max(self.budget, 2 * kept[0].nbytes)

    def _of_banks(self) -> int:
        """The number of entries of complete banks."""
        return sum(map(len, self.patches[: self.banks]))

    def _reduced(self, count: int, what: str) -> tuple[np.ndarray, np.ndarray]:
        """Greedy k-centre selection of `count` patches; WorkError if values are not finite."""
        directions = projection(self.dims)

        def project(patches: np.ndarray) -> np.ndarray:
            with np.errstate(invalid="ignore", over="ignore"):
                return patches @ directions

        projected = np.concatenate(each(project, self.patches))
        if not np.isfinite(projected).all():
            raise WorkError("the features contain values that are not finite, or too large")
        found: list[int] = []
        chosen = choices(whole(projected), count, chosen=min(self._of_banks(), count))
        for new in progress(chosen, count, what, unit="patches"):
            found += new
        if len(found) < min(count, len(projected)):
            logger.info("%s: only %d patches differ", what, len(found))
        return self._gathered(np.array(found, np.int64))

    def _gathered(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Copies of the patches and picture numbers at `indices` of all blocks."""
        patches = np.empty((len(indices), self.dims), np.float32)
        pictures, start = np.empty(len(indices), np.int32), 0
        for block, numbers in zip(self.patches, self.pictures, strict=True):
            here = np.flatnonzero((indices >= start) & (indices < start + len(block)))
            patches[here] = block[indices[here] - start]
            pictures[here] = numbers[indices[here] - start]
            start += len(block)
        return patches, pictures
