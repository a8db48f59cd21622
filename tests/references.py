"""What other implementations of the backbones give for the same random weights.

    python -m tests.references

writes `tests/data/backbones.npz` where torch, torchvision, timm and efficientnet_pytorch are
installed. Weights and picture follow from names and seeds alone, so that the file holds nothing but
samples of the maps.
"""

import zlib
from pathlib import Path

import numpy as np

from models.backbones.catalogue import (
    POINTS,
    RESIDUAL,
    RESIDUAL_LAYERS,
    URLS,
    all_layers,
    blocks,
    preset,
)
from models.backbones.names import renamed

PATH = Path(__file__).resolve().parent / "data" / "backbones.npz"
SIDE = 64
SAMPLES = 64  # of each map, beside its norm

# Backbone, library, the file that its weights would come in.
CASES = [
    *((backbone, "torchvision", f"{backbone}.pth") for backbone in URLS),
    ("efficientnet_b0", "timm", "efficientnet_b0_ra.pth"),
    ("efficientnet_b4", "timm", "tf_efficientnet_b4_aa.pth"),
    ("efficientnet_b0", "efficientnet_pytorch", "efficientnet-b0.pth"),
    ("efficientnet_b4", "efficientnet_pytorch", "efficientnet-b4.pth"),
]


def layers_of(backbone: str, library: str) -> tuple[str, ...]:
    """The layers that are compared: all presets, the deepest, and the points inside it."""
    if backbone in RESIDUAL:
        return RESIDUAL_LAYERS
    chosen = {*preset(backbone, "first"), *preset(backbone, "middle"), *preset(backbone, "last")}
    last = blocks(backbone)[-1].number
    points = POINTS if library == "torchvision" else ("",)
    chosen |= {f"block{last}{point}" for point in points}
    return tuple(layer for layer in all_layers(backbone) if layer in chosen)


def weight(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """The tensor `name`, such that maps neither explode nor forget the picture."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    if name.endswith("running_var"):
        return rng.uniform(0.7, 1.3, shape).astype(np.float32)
    if len(shape) > 1:
        return rng.normal(0, np.prod(shape[1:]) ** -0.5, shape).astype(np.float32)
    if name.endswith(".weight"):
        # Swish passes little of what is small, and then the gates halve it: EfficientNets' norms
        # make up for that, but for the last of a block.
        low, high = (0.4, 0.8) if ".norm." not in name else (1.6, 2.4)
        low, high = (0.45, 0.75) if ".project." in name else (low, high)
        return rng.uniform(low, high, shape).astype(np.float32)
    return rng.normal(0, 0.1, shape).astype(np.float32)


def picture(seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((1, 3, SIDE, SIDE), np.float32)


def sampled(maps: np.ndarray) -> np.ndarray:
    """The norm of a map and some of its values."""
    chosen = np.random.default_rng(2).integers(0, maps.size, SAMPLES)
    return np.concatenate([[np.linalg.norm(maps)], maps.ravel()[chosen]]).astype(np.float32)


def theirs(backbone: str, library: str, file: str):
    """The network of another library, with our weights, and its modules by our layers' names."""
    import torch

    if library == "torchvision":
        import torchvision

        network = getattr(torchvision.models, backbone)()
    elif library == "timm":
        import timm

        network = timm.create_model(file.rpartition("_")[0])
    else:
        from efficientnet_pytorch import EfficientNet

        network = EfficientNet.from_name(backbone.replace("_", "-"))
    state = network.state_dict()
    for key, name in renamed(backbone, state).items():
        state[key] = torch.from_numpy(weight(name, tuple(state[key].shape)))
    network.load_state_dict(state)
    if backbone in RESIDUAL:
        return network.eval(), {layer: getattr(network, layer) for layer in RESIDUAL_LAYERS}
    stages = {"torchvision": "features", "timm": "blocks", "efficientnet_pytorch": "_blocks"}
    found = list(getattr(network, stages[library]))
    if library == "torchvision":
        found = found[1:-1]
    if library != "efficientnet_pytorch":
        found = [block for stage in found for block in stage]
    modules = {f"block{i}": block for i, block in enumerate(found, 1)}
    if library == "torchvision":
        inside = [(name, list(block.block)) for name, block in modules.items()]
        modules |= {f"{name}.expand": parts[0] for name, parts in inside}
        modules |= {f"{name}.depthwise": parts[-3] for name, parts in inside}
    return network.eval(), modules


def reference_of(backbone: str, library: str, file: str) -> dict[str, np.ndarray]:
    """Samples of the maps of each layer, by another library."""
    import torch

    network, modules = theirs(backbone, library, file)
    maps = {}
    for layer in layers_of(backbone, library):
        modules[layer].register_forward_hook(
            lambda _, __, output, layer=layer: maps.update({layer: sampled(output.numpy())})
        )
    with torch.no_grad():
        network(torch.from_numpy(picture()))
    return maps


def main() -> None:
    arrays = {}
    for backbone, library, file in CASES:
        found = reference_of(backbone, library, file)
        arrays |= {f"{library} {file} {layer}": samples for layer, samples in found.items()}
        print(backbone, library, *found)
    np.savez_compressed(PATH, **arrays)


if __name__ == "__main__":
    main()
