"""What scores mean: verdicts, colours, regions. Does not import drawing libraries."""

from dataclasses import dataclass

import numpy as np

from common.calibration import Rule

CONNECTED = np.ones((3, 3))  # pixels that touch at a corner are of one part
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
        """Where the defect is, bool [H,W]: `tops` of the map.

        Empty exactly where the picture is not judged defective.
        """
        if self.threshold is None or score < self.threshold:
            return np.zeros(anomaly_map.shape, bool)
        return tops(anomaly_map, self.cut(anomaly_map), self.usual)

    def cut(self, anomaly_map: np.ndarray) -> float:
        """The least pixel score of the regions of a defective picture.

        It is the pixel threshold, but at most half-way from a usual pixel to the worst: all of a
        faint defect may be below the pixel threshold.
        """
        cut = _half_way(self.usual, float(anomaly_map.max()))
        return cut if self.pixel_threshold is None else min(self.pixel_threshold, cut)


def tops(scores: np.ndarray, cut: float, usual: float) -> np.ndarray:
    """The pixels of each connected part above `cut`, from half-way to its own highest pixel on.

    bool [H,W]. The smoothing of maps and the receptive fields of the network surround a strong
    defect with high scores; half-way from `usual`, a usual score, is near its border. Each part has
    its own height, so that a strong defect does not hide a weaker one.
    """
    from scipy import ndimage

    parts, count = ndimage.label(scores >= cut, CONNECTED)
    heights = np.asarray(ndimage.maximum(scores, parts, range(1, count + 1)))
    own = np.maximum(cut, _half_way(usual, heights))
    return scores >= np.concatenate([[np.inf], own])[parts]


def _half_way(usual, worst):
    """Half-way from `usual` to `worst`, or `worst` if that is less; numbers or arrays."""
    return np.minimum((usual + worst) / 2, worst)


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
