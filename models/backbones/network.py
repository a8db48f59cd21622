"""A backbone as a frozen Paddle network, and its tensors by name.

Tensors have PyTorch's names (`running_mean`). Modules of residual networks have torchvision's
names, modules of EfficientNets those in `efficientnet.py`.
"""

from collections.abc import Sequence
from contextlib import contextmanager
from functools import cache

import numpy as np
import paddle
from paddle import nn

from models.backbones.catalogue import RESIDUAL, all_layers
from models.backbones.names import torch_leaf


def build(
    backbone: str, layers: Sequence[str], size: tuple[int, int], variant: dict | None = None
) -> nn.Layer:
    """Pictures [B,3,H,W] of `size` → maps of `layers`, [B,C_i,h_i,w_i]; all weights are zero.

    The network has `stage_channels` (the C_i), `grids` (the (h_i,w_i)) and `described` (a text of
    these parameters), and ends with the last of `layers`. `variant` holds the padding and epsilon
    of `names.variant_of`.
    ValueError where `layers` are not a selection of `catalogue.all_layers` in the same order.
    """
    known = all_layers(backbone)
    if not layers or list(layers) != [name for name in known if name in layers]:
        raise ValueError(f"{backbone} has no layers {', '.join(layers)} in this order")
    with _initially(nn.initializer.Constant(0.0)):
        network = _frozen(backbone, layers, size, variant or {})
    network.described = f"{backbone} {','.join(layers)} {tuple(size)} {variant or {}}"
    return network


def _frozen(backbone: str, layers: Sequence[str], size: tuple[int, int], variant: dict) -> nn.Layer:
    if backbone in RESIDUAL:
        from models.backbones.resnet import ResNet

        network = ResNet(backbone, layers, size)
    else:
        from models.backbones.efficientnet import EfficientNet

        network = EfficientNet(backbone, layers, size, **variant)
    network.eval()
    for parameter in network.parameters():
        parameter.stop_gradient = True
    return network


def full_shapes(backbone: str) -> dict[str, tuple[int, ...]]:
    """Tensor names and shapes of the whole network without its classifier."""
    return dict(_full_shapes(backbone))


@cache  # a file that fits no backbone is compared with all of them
def _full_shapes(backbone: str) -> dict[str, tuple[int, ...]]:
    with _initially(_Nothing()):
        network = _frozen(backbone, all_layers(backbone)[-1:], (224, 224), {})
    return {torch_leaf(key): tuple(t.shape) for key, t in network.state_dict().items()}


def set_weights(network: nn.Layer, state: dict[str, np.ndarray]) -> None:
    """Fill `network` from arrays by name; arrays of other names are ignored."""
    with paddle.no_grad():
        for key, tensor in network.state_dict().items():
            array = np.asarray(state[torch_leaf(key)])
            if array.shape != tuple(tensor.shape):
                raise ValueError(f"{key} is {array.shape}, expected {tuple(tensor.shape)}")
            tensor.set_value(array.astype("float32"))


def get_weights(network: nn.Layer) -> dict[str, np.ndarray]:
    """Arrays of `network` by name."""
    return {torch_leaf(key): tensor.numpy() for key, tensor in network.state_dict().items()}


class _Nothing(nn.initializer.Initializer):
    """Allocates no memory: only the shapes of the tensors are needed."""

    def forward(self, var, block=None):
        return var


@contextmanager
def _initially(initializer: nn.initializer.Initializer):
    """Use `initializer` for layers built inside this block: random values would cost time."""
    # Of each thread: all but the one that imported Paddle begin in static mode.
    paddle.disable_static()
    nn.initializer.set_global_initializer(initializer)
    try:
        yield
    finally:
        nn.initializer.set_global_initializer(None)
