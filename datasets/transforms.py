"""Resizes, crops and normalises pictures and masks, as a Preprocessing says."""

from dataclasses import dataclass

import numpy as np
from PIL import Image

from common.preprocessing import Preprocessing
from datasets import vips
from datasets.decoding import (
    MAX_PIXELS,
    decoded,
    picture_size,
    read_mask,
    read_picture,
    to_mask,
    to_rgb,
)
from datasets.sources import SUFFIXES, BadPictureError, Source, name_of

__all__ = [
    "MAX_PIXELS",
    "SUFFIXES",
    "BadPictureError",
    "Source",
    "Transform",
    "name_of",
    "picture_size",
    "read_mask",
    "read_picture",
]


@dataclass(frozen=True)
class Transform:
    """Applies `preprocessing` to pictures and masks of at most `max_pixels` pixels.

    What is larger, or does not decode, raises BadPictureError.
    """

    preprocessing: Preprocessing
    max_pixels: int = MAX_PIXELS

    def picture(self, source: Source) -> np.ndarray:
        """uint8 RGB [H,W,3] of the picture, resized (bilinear, antialiased) and cropped."""
        return self.sized_picture(source)[0]

    def sized_picture(self, source: Source) -> tuple[np.ndarray, tuple[int, int]]:
        """As `picture`, and (width, height) of the upright original."""
        fast = self._at_once if self.preprocessing.decoder == "vips" else None
        with decoded(source, self.max_pixels, self._converted, fast) as found:
            return found

    def mask(self, source: Source) -> np.ndarray:
        """bool [H,W] of a mask, by nearest neighbour, so that it stays a mask."""
        with decoded(source, self.max_pixels, to_mask) as mask:
            image = Image.fromarray(mask.view(np.uint8))
            return np.asarray(self._fitted(image, Image.Resampling.NEAREST)).astype(bool)

    def normalize(self, picture: np.ndarray) -> np.ndarray:
        """uint8 [H,W,3] → float32 [3,H,W]."""
        mean, std = (np.asarray(v, np.float32) for v in self._statistics())
        scale = 1 / (255 * std)
        shift = mean / std
        out = np.empty((3, *picture.shape[:2]), np.float32)
        np.multiply(picture.transpose(2, 0, 1), scale[:, None, None], out=out)
        out -= shift[:, None, None]
        return out

    def denormalize(self, images: np.ndarray) -> np.ndarray:
        """float32 [B,3,H,W] → uint8 [B,H,W,3], exactly the pictures that were normalised."""
        mean, std = (np.asarray(v, np.float32)[:, None, None] for v in self._statistics())
        pictures = np.rint((images * std + mean) * 255).clip(0, 255).astype(np.uint8)
        return np.ascontiguousarray(pictures.transpose(0, 2, 3, 1))

    def _statistics(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        return self.preprocessing.mean, self.preprocessing.std

    def _converted(self, image: Image.Image) -> tuple[np.ndarray, tuple[int, int]]:
        colours, wanted = to_rgb(image), self.preprocessing
        if wanted.decoder == "vips" and vips.shrinks(colours.size, wanted) and vips.available():
            return vips.resized(np.asarray(colours), wanted), colours.size
        return np.asarray(self._fitted(colours, Image.Resampling.BILINEAR)), colours.size

    def _at_once(
        self, image: Image.Image, content: bytes
    ) -> tuple[np.ndarray, tuple[int, int]] | None:
        if not vips.available():
            return None
        found = vips.reduced(image, content, self.preprocessing)
        return None if found is None else (found, image.size)

    def _fitted(self, image: Image.Image, resample: Image.Resampling) -> Image.Image:
        """Resized and cropped in one step: what the crop leaves out is never computed.

        The filter reaches across the border of `box`, so that every pixel equals that of resizing
        the whole picture and cropping it then.
        """
        size = self.preprocessing.crop[::-1]
        return image.resize(size, resample, box=self.preprocessing.box(image.size))
