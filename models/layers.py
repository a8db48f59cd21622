"""Paddle layers around a network, for running and for export.

`Selection` and `Projection` reduce the channels of the stages. `Embedding` and `Fused` are
exported: picture → embedding, picture → anomaly map and score.
"""

from collections.abc import Sequence

import numpy as np
import paddle
from paddle import nn
from paddle.nn import functional as F  # noqa: N812 - its usual name

from models.anomaly_map import AnomalyMap
from models.grids import Grid, nearest
from models.roi import Roi


class Averaged(nn.Layer):
    """A network whose maps are averaged over `side` × `side` neighbours, at borders over fewer.

    The stride is 1: grids stay as they are.
    """

    def __init__(self, network: nn.Layer, side: int):
        super().__init__()
        self.network, self.side, self.grids = network, side, network.grids

    def forward(self, images):
        half = self.side // 2
        return [
            F.avg_pool2d(stage, self.side, stride=1, padding=half, exclusive=True)
            for stage in self.network(images)
        ]


class Selection(nn.Layer):
    """Normalised pictures [B,3,H,W] → the chosen channels of each stage used, [B,c,h_i,w_i]."""

    def __init__(self, network: nn.Layer, reduction):
        super().__init__()
        self.network = network
        self.used = reduction.used
        for i in self.used:
            self.register_buffer(f"channels{i}", constant(reduction.by_stage[i]))
        self.eval()

    def forward(self, images):
        maps = self.network(images)
        return [maps[i].index_select(getattr(self, f"channels{i}"), axis=1) for i in self.used]


class Projection(nn.Layer):
    """Normalised pictures [B,3,H,W] → [the projected channels on the finest grid, [B,d,h,w]].

    The projection of all stages is the sum of one projection per stage, each computed on its own
    grid; positions of coarse stages are repeated. `reduction` is a
    models.features.SemiOrthogonalProjection.
    """

    def __init__(self, network: nn.Layer, reduction):
        super().__init__()
        self.network = network
        for i, part in enumerate(reduction.by_stage):
            self.register_buffer(f"kernel{i}", constant(part[:, :, None, None]))
        self.up = Upsampling(network.grids)
        self.eval()

    def forward(self, images):
        maps = self.network(images)
        out = None
        for i in reversed(range(len(maps))):
            part = F.conv2d(maps[i], getattr(self, f"kernel{i}"))
            out = part if out is None else part + self.up(out, i)
        return [out]


class Upsampling(nn.Layer):
    """Maps on one of `grids` (finest first) → on the next finer grid, with positions repeated."""

    def __init__(self, grids: list[Grid]):
        super().__init__()
        for i, (fine, coarse) in enumerate(zip(grids[:-1], grids[1:], strict=True)):
            for axis, name in enumerate(("rows", "columns")):
                self.register_buffer(f"{name}{i}", constant(nearest(fine[axis], coarse[axis])))

    def forward(self, x, i: int):
        """From grid i + 1 to grid i."""
        x = x.index_select(getattr(self, f"rows{i}"), axis=2)
        return x.index_select(getattr(self, f"columns{i}"), axis=3)


class Embedding(nn.Layer):
    """Normalised pictures [B,3,H,W] → embedding [B,d,h,w]; coarse stages are repeated."""

    def __init__(self, features: Selection | Projection, grids: list[Grid]):
        super().__init__()
        self.features, self.up = features, Upsampling(grids)
        self.eval()

    def forward(self, images):
        maps = self.features(images)
        out = maps[-1]
        for i in reversed(range(len(maps) - 1)):
            out = paddle.concat([maps[i], self.up(out, i)], axis=1)
        return out


class Fused(nn.Layer):
    """Normalised pictures [B,3,H,W] → smoothed anomaly map [B,H,W] and image score [B].

    `head` is the layer of a method's head: stage maps → (image scores [B] or None, patch scores
    [B,h,w]). With None, the image score is the maximum of the map. `roi`, a region of interest, for
    maps of `grids`.
    """

    def __init__(
        self,
        features: nn.Layer,
        head: nn.Layer,
        to_map: AnomalyMap,
        roi: Roi | None = None,
        grids: Sequence[Grid] = (),
    ):
        super().__init__()
        self.features, self.head, self.has_roi = features, head, roi is not None
        self.register_buffer("rows", constant(to_map.rows))
        self.register_buffer("columns", constant(to_map.columns))
        if roi is not None:
            self.register_buffer("places", constant(to_map.places))
            self.register_buffer("weights", constant(to_map.weights))
            self.register_buffer("pixels", constant(roi.pixels.astype(np.float32)))
            for i, grid in enumerate(grids):
                self.register_buffer(f"places{i}", constant(roi.places(grid).astype(np.float32)))
        self.eval()

    def forward(self, images):
        maps = self.features(images * self.pixels if self.has_roi else images)
        if self.has_roi:
            masked = []
            for i in range(len(maps)):
                masked.append(maps[i] * getattr(self, f"places{i}"))
            maps = masked
        image, patches = self.head(maps)
        if self.has_roi:
            patches = patches * self.places
        smooth = paddle.matmul(paddle.matmul(self.rows, patches), self.columns, transpose_y=True)
        # Paddle 2.6 loses a product that is both output and input; a reshaped copy avoids this.
        smooth = smooth.reshape([-1, self.rows.shape[0], self.columns.shape[0]])
        if self.has_roi:
            smooth = smooth * self.weights
        return smooth, smooth.flatten(1).max(axis=1) if image is None else image


def constant(array: np.ndarray) -> paddle.Tensor:
    return paddle.to_tensor(np.ascontiguousarray(array))
