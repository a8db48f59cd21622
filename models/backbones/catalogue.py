"""The supported backbones: names, layers, defaults, official weights. Does not import Paddle.

The layers of a residual network are `layer1` … `layer4`. Those of an EfficientNet are `block1` …
and two activations inside each block: `block19.expand` after the expansion, `block19.depthwise`
after the depthwise convolution.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

# Residual networks: channels of the maps of layer1, and the default number of channels kept.
# Defard et al. (2020) keep 100 of 448 for ResNet-18 and 550 of 1792 for Wide-ResNet-50-2; 300 for
# the others is our choice.
RESIDUAL = {
    "resnet18": (64, 100),
    "resnet34": (64, 100),
    "resnet50": (256, 300),
    "resnet101": (256, 300),
    "resnet152": (256, 300),
    "wide_resnet50_2": (256, 550),
    "wide_resnet101_2": (256, 550),
}
RESIDUAL_LAYERS = ("layer1", "layer2", "layer3", "layer4")


@dataclass(frozen=True)
class Scaling:
    """How an EfficientNet (Tan and Le 2019) differs from B0.

    width, depth : factors of channels and of blocks per stage
    side : of the pictures that it was trained on
    lite : EfficientNet-Lite (Google 2020): ReLU6, no squeeze and excitation, and stem, first and
        last stage keep B0's size
    """

    width: float
    depth: float
    side: int
    lite: bool = False


EFFICIENT = {
    "efficientnet_b0": Scaling(1.0, 1.0, 224),
    "efficientnet_b1": Scaling(1.0, 1.1, 240),
    "efficientnet_b2": Scaling(1.1, 1.2, 260),
    "efficientnet_b3": Scaling(1.2, 1.4, 300),
    "efficientnet_b4": Scaling(1.4, 1.8, 380),
    "efficientnet_b5": Scaling(1.6, 2.2, 456),
    "efficientnet_b6": Scaling(1.8, 2.6, 528),
    "efficientnet_b7": Scaling(2.0, 3.1, 600),
    "efficientnet_lite0": Scaling(1.0, 1.0, 224, lite=True),
    "efficientnet_lite1": Scaling(1.0, 1.1, 240, lite=True),
    "efficientnet_lite2": Scaling(1.1, 1.2, 260, lite=True),
    "efficientnet_lite3": Scaling(1.2, 1.4, 280, lite=True),
    "efficientnet_lite4": Scaling(1.4, 1.8, 300, lite=True),
}
LITE = tuple(name for name, scaling in EFFICIENT.items() if scaling.lite)
# Stages of B0: expansion, kernel, stride, channels, number of blocks (table 1 of the paper).
B0 = (
    (1, 3, 1, 16, 1),
    (6, 3, 2, 24, 2),
    (6, 5, 2, 40, 2),
    (6, 3, 2, 80, 3),
    (6, 5, 1, 112, 3),
    (6, 5, 2, 192, 4),
    (6, 3, 1, 320, 1),
)
STEM = 32
# The points inside a block, in order; the last is its output.
POINTS = (".expand", ".depthwise", "")
# `first`, `middle` and `last` choose blocks of these stages, which have 1/4, 1/8 and 1/16 of the
# picture's side.
FEATURE_STAGES = (1, 2, 4)
PRESETS = ("first", "middle", "last")
# By default, an EfficientNet-Lite uses the first block of these stages, which have 1/8, 1/16 and
# 1/32 of the picture's side. The first blocks of a stage show the place of a defect best
# (docs/backbones.md).
LITE_STAGES = (2, 3, 5)

# Ways to reduce the number of channels: see models/features.py.
REDUCTIONS = ("random", "semi_orthogonal", "none")

PATCH_SIZES = (1, 3, 5, 7)  # sides of the neighbourhood that a map can be averaged over

# Padding of an EfficientNet's convolutions. symmetric: as PyTorch. same: as TensorFlow ("SAME").
# same_as_trained: as TensorFlow for pictures of the size that the network was trained on.
PADDINGS = ("symmetric", "same", "same_as_trained")

BACKBONES = (*RESIDUAL, *EFFICIENT)
DEFAULT = "efficientnet_lite0"  # its weights are a package in requirements.txt

_OFFICIAL = "https://download.pytorch.org/models/"
# torchvision's first weights of each backbone; a name ends with the first digits of the SHA-256.
URLS = {
    "resnet18": "resnet18-f37072fd.pth",
    "resnet34": "resnet34-b627a593.pth",
    "resnet50": "resnet50-0676ba61.pth",
    "resnet101": "resnet101-63fe2227.pth",
    "resnet152": "resnet152-394f9c45.pth",
    "wide_resnet50_2": "wide_resnet50_2-95faca4d.pth",
    "wide_resnet101_2": "wide_resnet101_2-32ee1156.pth",
    "efficientnet_b0": "efficientnet_b0_rwightman-7f5810bc.pth",
    "efficientnet_b1": "efficientnet_b1_rwightman-bac287d4.pth",
    "efficientnet_b2": "efficientnet_b2_rwightman-c35c1473.pth",
    "efficientnet_b3": "efficientnet_b3_rwightman-b3899882.pth",
    "efficientnet_b4": "efficientnet_b4_rwightman-23ab8bcd.pth",
    "efficientnet_b5": "efficientnet_b5_lukemelas-1a07897c.pth",
    "efficientnet_b6": "efficientnet_b6_lukemelas-24a108a5.pth",
    "efficientnet_b7": "efficientnet_b7_lukemelas-c5b4e57e.pth",
}


def url(backbone: str) -> str:
    """The address of the official weights."""
    return _OFFICIAL + URLS[backbone]


@dataclass(frozen=True)
class Block:
    """One inverted residual block (MBConv) of an EfficientNet; `number` counts from 1."""

    number: int
    stage: int
    index: int  # within its stage
    expansion: int
    kernel: int
    stride: int
    inputs: int
    outputs: int

    @property
    def expanded(self) -> int:
        return self.inputs * self.expansion


def blocks(backbone: str) -> list[Block]:
    """The blocks of an EfficientNet, in order."""
    scaling = EFFICIENT[backbone]
    found, inputs = [], stem_channels(backbone)
    for stage, (expansion, kernel, stride, channels, repeats) in enumerate(B0):
        outputs = rounded(channels * scaling.width)
        fixed = scaling.lite and stage in (0, len(B0) - 1)
        for i in range(repeats if fixed else math.ceil(repeats * scaling.depth)):
            place = (len(found) + 1, stage, i)
            found.append(Block(*place, expansion, kernel, 1 if i else stride, inputs, outputs))
            inputs = outputs
    return found


def has_gates(backbone: str) -> bool:
    """Whether the network has squeeze and excitation."""
    return backbone in EFFICIENT and not EFFICIENT[backbone].lite


def stem_channels(backbone: str) -> int:
    """Of an EfficientNet's first convolution."""
    scaling = EFFICIENT[backbone]
    return STEM if scaling.lite else rounded(STEM * scaling.width)


def rounded(channels: float) -> int:
    """The nearest multiple of 8, at most 10 % below `channels` (as in the reference code)."""
    nearest = max(8, int(channels + 4) // 8 * 8)
    return nearest + 8 if nearest < 0.9 * channels else nearest


def all_layers(backbone: str) -> tuple[str, ...]:
    """All layers that an embedding can use, in the order of the network."""
    if backbone in RESIDUAL:
        return RESIDUAL_LAYERS
    names = []
    for block in blocks(backbone):
        points = POINTS if block.expansion > 1 else POINTS[1:]
        names += [f"block{block.number}{point}" for point in points]
    return tuple(names)


def channels(backbone: str, layer: str) -> int:
    """The number of channels of a layer's maps."""
    if backbone in RESIDUAL:
        return RESIDUAL[backbone][0] * 2 ** RESIDUAL_LAYERS.index(layer)
    number, _, point = layer.removeprefix("block").partition(".")
    block = blocks(backbone)[int(number) - 1]
    return block.expanded if point else block.outputs


def preset(backbone: str, which: str, stages: Sequence[int] = FEATURE_STAGES) -> tuple[str, ...]:
    """The first, middle or last block of each of an EfficientNet's `stages` (indices into B0)."""
    chosen = []
    for stage in stages:
        numbers = [block.number for block in blocks(backbone) if block.stage == stage]
        i = {"first": 0, "middle": (len(numbers) - 1) // 2, "last": -1}[which]
        chosen.append(f"block{numbers[i]}")
    return tuple(chosen)


def default_layers(backbone: str) -> tuple[str, ...]:
    if backbone in RESIDUAL:
        return RESIDUAL_LAYERS[:3]
    if backbone in LITE:
        return preset(backbone, "first", LITE_STAGES)
    return preset(backbone, "last")


def default_layers_and_last(backbone: str) -> tuple[str, ...]:
    """The default layers, and the last layer or block of the network."""
    last = all_layers(backbone)[-1]
    return tuple(dict.fromkeys((*default_layers(backbone), last)))


def default_dims(backbone: str) -> int | None:
    """The default number of channels that are kept; None for all."""
    return RESIDUAL[backbone][1] if backbone in RESIDUAL else None


def parse_layers(backbone: str, text: str) -> tuple[str, ...]:
    """`layer1,layer2`, `5,12,29`, `block19.expand,29.depthwise` or a preset → names in order.

    ValueError where a layer does not exist or is named twice.
    """
    if text.strip() in PRESETS and backbone in EFFICIENT:
        return preset(backbone, text.strip())
    known = all_layers(backbone)
    asked = [_name(backbone, part.strip()) for part in text.split(",")]
    unknown = [name for name in asked if name not in known]
    if unknown:
        presets = f", or alone {', '.join(PRESETS)}" if backbone in EFFICIENT else ""
        named = ", ".join(name or "layer without a name" for name in unknown)
        raise ValueError(f"{backbone} has no {named}; it has {_summary(known)}{presets}")
    if len(set(asked)) < len(asked):
        raise ValueError(f"{text!r} names a layer twice")
    return tuple(name for name in known if name in asked)


def _name(backbone: str, part: str) -> str:
    """The full name of `part`: a number alone means this block or, in a residual network, layer."""
    if re.fullmatch(r"\d+(\.\w+)?", part):
        return f"{'layer' if backbone in RESIDUAL else 'block'}{part}"
    return part


def _summary(names: Sequence[str]) -> str:
    if len(names) <= 4:
        return ", ".join(names)
    found = ([n for n in names if n.partition(".")[2] == point[1:]] for point in POINTS)
    return ", ".join(f"{named[0]} to {named[-1]}" for named in found)
