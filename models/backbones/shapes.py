"""Sizes of a network's maps, from the catalogue alone: to estimate memory without Paddle."""

from collections.abc import Sequence

from models.backbones.catalogue import (
    RESIDUAL,
    RESIDUAL_LAYERS,
    blocks,
    channels,
    stem_channels,
)

Stage = tuple[int, tuple[int, int]]  # channels, (h,w)


def strides(backbone: str) -> dict[str, int]:
    """Pixels of the picture per place of each layer's maps, along one side."""
    if backbone in RESIDUAL:
        return {layer: 4 * 2**i for i, layer in enumerate(RESIDUAL_LAYERS)}
    found, stride = {}, 2
    for block in blocks(backbone):
        name = f"block{block.number}"
        found[f"{name}.expand"] = stride
        stride *= block.stride
        found[f"{name}.depthwise"] = found[name] = stride
    return found


def widest(backbone: str, layers: Sequence[str]) -> float:
    """Bytes of the largest float32 map up to the last of `layers`, per pixel of the picture."""
    if backbone in RESIDUAL:
        used = RESIDUAL_LAYERS[: RESIDUAL_LAYERS.index(layers[-1]) + 1]
        maps = [(64, 2)] + [(channels(backbone, name), 4 * 2**i) for i, name in enumerate(used)]
    else:
        maps, stride = [(stem_channels(backbone), 2)], 2
        for block in blocks(backbone):
            maps.append((block.expanded, stride))
            stride *= block.stride
            maps += [(block.expanded, stride), (block.outputs, stride)]
            if layers[-1].partition(".")[0] == f"block{block.number}":
                break
    return max(4 * width / stride**2 for width, stride in maps)


def expected_stages(
    backbone: str, layers: Sequence[str], dims: int, projected: bool, size: tuple[int, int]
) -> list[Stage]:
    """About the stages that `dims` channels of `layers` will have for pictures of `size` (H,W).

    A random choice takes of each layer as many channels as its share is; a projection gives one
    stage, on the finest grid.
    """
    grids = [tuple(-(-side // strides(backbone)[layer]) for side in size) for layer in layers]
    if projected:
        return [(dims, grids[0])]
    widths = [channels(backbone, layer) for layer in layers]
    return [
        (max(1, round(dims * width / sum(widths))), grid)
        for width, grid in zip(widths, grids, strict=True)
    ]
