"""The fitted tail of a sample, on samples whose tail is known."""

import math

import numpy as np
import pytest

from common.calibration import NormalScores
from common.tail import HEAVIEST, fit_tail, steady_tail

RATE = 0.001  # beyond what 200 values promise


def samples(shape: float, count=300, n=200, seed=0) -> np.ndarray:
    """Sorted samples [count,n] of a generalised Pareto distribution; shape 0: exponential."""
    u = np.random.default_rng(seed).random((count, n))
    x = -np.log(u) if shape == 0 else (u**-shape - 1) / shape
    return np.sort(10 + x, axis=1)


def exceeded(shape: float, value: float) -> float:
    """The true rate of values above `value`."""
    return math.exp(10 - value) if shape == 0 else (1 + shape * (value - 10)) ** (-1 / shape)


@pytest.mark.parametrize("shape", [0, 0.1, 0.25])
def test_a_fitted_tail_keeps_a_small_rate_on_average(shape):
    rates = [exceeded(shape, fit_tail(x.tolist()).quantile(RATE)) for x in samples(shape)]
    assert RATE / 2 < np.median(rates) < 2 * RATE
    assert np.mean(rates) < 4 * RATE


def test_a_tail_with_an_end_is_taken_as_one_without_and_promises_too_much_only():
    rates = []
    for x in np.sort(np.random.default_rng(1).random((200, 200)), axis=1):
        rates.append(max(0.0, 1 - fit_tail(x.tolist()).quantile(RATE)))
    assert np.mean(rates) < RATE


@pytest.mark.parametrize("values", [[1.0, 2.0], [1.0, 1.0], [0.0] * 30, list(range(50)), [1e-9, 9]])
def test_quantile_and_rate_are_inverse_and_monotone(values):
    tail = fit_tail(sorted(map(float, values)))
    quantiles = [tail.quantile(rate) for rate in (tail.share, 1e-2, 1e-4, 1e-9)]
    assert quantiles == sorted(quantiles) and all(map(math.isfinite, quantiles))
    if tail.scale > 0:
        for rate in (tail.share, tail.share / 7, 1e-6):
            assert tail.exceeded(tail.quantile(rate)) == pytest.approx(rate)
    assert tail.exceeded(tail.start - 1) == tail.share
    assert 0 <= tail.shape <= HEAVIEST


def test_equal_values_have_a_tail_without_width():
    tail = fit_tail([3.0] * 20)
    assert (tail.scale, tail.quantile(1e-6)) == (0, 3.0)
    assert (tail.exceeded(3.0), tail.exceeded(3.1)) == (tail.share, 0)


def test_the_extrapolated_threshold_is_the_tails_quantile():
    x = samples(0, 1)[0].tolist()
    found = NormalScores.of(x).threshold(RATE)
    assert found.extrapolated
    assert found.value == pytest.approx(max(fit_tail(x).quantile(RATE), max(x)))


def test_a_steady_tail_is_not_moved_by_values_that_do_not_belong():
    moved = []
    for x in samples(0, 100):
        tail, spoilt = steady_tail(x.tolist()), x.copy()
        spoilt[-5:] += 1000
        assert steady_tail(spoilt.tolist()) == tail
        moved.append(fit_tail(spoilt.tolist()).scale / fit_tail(x.tolist()).scale)
    assert min(moved) > 3  # the other fit would have been


def test_a_steady_tail_has_the_scale_of_the_sample():
    tails = [steady_tail(x.tolist()) for x in samples(0)]
    assert np.mean([tail.scale for tail in tails]) == pytest.approx(1, rel=0.05)
    beyond = [sum(tail.exceeded(v) < 1 / 200 for v in x) for tail, x in zip(tails, samples(0))]  # noqa: B905
    assert 0.7 < np.mean(beyond) < 1.8  # about one of a sample is beyond 1/n


@pytest.mark.parametrize("n", [2, 3, 10, 11, 12])
def test_few_values_have_a_steady_tail(n):
    x = samples(0, 1, n)[0].tolist()
    tail = steady_tail(x)
    assert tail.start == x[0] if n <= 11 else tail.start == x[1]
    assert tail.scale > 0 and 0 < tail.share <= 1
