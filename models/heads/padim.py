"""PaDiM: one Gaussian per patch position (Defard et al. 2020, arXiv 2011.08785)."""

from dataclasses import replace

import numpy as np

from common.errors import UsageError, WorkError
from models.grids import covering
from models.heads import Maps, Stages
from models.heads.gaussian import PatchGaussian


class PaDiMHead:
    """Patch score: Mahalanobis distance of the embedding from the Gaussian of its position.

    Image score: the maximum of the anomaly map. `settings`: models.methods.PaDiMSettings. See
    `models.heads.Head` for the methods.

    Arrays, for each level k of the factored Gaussian, coarsest stage first: `mean{k}` [P,c];
    `own{k}` [P,c(c+1)/2], the lower triangle of the factor A of the level's own channels, row by
    row; `coarser{k}` [P,c,D−c], the factor K of the white y of all coarser levels (not at level 0).
    The precision matrix of a patch is WᵀW, where W has the rows of all its levels.
    """

    def __init__(self, settings, stages: Stages):
        self.settings = settings
        self.gaussian = PatchGaussian(stages, settings.epsilon)

    @staticmethod
    def memory(settings, stages: Stages, pictures: int) -> int:
        numbers, coarser = 0, 0
        for channels, (h, w) in reversed(stages):
            coarser += channels
            numbers += h * w * channels * coarser
        return 2 * 4 * numbers  # float32; saving needs a second copy

    @property
    def n(self) -> int:
        return self.gaussian.n

    @property
    def unit(self) -> float:
        """√d: the root mean square of the distances of training patches."""
        return float(np.sqrt(self.gaussian.dims))

    def update(self, maps: Maps) -> None:
        self.gaussian.update(maps)

    def merge(self, other: "PaDiMHead") -> None:
        self.gaussian.merge(other.gaussian)

    def finish(self) -> None:
        if self.n < 2:
            raise UsageError(f"training needs at least 2 good pictures, found {self.n}")
        try:
            self.gaussian.finalize()
        except (FloatingPointError, np.linalg.LinAlgError) as error:
            raise WorkError(
                f"the covariance of the features cannot be computed ({error})"
            ) from error
        self.settings = replace(
            self.settings, epsilon=self.gaussian.epsilon
        )  # `finalize` may have raised it

    def score(self, maps: Maps) -> tuple[None, np.ndarray]:
        return None, self.gaussian.mahalanobis(maps)

    def leave_one_out(self, maps: Maps) -> tuple[None, np.ndarray]:
        """Exact if the divisor stays n − 1 (Sherman and Morrison 1950); inf if only this picture
        varies in a direction."""
        n = float(self.n)
        squared = self.gaussian.mahalanobis(maps).astype(np.float64) ** 2
        rest = np.maximum(1 - n / (n - 1) ** 2 * squared, 0)
        with np.errstate(divide="ignore"):
            return None, (n / (n - 1) * np.sqrt(squared / rest)).astype(np.float32)

    def arrays(self, dtype: str = "float32") -> dict[str, np.ndarray]:
        arrays = {}
        for k, level in enumerate(self.gaussian.levels):
            c = level.mean.shape[1]
            rows, columns = np.tril_indices(c)
            arrays[f"mean{k}"] = level.mean
            arrays[f"own{k}"] = level.factor[:, :, -c:][:, rows, columns].astype(dtype)
            if k:
                arrays[f"coarser{k}"] = level.factor[:, :, :-c].astype(dtype)
        return arrays

    @classmethod
    def from_arrays(cls, arrays: dict, settings, stages: Stages, n: int) -> "PaDiMHead":
        head = cls(settings, stages)
        head.gaussian.n, head.gaussian.finalized = n, True
        for k, level in enumerate(head.gaussian.levels):
            c = level.mean.shape[1]
            rows, columns = np.tril_indices(c)
            _fill(level.mean, arrays, f"mean{k}")
            own = np.empty((len(level.mean), len(rows)), np.float32)
            _fill(own, arrays, f"own{k}")
            level.factor[:, rows, level.factor.shape[2] - c + columns] = own
            if k:
                _fill(level.factor[:, :, :-c], arrays, f"coarser{k}")
        return head

    def layer(self):
        return _distance_layer(self.gaussian)


def _fill(target: np.ndarray, arrays: dict[str, np.ndarray], name: str) -> None:
    array = arrays[name]
    if array.shape != target.shape or array.dtype.kind != "f":
        raise ValueError(f"{name} is {array.dtype} {array.shape}, expected float {target.shape}")
    target[:] = array


def _distance_layer(gaussian: PatchGaussian):
    """The computation of `PatchGaussian.mahalanobis` as a Paddle layer."""
    import paddle
    from paddle import nn

    from models.layers import constant

    class Distance(nn.Layer):
        """Stage maps [B,c,h,w], finest first → (None, distances [B,h,w])."""

        def __init__(self):
            super().__init__()
            self.grids = [level.grid for level in gaussian.levels]
            for i, level in enumerate(gaussian.levels):
                c = level.mean.shape[1]
                buffers = {"mean": level.mean[:, :, None], "own": level.factor[:, :, -c:]}
                if i:
                    buffers["coarser"] = level.factor[:, :, :-c]
                    buffers["parent"] = covering(self.grids[i], self.grids[i - 1])
                for name, array in buffers.items():
                    self.register_buffer(f"{name}{i}", constant(array))

        def forward(self, maps):
            maps = maps[::-1]
            y = coarser = paddle.matmul(self.own0, self._centred(maps[0], 0))
            squared = (y * y).sum(axis=1)
            for i in range(1, len(maps)):
                parent = getattr(self, f"parent{i}")
                coarser = coarser.index_select(parent, axis=0)
                y = paddle.matmul(getattr(self, f"own{i}"), self._centred(maps[i], i))
                y = y + paddle.matmul(getattr(self, f"coarser{i}"), coarser)
                squared = squared.index_select(parent, axis=0) + (y * y).sum(axis=1)
                coarser = paddle.concat([coarser, y], axis=1)
            distance = paddle.sqrt(squared).transpose([1, 0])
            return None, distance.reshape([-1, *self.grids[-1]])

        def _centred(self, stage, i: int):
            """A map [B,c,h,w] as [positions,c,B], minus the mean."""
            h, w = self.grids[i]
            columns = stage.reshape([0, stage.shape[1], h * w]).transpose([2, 1, 0])
            return columns - getattr(self, f"mean{i}")

    return Distance()
