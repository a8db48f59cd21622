"""From which scores on something is a defect: the values that a model keeps. Imports nothing."""

import math
from dataclasses import dataclass

LONGEST = 1000  # characters of `source`


@dataclass(frozen=True)
class Calibration:
    """Thresholds of images and of pixels, each on the scale of its own scores.

    image_threshold : image score from which a picture is defective
    peak_threshold : maximum of an anomaly map from which a picture is defective
    pixel_threshold : score from which a pixel is defective
    normal_score : a usual score of a good pixel
    source : what the values were found with, in words
    """

    image_threshold: float
    peak_threshold: float
    pixel_threshold: float
    normal_score: float
    source: str

    def __post_init__(self):
        for name in ("image_threshold", "peak_threshold", "pixel_threshold", "normal_score"):
            if not math.isfinite(value := getattr(self, name)):
                raise ValueError(f"{name} {value}: expected a finite number")
        if len(self.source) > LONGEST:
            raise ValueError(f"source: more than {LONGEST} characters")
