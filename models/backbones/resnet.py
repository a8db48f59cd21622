"""Residual networks (He et al. 2016), torchvision's topology, cut after the last stage used."""

from collections.abc import Sequence

import paddle
from paddle import nn
from paddle.vision import models as vision

STAGES = ("layer1", "layer2", "layer3", "layer4")
STRIDES = (4, 8, 16, 32)  # of the four stages: pixels of the picture to one place of the map
CHANNELS = {"resnet18": (64, 128, 256, 512)}


class ResNet(nn.Layer):
    """Pictures [B,3,H,W] → maps of `stages`, [B,C_i,H_i,W_i], in evaluation mode, frozen.

    `stage_channels` holds the C_i. Stages behind the last one asked for do not exist here.
    """

    def __init__(self, name: str, stages: Sequence[str] = STAGES[:3]):
        if name not in CHANNELS:
            raise ValueError(f"unknown backbone {name!r}")
        super().__init__()
        network = _blank(name)
        self.stages = tuple(stages)
        self.computed = STAGES[: 1 + max(STAGES.index(stage) for stage in self.stages)]
        for part in ("conv1", "bn1", "relu", "maxpool", *self.computed):
            setattr(self, part, getattr(network, part))
        self.stage_channels = tuple(CHANNELS[name][STAGES.index(s)] for s in self.stages)
        self.eval()
        for parameter in self.parameters():
            parameter.stop_gradient = True

    def grids(self, size: tuple[int, int]) -> list[tuple[int, int]]:
        """(h,w) of each stage's map for pictures of (H,W)."""
        strides = (STRIDES[STAGES.index(stage)] for stage in self.stages)
        return [tuple(-(-side // stride) for side in size) for stride in strides]

    def forward(self, x):
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        maps = []
        for stage in self.computed:
            x = getattr(self, stage)(x)
            if stage in self.stages:
                maps.append(x)
        return maps


def full_shapes(name: str) -> dict[str, tuple[int, ...]]:
    """Tensor names (torchvision's) and shapes of the whole network, classifier excepted."""
    network = _blank(name)
    return {torch_name(key): tuple(t.shape) for key, t in network.state_dict().items()}


def torch_name(key: str) -> str:
    """Paddle's name of a tensor → torchvision's; torchvision's own names stay as they are."""
    stem, _, last = key.rpartition(".")
    renamed = {"_mean": "running_mean", "_variance": "running_var"}.get(last, last)
    return f"{stem}.{renamed}" if stem else renamed


def set_weights(network: nn.Layer, state: dict) -> None:
    """Fill `network` from arrays under torchvision's names; tensors it has no use for stay out."""
    own = network.state_dict()
    with paddle.no_grad():
        for key, tensor in own.items():
            tensor.set_value(state[torch_name(key)].astype("float32"))


def get_weights(network: nn.Layer) -> dict:
    """Arrays of `network` under torchvision's names."""
    return {torch_name(key): tensor.numpy() for key, tensor in network.state_dict().items()}


def _blank(name: str) -> nn.Layer:
    """The whole network without classifier, all zeros: random values would only cost time."""
    nn.initializer.set_global_initializer(nn.initializer.Constant(0.0))
    try:
        return getattr(vision, name)(num_classes=0, with_pool=False)
    finally:
        nn.initializer.set_global_initializer(None)
