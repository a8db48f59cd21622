"""The upper tail of a sample: a generalised Pareto distribution over its highest values.

Imports only the standard library.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

SHARE = 5  # the highest fifth of a sample is its tail,
FEWEST = 10  # but at least so many values,
MOST = 400  # and at most so many: of many scores, a model keeps only the highest without gaps
HEAVIEST = 0.5  # largest shape: beyond it, a variance does not exist


@dataclass(frozen=True)
class Tail:
    """P(X > x) = share · (1 + shape · (x − start)/scale)^(−1/shape) for x ≥ start.

    shape 0 is the exponential distribution. scale is 0 where the highest values are equal.
    """

    start: float
    share: float
    scale: float
    shape: float

    def exceeded(self, value: float) -> float:
        """The probability of a value above `value`; at most `share`."""
        beyond = max(value - self.start, 0.0)
        if self.scale == 0:
            return self.share if beyond == 0 else 0.0
        if self.shape == 0:
            return self.share * math.exp(-beyond / self.scale)
        return self.share * (1 + self.shape * beyond / self.scale) ** (-1 / self.shape)

    def quantile(self, rate: float) -> float:
        """The value that is exceeded with probability `rate`, which is at most `share`."""
        odds = self.share / rate
        if self.shape == 0:
            return self.start + self.scale * math.log(odds)
        return self.start + self.scale * (odds**self.shape - 1) / self.shape


def fit_tail(values: Sequence[float], total: int | None = None) -> Tail:
    """The tail of at least two finite `values`, ascending: the highest of a sample of `total`.

    By probability-weighted moments (Hosking and Wallis 1987, Technometrics 29, section 3.2), which
    are more reliable than maximum likelihood for few values. A shape below 0 (a distribution with a
    largest value) is taken as 0: few values do not show where the largest one is.

    The share is the probability that a further value of the sample exceeds `start`: (m + 1)/(n + 1)
    for m of n values above it.
    """
    total = len(values) if total is None else total
    m = min(len(values) - 1, max(FEWEST, min(total // SHARE, MOST)))
    start = values[-m - 1]
    beyond = [value - start for value in values[-m:]]
    mean = math.fsum(beyond) / m
    share = (m + 1) / (total + 1)
    weighted = math.fsum((1 - (j + 0.65) / m) * y for j, y in enumerate(beyond)) / m
    if mean <= 0 or (rest := mean - 2 * weighted) <= 0:
        return Tail(start, share, max(mean, 0.0), 0.0)
    shape = 2 - mean / rest
    if shape <= 0:
        return Tail(start, share, mean, 0.0)
    shape = min(shape, HEAVIEST)
    return Tail(start, share, mean * (1 - shape), shape)  # the mean is scale / (1 − shape)


def steady_tail(values: Sequence[float]) -> Tail:
    """The exponential tail of at least two finite `values`, ascending, without its highest ones.

    The upper half of the tail enters only by its number (type II censoring; Epstein and Sobel 1953,
    JASA 48): values that do not belong to the sample do not move the tail with which they are
    compared.
    """
    n = len(values)
    m = min(n - 1, max(FEWEST, n // SHARE))
    start, hidden = values[n - m - 1], m // 2
    seen = [value - start for value in values[n - m : n - hidden]]
    scale = (math.fsum(seen) + hidden * seen[-1]) / len(seen)
    return Tail(start, (m + 1) / (n + 1), scale, 0.0)
