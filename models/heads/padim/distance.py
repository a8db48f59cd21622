"""The scores of PaDiM as Paddle layers, for a fused graph."""

from collections.abc import Sequence

import paddle
from paddle import nn

from models.grids import covering
from models.heads.padim.gaussian import PatchGaussian
from models.heads.padim.views import View
from models.layers import constant


class Distances(nn.Layer):
    """Stage maps [B,c,h,w], finest first → image scores [B] or None, and patch scores [B,h,w].

    The same as `models.heads.padim.views.combined` of the distances of all Gaussians.
    """

    def __init__(self, views: Sequence[View], gaussians: Sequence[PatchGaussian]):
        super().__init__()
        self.views = views
        self.gaussians = nn.LayerList([Distance(gaussian) for gaussian in gaussians])
        for k, view in enumerate(views):
            for i, pair in view.averages.items():
                for side, matrix in zip(("rows", "columns"), pair, strict=True):
                    self.register_buffer(f"{side}{k}_{i}", constant(matrix))
        if len(views) > 1:
            above = covering(gaussians[1].grid, gaussians[2].grid)
            self.register_buffer("above", constant(above))

    def forward(self, maps):
        distances = []
        for k in range(len(self.views)):  # the conversion to a graph knows no zip(strict=True)
            distances.append(self.gaussians[k](self._view(maps, k)))
        if len(distances) == 1:
            return None, distances[0]
        fine, patch, region = distances
        above = region.flatten(1).index_select(self.above, axis=1)
        flat = patch.flatten(1)
        image = paddle.sqrt((paddle.square(flat) + paddle.square(above)).max(axis=1))
        return image, paddle.sqrt(fine) * paddle.sqrt(patch)

    def _view(self, maps, k: int):
        """`View.__call__` of view k on tensors."""
        seen = []
        for i in self.views[k].used:
            stage = maps[i]
            if i in self.views[k].averages:
                stage = paddle.matmul(getattr(self, f"rows{k}_{i}"), stage)
                stage = paddle.matmul(stage, getattr(self, f"columns{k}_{i}"))
            seen.append(stage)
        return seen


class Distance(nn.Layer):
    """The computation of `PatchGaussian.mahalanobis`: maps of one view → distances [B,h,w]."""

    def __init__(self, gaussian: PatchGaussian):
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
        squared = paddle.square(y).sum(axis=1)
        for i in range(1, len(maps)):
            parent = getattr(self, f"parent{i}")
            coarser = coarser.index_select(parent, axis=0)
            y = paddle.matmul(getattr(self, f"own{i}"), self._centred(maps[i], i))
            y = y + paddle.matmul(getattr(self, f"coarser{i}"), coarser)
            squared = squared.index_select(parent, axis=0) + paddle.square(y).sum(axis=1)
            coarser = paddle.concat([coarser, y], axis=1)
        # The root comes last: in bfloat16, Paddle 3 would drop a reshape before a product.
        return paddle.sqrt(squared.transpose([1, 0]).reshape([-1, *self.grids[-1]]))

    def _centred(self, stage, i: int):
        """A map [B,c,h,w] as [positions,c,B], minus the mean."""
        h, w = self.grids[i]
        columns = stage.reshape([0, stage.shape[1], h * w]).transpose([2, 1, 0])
        return columns - getattr(self, f"mean{i}")
