"""Estimates the memory of a model, so that models that are too large are refused at once."""

from common.errors import UsageError
from models.backbones.shapes import widest
from models.device import total_memory
from models.heads import Stages
from models.methods import METHODS
from models.predictor import at_once

# Activations in memory at the same time, in units of the largest one; measured: 1.5 to 3.3.
ALIVE = 3.3
USABLE = 0.9  # of the machine's memory


def require_memory(
    method: str,
    settings,
    backbone: str,
    layers: tuple[str, ...],
    stages: Stages,
    size: tuple[int, int],
    batch_size: int,
    pictures: int,
    stored: bool = False,
) -> None:
    """UsageError if a model for pictures of `size` (H,W) needs more memory than this machine has.

    `batch_size`: number of pictures that are decoded at a time. `stored`: the model comes from a
    file and only scores, which needs less than learning from its `pictures`.
    """
    pixels, running = size[0] * size[1], min(batch_size, at_once(size))
    numbers = sum(channels * h * w for channels, (h, w) in stages)
    head = METHODS[method].head_class()
    of_head = head.stored_memory if stored else head.memory
    needs = {
        "network": running * pixels * ALIVE * widest(backbone, layers),
        "pictures": batch_size * (3 * 12 * pixels + 8 * numbers),
        "statistics": of_head(settings, stages, pictures),
    }
    need, there = sum(needs.values()), total_memory()
    if there is not None and need > USABLE * there:
        smaller = ", ".join(("dims", "layers", *METHODS[method].smaller))
        parts = ", ".join(f"{name} {size / 1e9:.1f}" for name, size in needs.items())
        keeps = of_head(settings, stages, 1) < needs["statistics"]
        fewer = ", or the number of training pictures" if keeps else ""
        raise UsageError(
            f"pictures of {size[0]}x{size[1]} need {need / 1e9:.1f} GB of memory ({parts}), but "
            f"this machine has {there / 1e9:.1f} GB; reduce the picture size (img_size), the "
            f"batch size (batch_size), or the model ({smaller}){fewer}"
        )
