"""What scores mean: verdicts, colours, regions. Does not import drawing libraries."""

from dataclasses import dataclass

import numpy as np

from common.calibration import Rule

VERDICTS = {True: "defective", False: "good", None: "unknown"}


@dataclass(frozen=True)
class Scale:
    """Thresholds and colours, the same for all pictures of a run so that they can be compared.

    An image score and the pixel scores of a map may have different units: only `threshold` applies
    to image scores, everything else to pixel scores.

    threshold : image score from which a picture is defective; None where it is unknown
    low, high : pixel scores at the two ends of the colours
    usual : a usual pixel score of a good picture
    peak : maximum of a map from which a picture is defective; None where it is unknown
    pixel_threshold : score from which a pixel is defective; None where it is unknown
    """

    threshold: float | None
    low: float
    high: float
    usual: float
    peak: float | None = None
    pixel_threshold: float | None = None

    def region(self, score: float, anomaly_map: np.ndarray) -> np.ndarray:
        """Where the defect is, bool [H,W]: the pixels from `cut` on.

        Empty exactly where the picture is not judged defective.
        """
        if self.threshold is None or score < self.threshold:
            return np.zeros(anomaly_map.shape, bool)
        return anomaly_map >= self.cut(anomaly_map)

    def cut(self, anomaly_map: np.ndarray) -> float:
        """The pixel score from which the region of a defective picture begins.

        It is the pixel threshold, but at most half-way to the worst pixel: all of a faint defect
        may be below the pixel threshold, which suits the pixels of a whole test set. Half-way
        starts at `peak`, or at `usual` where no pixel reaches `peak`.
        """
        worst = float(anomaly_map.max())
        base = self.peak if self.peak is not None and worst >= self.peak else self.usual
        cut = min((base + worst) / 2, worst)
        return cut if self.pixel_threshold is None else min(self.pixel_threshold, cut)


def usual_score(pixels: np.ndarray) -> float:
    """The median of pixel scores, without those that are 0: outside a region of interest."""
    scoring = pixels[(pixels > 0) | (pixels < 0)]
    return float(np.median(scoring)) if len(scoring) else 0.0


def verdict(score: float, threshold: float | None) -> str:
    """`good`, `defective`, or `unknown` where there is no threshold."""
    return VERDICTS[None if threshold is None else bool(score >= threshold)]


def scale_for(rule: Rule, unit: float) -> Scale:
    """The scale of a model with this rule for verdicts.

    `unit`, a usual patch score of a good picture, serves where the rule has no scores of pixels.
    """
    if rule.peak is None:
        return Scale(rule.threshold, low=0.5 * unit, high=3 * unit, usual=unit)
    low = min(rule.usual, rule.peak / 2)  # the threshold of a poor model may be below a usual score
    return Scale(
        threshold=rule.threshold,
        low=low,
        high=2 * rule.peak - low,  # so that `peak` is the middle of the colours
        usual=rule.usual,
        peak=rule.peak,
        pixel_threshold=rule.pixel,
    )
