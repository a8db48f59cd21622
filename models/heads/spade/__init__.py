"""SPADE: nearest training pictures, then their nearest patches (Cohen and Hoshen 2020, arXiv
2005.02357)."""

import numpy as np

from common.errors import UsageError, WorkError
from models.device import cpu_threads
from models.heads import Maps, Stages, checked, stored
from models.heads.spade.gallery import BLOCK_ELEMENTS, levels, nearest_patches

FEW_MAPS = 32  # left-out maps: colours and the pixel threshold follow from them
SAMPLE = 4  # training pictures from which a usual score is estimated
RESOLUTION = 1e-6  # of squared distances in float32, as a share of the squared norms


class SPADEHead:
    """Compares a picture with the training pictures that are most similar to it.

    The last stage is pooled: f, its mean over all positions. The other stages form the patches F.
    A single stage is used for both. `settings`: models.methods.SPADESettings.

    Image score: d(y) = 1/K Σ_{f ∈ N_K(f_y)} |f − f_y|², the mean of the squared distances to the K
    nearest training pictures N_K (equation 1 of the paper). Patch score: d(y,p) = 1/κ Σ_{f ∈
    N_κ(F(y,p))} |f − F(y,p)|², where N_κ are the κ nearest of all patches of these K pictures
    (equation 3). With fewer than K training pictures, K is their number. With the setting
    image_score "maximum", the image score is the maximum of the anomaly map instead. See
    `models.heads.Head` for the methods.

    Arrays: `pooled` [n,c]; for each grid k of the patches, finest first, `patches{k}` [n,c,P], the
    training pictures minus `centre{k}` [c]; `unit` [1].
    """

    def __init__(self, settings, stages: Stages):
        self.settings, self.n, self.unit = settings, 0, 1.0
        self.channels = stages[-1][0]
        self.levels = levels(_of_patches(stages))
        self.pooled = np.empty((0, self.channels), np.float64)
        self._batches: list[list[np.ndarray]] = [[] for _ in range(len(self.levels) + 1)]

    @staticmethod
    def memory(settings, stages: Stages, pictures: int) -> int:
        places = [h * w for _, (h, w) in _of_patches(stages)]
        kept = sum(c * h * w + h * w for c, (h, w) in _of_patches(stages)) + 2 * stages[-1][0]
        coarse = max((p for p in places if p < max(places)), default=0)
        each = 3 * coarse**2 + 3 * BLOCK_ELEMENTS + max(places) * settings.kappa
        found = min(settings.gallery, pictures) * max(places) * settings.kappa
        # float32; saving needs a second copy
        return 4 * (2 * pictures * kept + cpu_threads() * each + 4 * found)

    @staticmethod
    def stored_memory(settings, stages: Stages, pictures: int) -> int:
        """As much as learning: validation saves the model again, with its thresholds."""
        return SPADEHead.memory(settings, stages, pictures)

    def update(self, maps: Maps) -> None:
        self._require_learning()
        if len(maps[0]) == 0:
            return
        self._batches[0].append(_pooled(maps))
        for level, batches in zip(self.levels, self._batches[1:], strict=True):
            batches.append(level.of(maps))
        self.n += len(maps[0])

    def merge(self, other: "SPADEHead") -> None:
        self._require_learning()
        other._require_learning()
        if [(lv.grid, lv.channels) for lv in self.levels] != [
            (lv.grid, lv.channels) for lv in other.levels
        ]:
            raise ValueError("the heads are of maps of other shapes")
        for own, others in zip(self._batches, other._batches, strict=True):
            own.extend(others)
        self.n += other.n

    def finish(self) -> None:
        self._require_learning()
        if self.n < 2:
            raise UsageError(f"training needs at least 2 good pictures, found {self.n}")
        self.pooled = np.concatenate(self._batches[0])
        for level, batches in zip(self.levels, self._batches[1:], strict=True):
            level.fill(batches)
        learned = [self.pooled, *(level.norms for level in self.levels)]
        if not all(np.isfinite(array).all() for array in learned):
            raise WorkError("the features contain values that are not finite")
        self._batches = []
        self._require_patches(self.n - 1)
        self.unit = self._usual()

    def score(self, maps: Maps) -> tuple[np.ndarray | None, np.ndarray]:
        return self._scores(self._distances(_pooled(maps)), self._patches(maps))

    def leave_one_out(self, maps: Maps, first: int = 0) -> tuple[np.ndarray | None, np.ndarray]:
        """Exact: the picture's own features are not compared with it."""
        return self._scores(self._left_out(maps, first), self._patches(maps), self.n - 1)

    @property
    def few_maps(self) -> int | None:
        """The search for patches takes long, and the pooled image score does not need it."""
        return FEW_MAPS if self.settings.image_score == "pooled" else None

    def leave_image_out(self, maps: Maps, first: int = 0) -> np.ndarray:
        """The image scores of `leave_one_out`, [B]; only with image_score pooled."""
        distances = self._left_out(maps, first)
        k = min(self.settings.gallery, self.n - 1)
        nearest = np.partition(distances, k - 1, axis=1)[:, :k]
        return np.sort(nearest, axis=1).mean(axis=1).astype(np.float32)

    def _left_out(self, maps: Maps, first: int) -> np.ndarray:
        """Squared distances [B,n] to the training pictures, inf to itself."""
        distances, rows = self._distances(_pooled(maps)), np.arange(len(maps[0]))
        distances[rows, first + rows] = np.inf
        return distances

    def _scores(
        self, distances, patches, most: int | None = None
    ) -> tuple[np.ndarray | None, np.ndarray]:
        """From squared distances [B,n] to the training pictures, `most` of them finite."""
        k = min(self.settings.gallery, most or self.n)
        chosen = np.argsort(distances, axis=1, kind="stable")[:, :k]
        found = nearest_patches(self.levels, patches, chosen, self.settings.kappa)
        found = found.reshape(-1, *self.levels[0].grid)
        if self.settings.image_score == "maximum":
            return None, found
        image = np.take_along_axis(distances, chosen, axis=1).mean(axis=1)
        return image.astype(np.float32), found

    def _distances(self, pooled: np.ndarray) -> np.ndarray:
        """Squared distances [B,n] of pooled features [B,c] to those of the training pictures."""
        return np.stack([((self.pooled - row) ** 2).sum(axis=1) for row in pooled])

    def _patches(self, maps: Maps) -> list[np.ndarray]:
        return [level.of(maps) - level.centre[:, None] for level in self.levels]

    def _usual(self) -> float:
        """The mean patch score of some training pictures that are left out."""
        some = np.unique(np.linspace(0, self.n - 1, SAMPLE).astype(int))
        distances = self._distances(self.pooled[some])
        distances[np.arange(len(some)), some] = np.inf
        patches = [level.gallery[some] for level in self.levels]
        usual = float(self._scores(distances, patches, self.n - 1)[1].mean())
        norms = sum(float(level.norms[some].mean()) for level in self.levels)
        if not usual > RESOLUTION * norms:
            raise UsageError("the training pictures are all equal; training needs different ones")
        return usual

    def _require_learning(self) -> None:
        if not self._batches:
            raise ValueError("the head is finished: it cannot learn any more")

    def _require_patches(self, pictures: int) -> None:
        """UsageError if the gallery of so many pictures has fewer than κ patches."""
        there = min(self.settings.gallery, pictures) * self.levels[0].places
        if self.settings.kappa > there:
            raise UsageError(
                f"{self.settings.kappa}: the gallery of a picture has only {there} patches; choose "
                "a smaller number, or train with more pictures",
                "kappa",
            )

    def arrays(self, dtype: str = "float32") -> dict[str, np.ndarray]:
        arrays = {"pooled": self.pooled.astype(np.float32)}
        for k, level in enumerate(self.levels):
            arrays[f"patches{k}"] = stored(level.gallery, dtype)
            arrays[f"centre{k}"] = level.centre
        return arrays | {"unit": np.array([self.unit], np.float32)}

    @classmethod
    def from_arrays(cls, arrays: dict, settings, stages: Stages, n: int) -> "SPADEHead":
        head = cls(settings, stages)
        head.n, head._batches = n, []
        head.pooled = checked(arrays, "pooled", (n, head.channels)).astype(np.float64)
        for k, level in enumerate(head.levels):
            shape = (n, level.channels, level.places)
            level.gallery = checked(arrays, f"patches{k}", shape)
            level.centre = checked(arrays, f"centre{k}", (level.channels,))
            level.measure()
        head.unit = float(checked(arrays, "unit", (1,))[0])
        return head

    def layer(self):
        from models.heads.spade.layer import Scores

        return Scores(self)


def _of_patches(stages: Stages) -> Stages:
    """The stages that form the patches: all but the last, or the only one."""
    return stages[:-1] or stages


def _pooled(maps: Maps) -> np.ndarray:
    """The mean over all positions of the last stage, float64 [B,c]."""
    return np.asarray(maps[-1]).mean(axis=(2, 3), dtype=np.float64)
