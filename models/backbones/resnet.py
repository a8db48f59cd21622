"""Residual networks (He et al. 2016) and wide ones (Zagoruyko and Komodakis 2016).

They have torchvision's topology and are cut after the last layer used.
"""

from collections.abc import Sequence

from paddle import nn
from paddle.jit import not_to_static
from paddle.vision import models as vision

from models.backbones.catalogue import RESIDUAL_LAYERS, channels


class ResNet(nn.Layer):
    """Pictures [B,3,H,W] of `size` → maps of `layers`, [B,C_i,h_i,w_i].

    `stage_channels` holds the C_i, `grids` the (h_i,w_i). The network ends with the last of
    `layers`.
    """

    def __init__(self, name: str, layers: Sequence[str], size: tuple[int, int]):
        super().__init__()
        whole = getattr(vision, name)(num_classes=0, with_pool=False)
        indices = [RESIDUAL_LAYERS.index(layer) for layer in layers]
        self.layers = tuple(layers)
        self.computed = RESIDUAL_LAYERS[: 1 + indices[-1]]
        for part in ("conv1", "bn1", "relu", "maxpool", *self.computed):
            setattr(self, part, getattr(whole, part))
        self.stage_channels = tuple(channels(name, layer) for layer in layers)
        self.grids = [tuple(-(-side // (4 * 2**i)) for side in size) for i in indices]

    @not_to_static  # no branch depends on the picture: conversion would only double the time
    def forward(self, x):
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        maps = []
        for layer in self.computed:
            x = getattr(self, layer)(x)
            if layer in self.layers:
                maps.append(x)
        return maps
