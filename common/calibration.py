"""The thresholds of a model: the scores from which something is a defect. Imports only the
standard library."""

import math
from dataclasses import dataclass

LONGEST = 1000  # characters of `source`


@dataclass(frozen=True)
class Calibration:
    """Thresholds of images and of pixels. Their scores may have different units.

    image_threshold : image score from which a picture is defective
    peak_threshold : maximum of an anomaly map from which a picture is defective
    pixel_threshold : score from which a pixel is defective
    normal_score : a usual score of a good pixel
    source : description of the test set that the values come from
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
