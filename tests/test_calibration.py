"""Scores of good pictures: p-values, thresholds for a false-alarm rate, normalised scores."""

import math
from dataclasses import replace

import numpy as np
import pytest

from common.calibration import (
    HELD_OUT,
    LEFT_OUT,
    BestF1,
    Calibration,
    Normal,
    NormalScores,
    ranks,
)
from models.record import decode, encode
from tests.test_checkpoint import RECORD

RATES = (0.5, 0.3, 0.1, 0.05, 0.03, 0.01, 0.005, 0.001, 1e-6)
SIZES = pytest.mark.parametrize("n", [2, 3, 19, 20, 99, 100, 209, 1000, 1001, 1500, 3000])
BEST = BestF1(image=5.0, peak=6.0, pixel=4.0, usual=1.0, source="a test")


def drawn(n: int, ties: bool = False, seed: int = 0) -> list[float]:
    """Scores in float32, as those of a detector; with `ties`, many are equal."""
    scores = np.random.default_rng(seed).gamma(9, 1.5, n).astype(np.float32)
    return (np.ceil(scores) if ties else scores).tolist()


def probes(scores: list[float]) -> list[float]:
    """The scores, and the float32 numbers next to each of them."""
    values = np.array(scores, np.float32)
    near = [np.nextafter(values, np.float32(end)) for end in (-np.inf, np.inf)]
    return np.unique(np.concatenate([values, *near, [0, 2 * values.max()]])).tolist()


def normal(n=120, image=None, peak=None) -> Normal:
    image = drawn(n) if image is None else image
    peak = drawn(len(image), seed=1) if peak is None else peak
    scores = NormalScores.of(image), NormalScores.of(peak)
    return Normal(*scores, usual=3.0, source=LEFT_OUT, pictures_sha256="a" * 64)


@SIZES
@pytest.mark.parametrize("ties", [False, True])
def test_a_p_value_counts_the_good_pictures_with_at_least_the_score(n, ties):
    scores = drawn(n, ties)
    found, values = NormalScores.of(scores), np.array(scores)
    for score in probes(scores)[::7]:
        exact = (1 + int((values >= score).sum())) / (n + 1)
        if n <= 1000:
            assert found.p_value(score) == exact
        else:  # where a score between two kept ones is not known, the p-value is the larger one
            assert exact <= found.p_value(score) <= exact + 8 / (n + 1)
            if exact <= 500 / (n + 1):
                assert found.p_value(score) == exact


@SIZES
@pytest.mark.parametrize("ties", [False, True])
def test_a_picture_is_defective_exactly_where_its_p_value_is_at_most_the_rate(n, ties):
    scores = drawn(n, ties, seed=n)
    found = NormalScores.of(scores)
    for fpr in (*RATES, 1 / (n + 1), 7 / (n + 1)):
        threshold = found.threshold(min(fpr, 0.5))
        if threshold.extrapolated:
            continue
        for score in probes(scores)[:: max(1, n // 100)]:
            below = found.p_value(score) <= min(fpr, 0.5) + 1e-12
            assert (score >= threshold.value) == below, (fpr, score)


@SIZES
def test_a_rate_that_so_few_pictures_cannot_promise_is_extrapolated(n):
    scores = drawn(n)
    found = NormalScores.of(scores)
    for fpr in (*RATES, 1 / (n + 1), 0.999 / (n + 1)):
        threshold = found.threshold(fpr)
        assert threshold.extrapolated == (fpr < 1 / (n + 1))
        if threshold.extrapolated:
            assert threshold.value > max(scores) and math.isfinite(threshold.value)
    assert normal(n).smallest_fpr == 1 / (n + 1)


@SIZES
@pytest.mark.parametrize("ties", [False, True])
def test_the_threshold_never_falls_with_the_rate(n, ties):
    found = NormalScores.of(drawn(n, ties))
    rates = np.geomspace(1e-9, 0.5, 200)
    thresholds = [found.threshold(float(rate)).value for rate in rates[::-1]]
    assert thresholds == sorted(thresholds)


@pytest.mark.parametrize("n", [1001, 1500, 3000, 20_000])
def test_of_many_scores_those_kept_give_no_lower_threshold(n):
    scores = drawn(n, seed=3)
    found, ordered = NormalScores.of(scores), sorted(scores)
    assert len(found.values) == len(set(ranks(n))) == 1000
    assert found.values[-500:] == tuple(ordered[-500:])
    assert (found.values[0], found.pictures) == (ordered[0], n)
    for fpr in (0.5, 0.4, 0.2, 0.1, 0.05, 0.01, 0.001):
        exact = ordered[math.ceil((1 - fpr) * (n + 1) - 1e-9) - 1]
        assert found.threshold(fpr).value > exact
        if fpr * n <= 499:
            assert found.threshold(fpr).value == np.nextafter(np.float32(exact), np.float32(np.inf))


def test_the_tail_of_kept_scores_is_that_of_all():
    """The kept scores have gaps below the highest 500, which must not enter the tail."""
    scores = sorted(drawn(5000, seed=4))
    kept = NormalScores.of(scores).tail
    above = sum(score > kept.start for score in scores)
    assert kept.share == pytest.approx((above + 1) / 5001)


def test_a_threshold_in_float32_is_above_the_good_picture_that_it_follows():
    """NumPy compares a map of float32 with the threshold rounded to float32."""
    for value in np.random.default_rng(0).gamma(2, 5, 300).astype(np.float32):
        threshold = NormalScores.of([0.0, float(value)]).threshold(1 / 3).value
        assert not (np.full(1, value) >= threshold).any()
        assert np.float32(threshold) == np.nextafter(value, np.float32(np.inf))


@pytest.mark.parametrize("n", [2, 7, 120, 2500])
def test_normalised_scores_rise_from_0_to_1_and_are_a_half_at_the_threshold(n):
    rule = Calibration(normal(n)).rule(0.05)
    scores = np.linspace(-50, 200, 500).tolist()
    found = [rule.normalised(score) for score in scores]
    assert found == sorted(found) and 0 <= found[0] < 0.01 < 0.99 < found[-1] <= 1
    assert rule.normalised(rule.threshold) == 0.5
    assert rule.normalised(rule.normal.image.quantile(0.5)) == pytest.approx(0.05)
    assert [(value >= 0.5) for value in found] == [(s >= rule.threshold) for s in scores]


def test_the_median_is_that_of_the_pictures():
    assert NormalScores.of([5.0, 1.0, 4.0, 2.0, 3.0]).quantile(0.5) == 3
    many = drawn(4001, seed=5)
    assert NormalScores.of(many).quantile(0.5) == pytest.approx(np.median(many), rel=0.02)


@pytest.mark.parametrize("threshold", [None, 0.001, 1e6])
def test_equal_scores_of_good_pictures_leave_normalised_scores_finite(threshold):
    rule = Calibration(normal(image=[2.0] * 30, peak=[2.0] * 30)).rule(0.1, threshold=threshold)
    found = [rule.normalised(score) for score in (0.0, 2.0, 2.1, 1e9)]
    assert found == sorted(found) and all(0 <= value <= 1 for value in found)
    assert rule.normalised(rule.threshold) == 0.5


def test_the_peak_threshold_serves_for_pixels_so_that_a_good_picture_shows_none():
    known = normal(200)
    rule = Calibration(known, BEST).rule(0.05)
    assert (rule.origin, rule.fpr, rule.extrapolated) == ("fpr", 0.05, False)
    assert rule.peak == rule.pixel == known.peak.threshold(0.05).value
    assert rule.threshold == known.image.threshold(0.05).value
    assert (rule.usual, rule.normal) == (3.0, known)
    assert sum(peak >= rule.pixel for peak in known.peak.values) <= 0.05 * 201


def test_f1_and_a_given_threshold_keep_p_values():
    calibration = Calibration(normal(), BEST)
    f1, given = calibration.rule(origin="f1"), calibration.rule(0.02, threshold=7.5)
    assert (f1.threshold, f1.peak, f1.pixel, f1.usual, f1.origin) == (5.0, 6.0, 4.0, 1.0, "f1")
    assert (given.threshold, given.origin, given.fpr) == (7.5, "given", None)
    assert given.peak == calibration.rule(0.02).peak
    for rule in (f1, given):
        assert rule.p_value(1e9) == 1 / 121
        assert rule.normalised(rule.threshold) == 0.5


def test_a_part_that_is_missing_gives_none_or_an_error():
    nothing, only_f1 = Calibration(), Calibration(best_f1=BEST)
    assert nothing.rule().threshold is None
    assert nothing.rule(threshold=3.0).threshold == 3.0
    for rule in (nothing.rule(threshold=3.0), only_f1.rule()):
        assert rule.p_value(4.0) is None and rule.normalised(4.0) is None
    assert Calibration(normal()).rule().normalised(4.0) is not None
    assert only_f1.rule().origin == "f1"
    with pytest.raises(ValueError, match="has no scores of good pictures"):
        only_f1.rule(origin="fpr")
    with pytest.raises(ValueError, match="has no thresholds of best F1"):
        Calibration(normal()).rule(origin="f1")


@pytest.mark.parametrize("fpr", [0.0, -0.1, 0.51, 1.0, math.nan, math.inf, 1e-320])
def test_a_rate_out_of_range_is_refused(fpr):
    with pytest.raises(ValueError, match="expected a number from 1e-09 to 0.5"):
        Calibration(normal()).rule(fpr)


@pytest.mark.parametrize("n", [2, 209, 1700])
def test_what_a_model_keeps_comes_back_from_its_record(n):
    calibration = Calibration(normal(n), BEST)
    record = replace(RECORD, calibration=calibration, arrays_sha256="0" * 64)
    again = decode(encode(record, "a model", 1)).calibration
    assert again == calibration
    assert again.rule(0.01) == calibration.rule(0.01)


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda: NormalScores.of([1.0]), "1 scores of 1 pictures"),
        (lambda: NormalScores((1.0, 2.0), 3), "2 scores of 3 pictures"),
        (lambda: NormalScores.of([1.0, math.nan]), "expected finite"),
        (lambda: NormalScores.of([1.0, math.inf]), "expected finite"),
        (lambda: NormalScores(tuple(range(1000, 0, -1)), 1001), "expected ascending"),
        (lambda: replace(normal(), usual=math.nan), "usual nan"),
        (lambda: replace(normal(), source="elsewhere"), "source 'elsewhere'"),
        (lambda: replace(normal(), image=NormalScores.of([1.0, 2.0])), "more peak scores"),
        (lambda: replace(normal(), pictures_sha256="abc"), "expected a SHA-256"),
        (lambda: Calibration().rule(origin="best"), "expected fpr or f1"),
        (lambda: replace(BEST, peak=math.inf), "peak inf"),
    ],
)
def test_values_that_make_no_sense_are_refused(make, problem):
    with pytest.raises(ValueError, match=problem):
        make()


def test_held_out_pictures_are_another_source():
    assert replace(normal(), source=HELD_OUT).source != normal().source
