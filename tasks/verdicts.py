"""The rule for verdicts, in words and from options."""

import argparse
import logging
import math
from dataclasses import dataclass
from pathlib import Path

from common.calibration import FPR, LARGEST_FPR, SMALLEST_FPR, Calibration, Rule
from common.errors import UsageError
from common.options import checked, number

logger = logging.getLogger(__name__)

ORIGINS = ("fpr", "f1")


@dataclass(frozen=True)
class Wanted:
    """The rule that a user wants; see common.calibration.Calibration.rule."""

    fpr: float = FPR
    threshold_from: str | None = None
    threshold: float | None = None

    def require(self, calibration: Calibration, name: Path | str) -> None:
        """UsageError if the model `name` lacks what only training can give it."""
        if self.threshold_from == "fpr":
            self.rule(calibration, name)

    def rule(self, calibration: Calibration, name: Path | str) -> Rule:
        """UsageError if the model `name` has not what it needs."""
        try:
            return calibration.rule(self.fpr, self.threshold_from, self.threshold)
        except ValueError as error:
            raise UsageError(f"{name}: {error}", "threshold_from") from error


def add_verdict_options(group) -> None:
    group.add_argument(
        "--fpr",
        type=checked(_rate),
        default=FPR,
        help="false-alarm rate: the share of good pictures that may be called defective",
    )
    group.add_argument(
        "--threshold_from",
        choices=ORIGINS,
        help="fpr: the threshold for --fpr, from the scores of good pictures; f1: the threshold of "
        "best F1 on the test pictures of the last validation (default: fpr, or f1 if the model has "
        "no scores of good pictures)",
    )


def wanted_from(options: argparse.Namespace) -> Wanted:
    return Wanted(options.fpr, options.threshold_from, getattr(options, "threshold", None))


def describe(rule: Rule) -> str:
    """The threshold and what it promises, in one line."""
    if rule.threshold is None:
        return "no threshold"
    text = f"threshold {rule.threshold:.6g}"
    if rule.origin == "given":
        return f"{text}, as given"
    if rule.origin == "f1":
        return f"{text}, of best F1 on the test pictures"
    normal, text = rule.normal, f"{text} for a false-alarm rate of {rule.fpr:g}"
    about = f"{normal.pictures} good pictures {normal.source}"
    if not rule.extrapolated:
        return f"{text}, from {about}"
    needed = math.ceil(1 / rule.fpr - 1e-9) - 1
    return (
        f"{text}, EXTRAPOLATED: {about} can promise a rate of {normal.smallest_fpr:.2g} at best; "
        f"{rule.fpr:g} needs {needed}"
    )


def _rate(text: str) -> float:
    if SMALLEST_FPR <= (found := number(text)) <= LARGEST_FPR:
        return found
    raise ValueError(f"expected a rate from {SMALLEST_FPR} to {LARGEST_FPR}, got {text!r}")
