"""PaDiM: one Gaussian per patch position (Defard et al. 2020, arXiv 2011.08785)."""

import copy
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from common.errors import UsageError, WorkError
from models.heads import Maps, Stages, checked, stored
from models.heads.padim import sums
from models.heads.padim.gaussian import PatchGaussian
from models.heads.padim.views import combined, views

MARGIN = 1.02  # for float32, of a squared distance


class PaDiMHead:
    """Patch score: Mahalanobis distance of the embedding from the Gaussian of its position.

    Image score: the maximum of the anomaly map. With several Gaussians, module `views` says how
    their distances become scores. `settings`: models.methods.PaDiMSettings. See
    `models.heads.Head` for the methods.

    Arrays, for each level k of each factored Gaussian, coarsest stage first: `mean{k}` [P,c];
    `own{k}` [P,c(c+1)/2], the lower triangle of the factor A of the level's own channels, row by
    row; `coarser{k}` [P,c,D−c], the factor K of the white y of all coarser levels (not at level 0).
    The precision matrix of a patch is WᵀW, where W has the rows of all its levels.
    """

    def __init__(self, settings, stages: Stages):
        self.settings = settings
        self.views = views(settings.gaussians, stages)
        self.gaussians = [PatchGaussian(view.stages, settings.epsilon) for view in self.views]

    @staticmethod
    def memory(settings, stages: Stages, pictures: int) -> int:
        numbers = 0
        for view in views(settings.gaussians, stages):
            coarser = 0
            for channels, (h, w) in reversed(view.stages):
                coarser += channels
                numbers += h * w * channels * coarser
        return 2 * 4 * numbers  # float32; saving needs a second copy

    @staticmethod
    def stored_memory(settings, stages: Stages, pictures: int) -> int:
        """As much as learning: the arrays of the file, and the factors that they are copied to."""
        return PaDiMHead.memory(settings, stages, pictures)

    @property
    def n(self) -> int:
        return self.gaussians[0].n

    @property
    def unit(self) -> float:
        """√d, the root mean square of the distances of training patches (of several Gaussians of
        the map: the geometric mean)."""
        of_map = [gaussian.dims for gaussian in self.gaussians[:2]]
        return float(np.prod(of_map, dtype=float) ** (0.5 / len(of_map)))

    def update(self, maps: Maps) -> None:
        for view, gaussian in zip(self.views, self.gaussians, strict=True):
            gaussian.update(view(maps))

    def merge(self, other: "PaDiMHead") -> None:
        for gaussian, others in zip(self.gaussians, other.gaussians, strict=True):
            gaussian.merge(others)

    def finish(self) -> None:
        if self.n < 2:
            raise UsageError(f"training needs at least 2 good pictures, found {self.n}")
        try:
            for gaussian in self.gaussians:
                gaussian.raise_epsilon()
            # One for all: `reopened` needs that of each Gaussian.
            epsilon = max(gaussian.epsilon for gaussian in self.gaussians)
            for gaussian in self.gaussians:
                gaussian.epsilon = epsilon
                gaussian.finalize()
        except (FloatingPointError, np.linalg.LinAlgError) as error:
            raise WorkError(
                f"the covariance of the features cannot be computed ({error})"
            ) from error
        self.settings = replace(self.settings, epsilon=epsilon)

    def reopened(self) -> "PaDiMHead":
        """With the sums that its factors give, as exact as float32 (`sums.reopen`). An epsilon that
        was raised stays raised."""
        head = copy.deepcopy(self)
        for gaussian in head.gaussians:
            sums.reopen(gaussian)
        return head

    def state(self) -> dict[str, np.ndarray]:
        return dict(self._sums())

    def restore(self, arrays: dict, n: int) -> None:
        for name, array in self._sums():
            array[:] = checked(arrays, name, array.shape)
        for gaussian in self.gaussians:
            gaussian.n = n

    def _sums(self) -> Iterator[tuple[str, np.ndarray]]:
        for view, gaussian in zip(self.views, self.gaussians, strict=True):
            for k, level in enumerate(gaussian.levels):
                yield f"{view.name}mean{k}", level.mean
                yield f"{view.name}scatter{k}", level.factor

    def forget(self, maps: Maps) -> None:
        for view, gaussian in zip(self.views, self.gaussians, strict=True):
            sums.remove(gaussian, view(maps))

    def foreign(self, maps: Maps) -> np.ndarray:
        """A picture of n has D² ≤ (n − 1)²/n everywhere: its share of the scatter is at most 1."""
        most, found = (self.n - 1) ** 2 / self.n, np.zeros(len(maps[0]), bool)
        for distance in self._distances(maps):
            found |= distance.max(axis=(1, 2)).astype(float) ** 2 > MARGIN * most
        return found

    def score(self, maps: Maps) -> tuple[np.ndarray | None, np.ndarray]:
        return combined(self._distances(maps))

    def leave_one_out(self, maps: Maps, first: int = 0) -> tuple[np.ndarray | None, np.ndarray]:
        """Exact if the divisor stays n − 1 (Sherman and Morrison 1950); inf if only this picture
        varies in a direction."""
        n, found = float(self.n), []
        for distance in self._distances(maps):
            squared = distance.astype(np.float64) ** 2
            rest = np.maximum(1 - n / (n - 1) ** 2 * squared, 0)
            with np.errstate(divide="ignore"):
                found.append((n / (n - 1) * np.sqrt(squared / rest)).astype(np.float32))
        return combined(found)

    def _distances(self, maps: Maps) -> list[np.ndarray]:
        pairs = zip(self.views, self.gaussians, strict=True)
        return [gaussian.mahalanobis(view(maps)) for view, gaussian in pairs]

    def arrays(self, dtype: str = "float32") -> dict[str, np.ndarray]:
        arrays = {}
        for view, gaussian in zip(self.views, self.gaussians, strict=True):
            for k, level in enumerate(gaussian.levels):
                c = level.mean.shape[1]
                rows, columns = np.tril_indices(c)
                arrays[f"{view.name}mean{k}"] = level.mean
                own = level.factor[:, :, -c:][:, rows, columns]
                arrays[f"{view.name}own{k}"] = stored(own, dtype)
                if k:
                    coarser = stored(level.factor[:, :, :-c], dtype)
                    arrays[f"{view.name}coarser{k}"] = coarser
        return arrays

    @classmethod
    def from_arrays(cls, arrays: dict, settings, stages: Stages, n: int) -> "PaDiMHead":
        head = cls(settings, stages)
        for view, gaussian in zip(head.views, head.gaussians, strict=True):
            gaussian.n, gaussian.finalized = n, True
            for k, level in enumerate(gaussian.levels):
                c = level.mean.shape[1]
                rows, columns = np.tril_indices(c)
                level.mean[:] = checked(arrays, f"{view.name}mean{k}", level.mean.shape)
                own = checked(arrays, f"{view.name}own{k}", (len(level.mean), len(rows)))
                level.factor[:, rows, level.factor.shape[2] - c + columns] = own
                if k:
                    coarser = level.factor[:, :, :-c]
                    coarser[:] = checked(arrays, f"{view.name}coarser{k}", coarser.shape)
        return head

    def layer(self):
        from models.heads.padim.distance import Distances

        return Distances(self.views, self.gaussians)
