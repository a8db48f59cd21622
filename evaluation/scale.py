"""What a score means: colours, verdicts, regions. Draws nothing and imports nothing that does."""

from dataclasses import dataclass

import numpy as np

VERDICTS = {True: "defective", False: "good", None: "unknown"}


@dataclass(frozen=True)
class Scale:
    """From which score to which the colours run, and from which on something is a defect.

    The same for all pictures of a run: colours of two pictures can be compared. `threshold`
    judges pictures, `pixel_threshold` pixels; both None where no threshold is known.
    """

    low: float
    high: float
    threshold: float | None = None
    pixel_threshold: float | None = None

    @classmethod
    def around(cls, threshold: float, pixel_threshold: float, normal: float) -> "Scale":
        """From `normal`, a usual score of a good pixel, with `threshold` in the middle."""
        low = min(normal, threshold / 2)  # a poor model's threshold may lie among good pixels
        return cls(low, 2 * threshold - low, threshold, pixel_threshold)

    @classmethod
    def unjudged(cls, unit: float) -> "Scale":
        """No threshold is known: from half to three times `unit`, a usual training score."""
        return cls(0.5 * unit, 3 * unit)

    def region(self, score: float, anomaly_map: np.ndarray) -> np.ndarray:
        """Where the defect is: bool [H,W]; empty exactly where the picture counts as good.

        `cut` says from which score on.
        """
        if score < self.threshold:
            return np.zeros(anomaly_map.shape, bool)
        return anomaly_map >= self.cut(anomaly_map)

    def cut(self, anomaly_map: np.ndarray) -> float:
        """The pixel threshold; for faint defects less: half-way from threshold to worst pixel.

        The pixel threshold suits all pixels of a test set together. A faint defect may lie below
        it all over, and yet make its picture defective.
        """
        worst = float(anomaly_map.max())
        return min(self.pixel_threshold, (self.threshold + worst) / 2, worst)


def verdict(score: float, threshold: float | None) -> str:
    """`good`, `defective`, or `unknown` where there is no threshold."""
    return VERDICTS[None if threshold is None else bool(score >= threshold)]


def scale_for(calibration: dict | None, unit: float, threshold: float | None = None) -> Scale:
    """Colours for pictures of a model with this calibration, judged by `threshold` if given.

    `unit`, a usual score of a training patch, serves where there is no calibration.
    """
    known = calibration or {}
    threshold = known.get("image_threshold") if threshold is None else threshold
    if threshold is None:
        return Scale.unjudged(unit)
    pixel_threshold = known.get("pixel_threshold", threshold)
    return Scale.around(threshold, pixel_threshold, known.get("normal_score", unit))
