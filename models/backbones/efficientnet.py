"""EfficientNet B0 to B7 (Tan and Le 2019, arXiv 1905.11946) and EfficientNet-Lite (Google 2020),
cut after the last layer used."""

from collections.abc import Sequence

from paddle import nn
from paddle.jit import not_to_static
from paddle.nn import functional as F  # noqa: N812 - its usual name

from models.backbones.catalogue import (
    EFFICIENT,
    PADDINGS,
    POINTS,
    Block,
    blocks,
    channels,
    stem_channels,
)

Size = tuple[int, int]


class ConvNorm(nn.Layer):
    """Convolution without bias and batch norm; `padding`: top, bottom, left, right."""

    def __init__(self, inputs, outputs, kernel, stride, groups, padding, epsilon):
        super().__init__()
        self.conv = nn.Conv2D(
            inputs, outputs, kernel, stride, padding, groups=groups, bias_attr=False
        )
        self.norm = nn.BatchNorm2D(outputs, epsilon=epsilon)

    def forward(self, x):
        return self.norm(self.conv(x))


class MBConv(nn.Layer):
    """Inverted residual block, up to `end`, one of POINTS.

    EfficientNet's blocks have squeeze and excitation, and swish; `lite` ones have ReLU6 only. It is
    `swish`, not the equal `silu`: Paddle Inference fuses only `swish` into the convolution before
    it; with `silu` the network is twice as slow (docs/backbones.md).
    """

    def __init__(self, block: Block, padding, epsilon: float, end: str = "", lite: bool = False):
        super().__init__()
        wide = block.expanded
        self.lite, self.activation = lite, F.relu6 if lite else F.swish
        self.end, self.expand = end, None
        if block.expansion > 1:
            self.expand = ConvNorm(block.inputs, wide, 1, 1, 1, 0, epsilon)
        if end == ".expand":
            return
        self.depthwise = ConvNorm(wide, wide, block.kernel, block.stride, wide, padding, epsilon)
        if end == ".depthwise":
            return
        if not lite:
            squeezed = max(1, block.inputs // 4)
            self.squeeze = nn.Conv2D(wide, squeezed, 1)
            self.excite = nn.Conv2D(squeezed, wide, 1)
        self.project = ConvNorm(wide, block.outputs, 1, 1, 1, 0, epsilon)
        self.residual = block.stride == 1 and block.inputs == block.outputs

    def forward(self, x):
        """The maps at POINTS, up to `end`."""
        expanded = self.activation(self.expand(x)) if self.expand is not None else x
        if self.end == ".expand":
            return (expanded,)
        y = self.activation(self.depthwise(expanded))
        if self.end == ".depthwise":
            return expanded, y
        out = self.project(y if self.lite else self._gated(y))
        return expanded, y, (out + x if self.residual else out)

    def _gated(self, y):
        """Squeeze and excitation."""
        gate = F.swish(self.squeeze(F.adaptive_avg_pool2d(y, 1)))
        return y * F.sigmoid(self.excite(gate))


class EfficientNet(nn.Layer):
    """Pictures [B,3,H,W] of `size` → maps of `layers`, [B,C_i,h_i,w_i].

    `stage_channels` holds the C_i, `grids` the (h_i,w_i). The network ends with the last of
    `layers`. `padding` is one of PADDINGS, `epsilon` belongs to the batch norms.
    """

    def __init__(
        self,
        name: str,
        layers: Sequence[str],
        size: Size,
        padding: str = "symmetric",
        epsilon: float = 1e-5,
    ):
        super().__init__()
        if padding not in PADDINGS:
            raise ValueError(f"padding {padding!r} is not one of {', '.join(PADDINGS)}")
        self.layers = tuple(layers)
        grids: dict[str, Size] = {}
        scaling = EFFICIENT[name]
        reference = size if padding == "same" else (scaling.side,) * 2
        stem = stem_channels(name)
        self.activation = F.relu6 if scaling.lite else F.swish
        self.steps: list[str] = []
        last, dot, point = self.layers[-1].partition(".")

        def step(size: Size, reference: Size, kernel: int, stride: int):
            """Padding of a convolution, and the two sizes after it."""
            pads = _pads(reference, kernel, stride, padding != "symmetric")
            after = tuple(
                (side + sum(pad) - kernel) // stride + 1
                for side, pad in zip(size, pads, strict=True)
            )
            return sum(pads, ()), after, tuple(-(-side // stride) for side in reference)

        pads, size, reference = step(size, reference, 3, 2)
        self.stem = ConvNorm(3, stem, 3, 2, 1, list(pads), epsilon)
        for block in blocks(name):
            here = f"block{block.number}"
            grids[f"{here}.expand"] = size
            pads, size, reference = step(size, reference, block.kernel, block.stride)
            grids[f"{here}.depthwise"] = grids[here] = size
            end = dot + point if here == last else ""
            setattr(self, here, MBConv(block, list(pads), epsilon, end, scaling.lite))
            self.steps.append(here)
            if here == last:
                break
        self.stage_channels = tuple(channels(name, layer) for layer in self.layers)
        self.grids = [grids[layer] for layer in self.layers]

    @not_to_static  # no branch depends on the picture: conversion would only double the time
    def forward(self, x):
        x = self.activation(self.stem(x))
        maps = []
        for name in self.steps:
            points = getattr(self, name)(x)
            x = points[-1]
            for i, y in enumerate(points):
                if f"{name}{POINTS[i]}" in self.layers:
                    maps.append(y)
        return maps


def _pads(size: Size, kernel: int, stride: int, same: bool) -> list[tuple[int, int]]:
    """(before, after) for both axes."""
    if not same:
        return [(kernel // 2, kernel // 2)] * 2
    whole = (max(0, (-(-side // stride) - 1) * stride + kernel - side) for side in size)
    return [(pad // 2, pad - pad // 2) for pad in whole]
