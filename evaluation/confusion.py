"""What a threshold does on labelled test pictures: confusion counts, precision, recall, kinds."""

from collections.abc import Sequence
from dataclasses import dataclass

from evaluation.testing import ScoredPicture


@dataclass(frozen=True)
class Confusion:
    """
    threshold : image score from which a picture is defective
    passed, false_alarms : good pictures called good, called defective
    missed, found : defective pictures called good, called defective
    kinds : of each kind of defect the numbers of pictures found and of all
    """

    threshold: float
    passed: int
    false_alarms: int
    missed: int
    found: int
    kinds: dict[str, tuple[int, int]]

    @classmethod
    def of(cls, threshold: float | None, tested: Sequence[ScoredPicture]) -> "Confusion | None":
        """None without a threshold."""
        if threshold is None:
            return None
        counts = {(truth, called): 0 for truth in (False, True) for called in (False, True)}
        kinds: dict[str, tuple[int, int]] = {}
        for picture in tested:
            called = bool(picture.score >= threshold)
            counts[picture.defective, called] += 1
            if picture.defective:
                found, total = kinds.get(picture.kind, (0, 0))
                kinds[picture.kind] = found + called, total + 1
        order = ((False, False), (False, True), (True, False), (True, True))
        return cls(threshold, *(counts[key] for key in order), dict(sorted(kinds.items())))

    @property
    def precision(self) -> float | None:
        """The share of defective pictures among those called defective; None if there are none."""
        called = self.found + self.false_alarms
        return self.found / called if called else None

    @property
    def recall(self) -> float | None:
        """The share of the defective pictures that are found; None if there are none."""
        total = self.found + self.missed
        return self.found / total if total else None

    @property
    def f1(self) -> float | None:
        """2·found / (2·found + false alarms + missed); None without defective pictures."""
        total = 2 * self.found + self.false_alarms + self.missed
        return 2 * self.found / total if self.found + self.missed else None

    def record(self) -> dict:
        """The entry `confusion` of metrics.json."""
        return {
            "threshold": self.threshold,
            "passed": self.passed,
            "false_alarms": self.false_alarms,
            "missed": self.missed,
            "found": self.found,
            "precision": self.precision,
            "recall": self.recall,
            "f1": self.f1,
            "kinds": {
                kind: {"found": found, "pictures": total, "recall": found / total}
                for kind, (found, total) in self.kinds.items()
            },
        }

    def lines(self) -> list[str]:
        """For the console."""
        found = [
            f"good: {self.passed} passed, {self.false_alarms} false alarms; "
            f"defective: {self.found} found, {self.missed} missed",
        ]
        if self.kinds:
            names = {"precision": self.precision, "recall": self.recall, "F1": self.f1}
            found.append(", ".join(f"{name} {_text(value)}" for name, value in names.items()))
            shares = (f"{kind} {found} of {total}" for kind, (found, total) in self.kinds.items())
            found.append(f"found by kind: {', '.join(shares)}")
        return found


def remark(defective: bool | None, called: bool | None) -> str:
    """`miss`, `false alarm`, or empty where the verdict is right or the truth is unknown."""
    if defective is None or called is None or defective == called:
        return ""
    return "miss" if defective else "false alarm"


def _text(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
