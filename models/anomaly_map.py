"""Patch scores → picture-sized anomaly map (Defard et al. 2020, section 3.3).

Bilinear upsampling and Gaussian smoothing are both linear and separable, so the two steps
together are one small matrix on each side of the scores: map = A_h · scores · A_wᵀ, with A = G·U.
"""

import numpy as np

from models.grids import bilinear
from models.roi import Roi


class AnomalyMap:
    """Patch scores [B,h,w] → smoothed maps [B,H,W], float32; `sigma` in pixels of the crop.

    With a region of interest `roi`, the maps are 0 outside it: patch scores outside are left out,
    and `weights` [H,W] make up for them at its border.
    """

    def __init__(
        self,
        grid: tuple[int, int],
        size: tuple[int, int],
        sigma: float = 4.0,
        roi: Roi | None = None,
    ):
        self.rows = _upsample_and_smooth(grid[0], size[0], sigma)
        self.columns = _upsample_and_smooth(grid[1], size[1], sigma)
        self.places = self.weights = None
        if roi is not None:
            self.places = roi.places(grid).astype(np.float32)
            self.weights = roi.weights(self.rows, self.columns)

    def __call__(self, patch_scores: np.ndarray) -> np.ndarray:
        if self.places is None:
            return self.rows @ patch_scores @ self.columns.T
        return self.rows @ (patch_scores * self.places) @ self.columns.T * self.weights


def image_scores(maps: np.ndarray) -> np.ndarray:
    """The image score is the maximum of the map: [B,H,W] → [B]."""
    return maps.max(axis=(1, 2))


def _upsample_and_smooth(source: int, target: int, sigma: float) -> np.ndarray:
    """The matrix [target,source] of both steps along one axis.

    Smoothing mirrors at the border and ends at 4 σ, as `scipy.ndimage.gaussian_filter` does by
    default (which takes 0.3 s to import).
    """
    upsample = bilinear(source, target)
    radius = int(4 * sigma + 0.5)
    weights = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    mirrored = np.pad(upsample, ((radius, radius), (0, 0)), mode="symmetric")
    windows = np.lib.stride_tricks.sliding_window_view(mirrored, 2 * radius + 1, axis=0)
    return (windows @ (weights / weights.sum())).astype(np.float32)
