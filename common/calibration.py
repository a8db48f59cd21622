"""What a model knows of scores: those of good pictures, and the thresholds of test pictures.

From the scores of good pictures follow a threshold for any false-alarm rate, and p-values. Imports
only the standard library.
"""

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

from common.tail import Tail, fit_tail

LONGEST = 1000  # characters of `source`
MOST_SCORES = 1000  # that a model keeps; the highest half of them without gaps
SMALLEST_FPR, LARGEST_FPR = 1e-9, 0.5
FPR = 0.01  # default false-alarm rate
LEFT_OUT, HELD_OUT = "left out one by one", "held out"
LOW = math.log(19)  # the normalised score of the median good picture is 1/20


@dataclass(frozen=True)
class Threshold:
    """A score from which something is defective. `extrapolated`: too few good pictures promise its
    false-alarm rate, so that it comes from a fitted tail."""

    value: float
    extrapolated: bool


@dataclass(frozen=True)
class NormalScores:
    """Scores of n good pictures, one each: `image` scores or map maxima.

    values : all scores in the order of the pictures, if n ≤ MOST_SCORES; else those of `ranks(n)`,
        ascending
    pictures : n
    """

    values: tuple[float, ...]
    pictures: int

    def __post_init__(self):
        if self.pictures < 2 or len(self.values) != len(ranks(self.pictures)):
            raise ValueError(f"{len(self.values)} scores of {self.pictures} pictures")
        if not all(map(math.isfinite, self.values)):
            raise ValueError("scores of good pictures: expected finite numbers")
        if self.pictures > MOST_SCORES and list(self.values) != sorted(self.values):
            raise ValueError("scores of good pictures: expected ascending numbers")

    @classmethod
    def of(cls, scores: Sequence[float]) -> "NormalScores":
        """From the scores of all good pictures, in their order."""
        n = len(scores)
        if n > MOST_SCORES:
            ordered = sorted(scores)
            return cls(tuple(ordered[rank] for rank in ranks(n)), n)
        return cls(tuple(scores), n)

    @cached_property
    def ascending(self) -> list[float]:
        return sorted(self.values)

    @cached_property
    def tail(self) -> Tail:
        return fit_tail(self.ascending, self.pictures)

    def quantile(self, share: float) -> float:
        """The score that about `share` of the pictures do not exceed."""
        rank = min(int(share * self.pictures), self.pictures - 1)
        return self.ascending[bisect_left(ranks(self.pictures), rank)]

    def p_value(self, score: float) -> float:
        """(1 + number of good pictures with at least this score) / (n + 1).

        The probability, at most, that a good picture has such a score or a higher one (Vovk et al.
        2005, Bates et al. 2023). Where not all scores are kept, the number is an upper bound.
        """
        below = bisect_left(self.ascending, score)
        lower = ranks(self.pictures)[below - 1] + 1 if below else 0
        return (1 + self.pictures - lower) / (self.pictures + 1)

    def threshold(self, fpr: float) -> Threshold:
        """The score that good pictures reach with a probability of at most `fpr`.

        It is slightly above the ⌈(1 − fpr)(n + 1)⌉-th smallest score, so that a picture is
        defective exactly where its p-value is at most `fpr`. If there is no such score, it comes
        from the tail, and is above all scores.
        """
        n, ordered = self.pictures, self.ascending
        rank = math.ceil((1 - fpr) * (n + 1) - 1e-9)  # 1 − fpr is rounded
        if rank <= n:
            kept = bisect_left(ranks(n), rank - 1)
            return Threshold(_above(ordered[kept]), False)
        return Threshold(max(self.tail.quantile(fpr), _above(ordered[-1])), True)


@dataclass(frozen=True)
class Normal:
    """Scores of good pictures that the model did not learn from, or as if it had not.

    image, peak : image scores, and maxima of the anomaly maps (where maps take long, of fewer
        pictures: those of `spread`)
    usual : a usual score of a good pixel
    source : LEFT_OUT for training pictures, HELD_OUT for others
    pictures_sha256 : of the names of the pictures in their order; models with the same one can be
        compared picture by picture
    """

    image: NormalScores
    peak: NormalScores
    usual: float
    source: str
    pictures_sha256: str

    def __post_init__(self):
        _finite(self, "usual")
        if self.source not in (LEFT_OUT, HELD_OUT):
            raise ValueError(f"source {self.source[:80]!r}: expected {LEFT_OUT!r} or {HELD_OUT!r}")
        if self.image.pictures < self.peak.pictures:
            raise ValueError("more peak scores than image scores")
        if len(self.pictures_sha256) != 64:
            raise ValueError("pictures_sha256: expected a SHA-256")

    @property
    def pictures(self) -> int:
        return self.image.pictures

    @property
    def smallest_fpr(self) -> float:
        """The smallest false-alarm rate that so many good pictures can promise."""
        return 1 / (self.pictures + 1)


@dataclass(frozen=True)
class BestF1:
    """Thresholds of best F1 on labelled test pictures. Image and pixel scores may have different
    units.

    image : image score from which a picture is defective
    peak : maximum of an anomaly map from which a picture is defective
    pixel : score from which a pixel is defective
    usual : a usual score of a good pixel
    source : description of the test set
    """

    image: float
    peak: float
    pixel: float
    usual: float
    source: str

    def __post_init__(self):
        _finite(self, "image", "peak", "pixel", "usual")
        if len(self.source) > LONGEST:
            raise ValueError(f"source: more than {LONGEST} characters")


@dataclass(frozen=True)
class Rule:
    """From which score on something is defective. None: unknown.

    threshold : image score from which a picture is defective
    peak : maximum of an anomaly map from which a picture is defective
    pixel : score from which a pixel is defective
    usual : a usual score of a good pixel
    origin : `fpr`, `f1`, `given` (by the user), or None without a threshold
    fpr : the false-alarm rate of `threshold`, if it is from one; `extrapolated` as in Threshold
    normal : scores of good pictures, for p-values and normalised scores
    """

    threshold: float | None = None
    peak: float | None = None
    pixel: float | None = None
    usual: float | None = None
    origin: str | None = None
    fpr: float | None = None
    extrapolated: bool = False
    normal: Normal | None = field(default=None, repr=False)

    def p_value(self, score: float) -> float | None:
        """Of an image score; None if the model has no scores of good pictures."""
        return None if self.normal is None else self.normal.image.p_value(score)

    def normalised(self, score: float) -> float | None:
        """An image score as a number from 0 to 1: 0.5 at the threshold, increasing.

        1/(1 + 19^(−(score − threshold)/width)), where `width` is the distance from the median of
        good pictures to the threshold (0.05 at this median), or to their 90 % quantile if that is
        more. None without a threshold or scores of good pictures.
        """
        if self.threshold is None or self.normal is None:
            return None
        return (1 + math.tanh(LOW * self.position(score) / 2)) / 2

    def position(self, score):
        """(score − threshold)/width, as in `normalised`, of an image score or an array of them."""
        return (score - self.threshold) / self._width

    @cached_property
    def _width(self) -> float:
        scores = self.normal.image
        median, high = scores.quantile(0.5), scores.quantile(0.9)
        width = max(self.threshold, high) - median
        return width if width > 0 else max(abs(self.threshold), 1.0) * 1e-6


@dataclass(frozen=True)
class Calibration:
    """What a model knows of scores; each part may be missing."""

    normal: Normal | None = None
    best_f1: BestF1 | None = None

    def rule(
        self, fpr: float = FPR, origin: str | None = None, threshold: float | None = None
    ) -> Rule:
        """The rule for verdicts.

        origin : `fpr`: a threshold for the false-alarm rate `fpr`; `f1`: of best F1; None: what the
            model has, `fpr` first
        threshold : replaces the image threshold, and nothing else

        ValueError if the model has not what `origin` needs, or `fpr` is out of range.
        """
        if not SMALLEST_FPR <= fpr <= LARGEST_FPR:
            raise ValueError(f"fpr {fpr}: expected a number from {SMALLEST_FPR} to {LARGEST_FPR}")
        if origin not in (None, "fpr", "f1"):
            raise ValueError(f"threshold_from {origin!r}: expected fpr or f1")
        has = {"fpr": self.normal, "f1": self.best_f1}
        if origin is None:
            origin = next((name for name, found in has.items() if found is not None), None)
        elif has[origin] is None:
            lacks = "scores of good pictures" if origin == "fpr" else "thresholds of best F1"
            raise ValueError(f"the model has no {lacks}")
        found = self._rule(origin, fpr)
        if threshold is None:
            return found
        return Rule(threshold, found.peak, found.pixel, found.usual, "given", normal=self.normal)

    def _rule(self, origin: str | None, fpr: float) -> Rule:
        if origin == "fpr":
            image, peak = self.normal.image.threshold(fpr), self.normal.peak.threshold(fpr)
            # A good picture should show no defective pixel: both are thresholds of the maximum.
            values = image.value, peak.value, peak.value, self.normal.usual
            return Rule(*values, origin, fpr, image.extrapolated, self.normal)
        if origin == "f1":
            best = self.best_f1
            return Rule(best.image, best.peak, best.pixel, best.usual, origin, normal=self.normal)
        return Rule()


def spread(n: int, few: int) -> list[int]:
    """`few` of the indices 0 to n − 1, evenly spread: those of the pictures with peak scores, where
    there are fewer of them than image scores."""
    return list(range(n)) if few >= n else [i * (n - 1) // max(few - 1, 1) for i in range(few)]


def ranks(n: int) -> Sequence[int]:
    """The ranks, from 0, of the scores that are kept of n: all, or MOST_SCORES of them.

    The highest half is complete, because thresholds are there; the rest is evenly spread.
    """
    if n <= MOST_SCORES:
        return range(n)
    top = MOST_SCORES // 2
    below = MOST_SCORES - top
    spread = [i * (n - top - 1) // (below - 1) for i in range(below)]
    return spread + list(range(n - top, n))


def _above(value: float) -> float:
    """The next larger number of float32, the type of scores.

    Exactly: a score that is next to `value` is defective, and a threshold that NumPy rounds to
    float32 stays above `value`.
    """
    if value <= 0:
        return value + max(abs(value) * 2**-23, 2**-149)
    return value + max(math.ldexp(1.0, math.frexp(value)[1] - 24), 2**-149)


def _finite(found, *names: str) -> None:
    for name in names:
        if not math.isfinite(value := getattr(found, name)):
            raise ValueError(f"{name} {value}: expected a finite number")
