"""What a threshold does on labelled test pictures: false alarms and recall."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from common.calibration import Rule
from evaluation.testing import ScoredPicture

Z95 = 1.959963984540054  # the normal quantile of a two-sided 95 % interval


@dataclass(frozen=True)
class Counts:
    """`called` of `total` pictures are called defective."""

    called: int
    total: int

    @property
    def rate(self) -> float | None:
        return self.called / self.total if self.total else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """The 95 % interval of the rate (Wilson 1927, JASA 22); None without pictures."""
        if not self.total:
            return None
        n, rate, z2 = self.total, self.called / self.total, Z95**2
        middle = (rate + z2 / (2 * n)) / (1 + z2 / n)
        half = Z95 / (1 + z2 / n) * math.sqrt(rate * (1 - rate) / n + z2 / (4 * n * n))
        return max(0.0, middle - half), min(1.0, middle + half)

    def text(self) -> str:
        """As in `2 of 20 (10.0 %, 95 % interval 2.8 to 30.1 %)`."""
        if not self.total:
            return "no pictures"
        low, high = (100 * end for end in self.interval)
        return (
            f"{self.called} of {self.total} ({100 * self.rate:.1f} %, "
            f"95 % interval {low:.1f} to {high:.1f} %)"
        )


def count(threshold: float, tested: Sequence[ScoredPicture]) -> tuple[Counts, Counts]:
    """What `threshold` calls defective of the good and of the defective pictures."""
    groups = []
    for wanted in (False, True):
        scores = [picture.score for picture in tested if picture.defective == wanted]
        groups.append(Counts(sum(score >= threshold for score in scores), len(scores)))
    return groups[0], groups[1]


def effect(threshold: float, tested: Sequence[ScoredPicture]) -> str:
    """What `threshold` does on test pictures, in one line."""
    good, defective = count(threshold, tested)
    return f"false alarms {good.text()}; found {defective.text()}"


@dataclass(frozen=True)
class Promise:
    """The threshold for a false-alarm rate, and what it does on the test pictures."""

    fpr: float
    threshold: float
    extrapolated: bool
    smallest_fpr: float
    good: Counts
    defective: Counts

    @classmethod
    def of(cls, rule: Rule, tested: Sequence[ScoredPicture]) -> "Promise | None":
        """None where the rule is not of a false-alarm rate."""
        if rule.origin != "fpr":
            return None
        known = rule.fpr, rule.threshold, rule.extrapolated, rule.normal.smallest_fpr
        return cls(*known, *count(rule.threshold, tested))

    def record(self) -> dict:
        """The entry `promise` of metrics.json."""
        known = asdict(self)
        del known["good"], known["defective"]
        return known | {
            "false_alarms": self.good.called,
            "good": self.good.total,
            "false_alarm_rate": self.good.rate,
            "false_alarm_interval": self.good.interval,
            "found": self.defective.called,
            "defective": self.defective.total,
            "recall": self.defective.rate,
            "recall_interval": self.defective.interval,
        }
