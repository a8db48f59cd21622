"""Region of interest: outside it nothing is learned, and nothing scores.

Outside the region, pictures are set to 0 (the mean of normalised pictures) before the network sees
them, in training and in scoring: features inside depend on pixels around them. Stage maps are set
to 0 outside as well: no picture differs from the others there, so no head needs to know the region.
"""

from collections.abc import Sequence

import numpy as np

from models.grids import Grid

NAME = "roi"  # of the array in a file
# Of the weight of the places inside at a pixel. A pixel of the region at its border gets less than
# 1, because smoothing reaches outside; its score is divided by its weight, but not by less.
LEAST_WEIGHT = 0.1


class Roi:
    """The region `pixels`, bool [H,W] of the network's input. ValueError if it is empty."""

    def __init__(self, pixels: np.ndarray):
        if not pixels.any():
            raise ValueError("the region of interest has no pixel in the crop")
        self.pixels = pixels

    def places(self, grid: Grid) -> np.ndarray:
        """bool [h,w]: the positions with a pixel of the region in their part of the picture."""
        found = self.pixels
        for axis, (count, length) in enumerate(zip(grid, self.pixels.shape, strict=True)):
            edges = np.arange(count + 1) * length // count
            cumulated = np.cumsum(found, axis=axis, dtype=np.int32)
            cumulated = np.insert(cumulated, 0, 0, axis=axis)
            # A position has at least one pixel, even where the grid does not divide the picture.
            first, last = edges[:-1], np.maximum(edges[1:], edges[:-1] + 1)
            found = np.take(cumulated, last, axis) - np.take(cumulated, first, axis) > 0
        return found

    def visible(self, images: np.ndarray) -> np.ndarray:
        """Normalised pictures float32 [B,3,H,W], 0 outside the region."""
        return images * self.pixels.astype(np.float32)

    def masked(self, maps: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Stage maps float32 [B,c,h,w], 0 outside the region."""
        return [stage * self.places(stage.shape[2:]).astype(np.float32) for stage in maps]

    def weights(self, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """Factors float32 [H,W] for a map that was smoothed by rows [H,h] and columns [W,w]."""
        places = self.places((rows.shape[1], columns.shape[1])).astype(np.float32)
        inside = np.maximum(rows @ places @ columns.T, LEAST_WEIGHT)
        return (self.pixels / inside).astype(np.float32)

    def arrays(self) -> dict[str, np.ndarray]:
        """The array for a file: bits, uint8 [⌈H·W/8⌉]."""
        return {NAME: np.packbits(self.pixels)}

    @classmethod
    def from_arrays(cls, arrays: dict, size: tuple[int, int]) -> "Roi":
        """From `arrays`, for pictures of `size` (H,W); KeyError or ValueError if it is wrong."""
        bits, count = arrays[NAME], size[0] * size[1]
        if bits.dtype != np.uint8 or bits.shape != (-(-count // 8),):
            raise ValueError(f"{NAME} is {bits.dtype} {bits.shape}, expected {count} bits in uint8")
        return cls(np.unpackbits(bits, count=count).reshape(size).astype(bool))
