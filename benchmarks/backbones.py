"""What each backbone costs: `python -m benchmarks.backbones [NAME…]`, one table row each.

Pictures of 224 × 224, default layers and dims, random weights. Parameters and multiply-adds count
the computed part of the network, multiply-adds only its convolutions. Milliseconds are medians per
picture at batch 8, fp32, without scoring. The checkpoint's megabytes follow from its shapes.
"""

import numpy as np
import paddle
from paddle import nn

from benchmarks.parts import SIDE, median_ms
from common.options import Parser
from models.backbones.catalogue import BACKBONES
from models.engine import Engine
from models.factory import build_detector

BATCH = 8


def multiply_adds(network: nn.Layer) -> int:
    """Multiply-adds of all convolutions for one picture."""
    total = 0

    def count(layer, _, output):
        nonlocal total
        total += int(np.prod(output.shape[1:])) * int(np.prod(layer.weight.shape[1:]))

    hooks = [
        layer.register_forward_post_hook(count)
        for layer in network.sublayers()
        if isinstance(layer, nn.Conv2D)
    ]
    with paddle.no_grad():
        network(paddle.zeros([1, 3, SIDE, SIDE]))
    for hook in hooks:
        hook.remove()
    return total


def row(backbone: str) -> str:
    detector = build_detector(
        backbone=backbone, pretrained_backbone="random", engine=Engine(device="cpu")
    )
    network = detector.features.network
    parameters = sum(int(np.prod(tensor.shape)) for tensor in network.parameters())
    images = np.random.default_rng(0).standard_normal((BATCH, 3, SIDE, SIDE), np.float32)
    taken = median_ms({"network": lambda: detector.features(images)}, BATCH, runs=9)
    size = sum(array.nbytes for array in detector.arrays().values()) / 1e6
    grids = ", ".join(f"{h}×{w}" for h, w in network.grids)
    layers = ", ".join(detector.record.features.layers)
    channels, dims = sum(network.stage_channels), detector.record.features.dims
    cost = f"{parameters / 1e6:.1f} | {multiply_adds(network) / 1e9:.2f}"
    return (
        f"| {backbone} | {layers} | {channels} | {dims} | {grids} | {cost} | "
        f"{taken['network']:.1f} | {size:.0f} |"
    )


if __name__ == "__main__":
    parser = Parser("Print what each backbone costs, one table row each.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="a backbone (default: all)")
    for name in parser.parse_args().names or BACKBONES:
        if name not in BACKBONES:
            parser.error(f"there is no {name}; known: {', '.join(BACKBONES)}")
        print(row(name), flush=True)
