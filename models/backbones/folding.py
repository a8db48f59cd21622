"""Batch norms folded into the convolutions before them.

Paddle Inference folds them too when it opens a graph, but takes much longer for it
(docs/benchmarks.md). A convolution and its batch norm, γ(w∗x − μ)/√(σ²+ε) + β, are a convolution
with the weights wγ/√(σ²+ε) and the bias β − μγ/√(σ²+ε).
"""

import copy
import re

import numpy as np
from paddle import nn


def folded(network: nn.Layer) -> nn.Layer:
    """A copy of `network` that computes the same without batch norms, within rounding."""
    network = copy.deepcopy(network)
    for parent in network.sublayers(include_self=True):
        children = dict(parent.named_children())
        for name, conv in children.items():
            norm = _norm_of(name)
            if isinstance(conv, nn.Conv2D) and isinstance(children.get(norm), nn.BatchNorm2D):
                _fold(conv, children[norm])
                setattr(parent, norm, nn.Identity())
    return network


def _norm_of(name: str) -> str:
    """The name of the batch norm that follows the convolution `name` in our networks."""
    if name == "conv":
        return "norm"
    return "1" if name == "0" else re.sub(r"^conv(\d+)$", r"bn\1", name)


def _fold(conv: nn.Conv2D, norm: nn.BatchNorm2D) -> None:
    arrays = (norm.weight, norm._variance, norm.bias, norm._mean, conv.weight)
    weight, variance, bias, mean, kernel = (array.numpy().astype(np.float64) for array in arrays)
    scale = weight / np.sqrt(variance + norm._epsilon)
    conv.weight.set_value((kernel * scale.reshape(-1, 1, 1, 1)).astype(np.float32))
    conv.bias = conv.create_parameter([len(scale)], is_bias=True)
    conv.bias.set_value((bias - mean * scale).astype(np.float32))
    conv.bias.stop_gradient = True
