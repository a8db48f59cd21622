"""The frozen part as one network of Paddle layers, and as a file.

`Selection` is what runs in this process: picture → chosen channels of each stage. `Embedding` and
`Fused` go further, for those who deploy: picture → embedding, picture → anomaly map and score.
"""

from pathlib import Path

import numpy as np
import paddle
from paddle import nn
from paddle.nn import functional as F  # noqa: N812 - its usual name

from models.anomaly_map import AnomalyMap
from models.embedding import PatchEmbedding, SemiOrthogonalEmbedding
from models.gaussian import PatchGaussian
from models.grids import Grid, covering, nearest


class Selection(nn.Layer):
    """Normalised pictures [B,3,H,W] → the chosen channels of each stage used, [B,c,h_i,w_i]."""

    def __init__(self, network: nn.Layer, embedding: PatchEmbedding):
        super().__init__()
        self.network = network
        self.used = embedding.used
        for i in self.used:
            self.register_buffer(f"channels{i}", paddle.to_tensor(embedding.by_stage[i]))
        self.eval()

    def forward(self, images):
        maps = self.network(images)
        return [maps[i].index_select(getattr(self, f"channels{i}"), axis=1) for i in self.used]


class Projection(nn.Layer):
    """Normalised pictures [B,3,H,W] → [the projected channels on the finest grid, [B,d,h,w]].

    A projection of all stages together is the sum of one of each stage, which costs as little at
    the coarse ones; coarse places are repeated.
    """

    def __init__(self, network: nn.Layer, embedding: SemiOrthogonalEmbedding):
        super().__init__()
        self.network = network
        for i, part in enumerate(embedding.by_stage):
            kernel = np.ascontiguousarray(part[:, :, None, None])
            self.register_buffer(f"kernel{i}", paddle.to_tensor(kernel))
        self.up = Upsampling(network.grids)
        self.eval()

    def forward(self, images):
        maps = self.network(images)
        out = None
        for i in reversed(range(len(maps))):
            part = F.conv2d(maps[i], getattr(self, f"kernel{i}"))
            out = part if out is None else part + self.up(out, i)
        return [out]


def selection(network: nn.Layer, embedding: PatchEmbedding | SemiOrthogonalEmbedding) -> nn.Layer:
    """The network and what reduces its channels."""
    kind = Projection if isinstance(embedding, SemiOrthogonalEmbedding) else Selection
    return kind(network, embedding)


class Upsampling(nn.Layer):
    """Maps on one of `grids` (finest first) → on the next finer one, places repeated."""

    def __init__(self, grids: list[Grid]):
        super().__init__()
        for i, (fine, coarse) in enumerate(zip(grids[:-1], grids[1:], strict=True)):
            for axis, name in enumerate(("rows", "columns")):
                index = paddle.to_tensor(nearest(fine[axis], coarse[axis]))
                self.register_buffer(f"{name}{i}", index)

    def forward(self, x, i: int):
        """From grid i + 1 to grid i."""
        x = x.index_select(getattr(self, f"rows{i}"), axis=2)
        return x.index_select(getattr(self, f"columns{i}"), axis=3)


class Embedding(nn.Layer):
    """Normalised pictures [B,3,H,W] → embedding [B,d,h,w]; coarse stages are repeated."""

    def __init__(self, selection: Selection | Projection, grids: list[Grid]):
        super().__init__()
        self.selection, self.up = selection, Upsampling(grids)
        self.eval()

    def forward(self, images):
        maps = self.selection(images)
        out = maps[-1]
        for i in reversed(range(len(maps) - 1)):
            out = paddle.concat([maps[i], self.up(out, i)], axis=1)
        return out


class Fused(nn.Layer):
    """Normalised pictures [B,3,H,W] → smoothed anomaly map [B,H,W] and image score [B].

    The arithmetic of `PatchGaussian.mahalanobis` and `AnomalyMap`, as operators of the graph.
    """

    def __init__(
        self, selection: Selection | Projection, gaussian: PatchGaussian, to_map: AnomalyMap
    ):
        super().__init__()
        self.selection = selection
        self.grids = [level.grid for level in gaussian.levels]
        for i, level in enumerate(gaussian.levels):
            c = level.mean.shape[1]
            self._constant(f"mean{i}", level.mean[:, :, None])
            self._constant(f"own{i}", level.factor[:, :, -c:])
            if i:
                self._constant(f"coarser{i}", level.factor[:, :, :-c])
                self._constant(f"parent{i}", covering(self.grids[i], self.grids[i - 1]))
        self._constant("rows", to_map.rows)
        self._constant("columns", to_map.columns)
        self.eval()

    def _constant(self, name: str, array: np.ndarray) -> None:
        self.register_buffer(name, paddle.to_tensor(np.ascontiguousarray(array)))

    def forward(self, images):
        maps = self.selection(images)[::-1]
        own = self._centred(maps[0], 0)
        y = coarser = paddle.matmul(self.own0, own)
        squared = (y * y).sum(axis=1)
        for i in range(1, len(maps)):
            parent = getattr(self, f"parent{i}")
            coarser = coarser.index_select(parent, axis=0)
            y = paddle.matmul(getattr(self, f"own{i}"), self._centred(maps[i], i))
            y = y + paddle.matmul(getattr(self, f"coarser{i}"), coarser)
            squared = squared.index_select(parent, axis=0) + (y * y).sum(axis=1)
            coarser = paddle.concat([coarser, y], axis=1)
        distance = paddle.sqrt(squared).transpose([1, 0]).reshape([-1, *self.grids[-1]])
        smooth = paddle.matmul(paddle.matmul(self.rows, distance), self.columns, transpose_y=True)
        # Paddle 2.6 loses a product that is both an output and read again; its copy it keeps.
        smooth = smooth.reshape([-1, self.rows.shape[0], self.columns.shape[0]])
        return smooth, smooth.flatten(1).max(axis=1)

    def _centred(self, stage, i: int):
        """A map [B,c,h,w] as [places,c,B], less the mean."""
        h, w = self.grids[i]
        columns = stage.reshape([0, stage.shape[1], h * w]).transpose([2, 1, 0])
        return columns - getattr(self, f"mean{i}")


def save_graph(layer: nn.Layer, size: Grid, prefix: Path) -> tuple[Path, Path]:
    """Write `layer` for pictures of `size` as `prefix`.json (2.x: .pdmodel) and .pdiparams."""
    spec = [paddle.static.InputSpec([None, 3, *size], "float32", "image")]
    # Without full_graph Paddle 3 ignores the specification.
    graph = paddle.jit.to_static(layer, full_graph=True, input_spec=spec)
    paddle.jit.save(graph, str(prefix))
    prefix.with_suffix(".pdiparams.info").unlink(missing_ok=True)  # 2.x; nothing reads it
    model = next(p for s in (".json", ".pdmodel") if (p := prefix.with_suffix(s)).exists())
    return model, prefix.with_suffix(".pdiparams")
