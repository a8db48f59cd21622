"""The values of preprocessing: picture → input of the network. Imports only the standard library.

`datasets.transforms` applies them. A model's record stores them, so that scoring uses the same
preprocessing as training.
"""

import math
from dataclasses import dataclass, replace

DECODERS = ("pillow", "vips")
STEP = 32  # pixels: the coarsest map of a network has a place for so many
SMALLEST, LARGEST = 32, 16384  # pixels per side of the network's input


@dataclass(frozen=True)
class Preprocessing:
    """Picture → float32 [3,H,W]. Raises ValueError if a value makes no sense.

    resize : shorter side in pixels (the aspect ratio is kept), or (height, width)
    crop : (height, width) of the part that is cut from the middle of the resized picture
    mean, std : of the three channels of [0,1] RGB (ImageNet's)
    decoder : of DECODERS: who decodes and resizes; the results differ by rounding
    """

    resize: int | tuple[int, int] = 256
    crop: tuple[int, int] = (224, 224)
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    decoder: str = "pillow"

    def __post_init__(self):
        whole = (self.resize, self.resize) if isinstance(self.resize, int) else self.resize
        for name, sides in (("crop", self.crop), ("resize", whole)):
            if not all(SMALLEST <= side <= LARGEST for side in sides):
                raise ValueError(
                    f"{name} {_size(sides)}: expected {SMALLEST} to {LARGEST} pixels per side"
                )
        if self.crop[0] > whole[0] or self.crop[1] > whole[1]:
            raise ValueError(f"crop {_size(self.crop)} is larger than resize {_size(whole)}")
        if self.decoder not in DECODERS:
            raise ValueError(f"decoder {self.decoder!r}: expected one of {', '.join(DECODERS)}")
        if not all(math.isfinite(value) and abs(value) < 100 for value in self.mean):
            raise ValueError(f"mean {self.mean}: expected numbers near 0.5")
        if not all(1e-3 < value < 1e3 for value in self.std):
            raise ValueError(f"std {self.std}: expected positive numbers near 0.2")

    def resized(self, size: tuple[int, int]) -> tuple[int, int]:
        """(width, height) after resizing a picture of (width, height)."""
        if isinstance(self.resize, int):
            scale = self.resize / min(size)
            return tuple(max(self.resize, round(side * scale)) for side in size)
        return self.resize[1], self.resize[0]

    def box(self, size: tuple[int, int]) -> tuple[float, float, float, float]:
        """Left, top, right, bottom of the crop in a picture of (width, height), in its pixels."""
        sides = []
        for full, small, side in zip(size, self.resized(size), self.crop[::-1], strict=True):
            start = (small - side) // 2
            sides.append((start * full / small, min(full, (start + side) * full / small)))
        (left, right), (top, bottom) = sides
        return left, top, right, bottom

    def whole(self, size: tuple[int, int]) -> "Preprocessing":
        """The same for the whole of pictures of (width, height), without a crop.

        The shorter side gets that of `crop`, the other one is in proportion, rounded to STEP.
        """
        short, scale = min(self.crop), min(self.crop) / min(size)
        width, height = (max(short, STEP * round(side * scale / STEP)) for side in size)
        return replace(self, resize=(height, width), crop=(height, width))

    def seen(self, size: tuple[int, int]) -> float:
        """The part of a picture of (width, height) that the crop keeps, 0 to 1."""
        width, height = self.resized(size)
        return min(1.0, self.crop[0] / height) * min(1.0, self.crop[1] / width)


def _size(sides: tuple[int, int]) -> str:
    return "x".join(map(str, sides))
