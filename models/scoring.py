"""From stage maps to scores: what a trained model and a deployed one have in common."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from common.errors import WorkError
from models.anomaly_map import AnomalyMap, image_scores
from models.gaussian import PatchGaussian


@dataclass(frozen=True)
class Scores:
    """`image` float32 [B]: one score a picture; `map` float32 [B,H,W]: one a pixel."""

    image: np.ndarray
    map: np.ndarray


class Scorer:
    """The distribution's half of a detector, for pictures of `size` (H,W)."""

    def __init__(self, gaussian: PatchGaussian, size: tuple[int, int], sigma: float):
        self.gaussian = gaussian
        self.to_map = AnomalyMap(gaussian.grid, size, sigma)

    def __call__(self, maps: Sequence[np.ndarray]) -> Scores:
        """Scores from the maps [B,c,h,w] of each stage, finest first."""
        anomaly_maps = self.to_map(self.gaussian.mahalanobis(maps))
        return finite(Scores(image_scores(anomaly_maps), anomaly_maps))


def finite(scores: Scores) -> Scores:
    """`scores`, or WorkError: no verdict may rest on what is no number."""
    if not np.isfinite(scores.image).all():
        raise WorkError("scores are not finite: the model is damaged; train it again")
    return scores


def check_images(images: np.ndarray, size: tuple[int, int]) -> None:
    """ValueError where `images` are not normalised pictures of `size`."""
    if images.ndim != 4 or images.shape[1:] != (3, *size) or images.dtype != np.float32:
        raise ValueError(
            f"expected normalised float32 pictures [B,3,{size[0]},{size[1]}], "
            f"got {images.dtype} {images.shape}"
        )


def score_scale(dims: int) -> float:
    """√d: the root-mean-square distance of training patches from their own Gaussian."""
    return float(np.sqrt(dims))
