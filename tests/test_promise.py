"""The promised false-alarm rate: intervals, and what drawn good pictures show of it."""

import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.stats import betabinom

from common.calibration import Calibration, Normal, NormalScores
from common.preprocessing import Preprocessing
from datasets.samples import Sample
from evaluation.promise import Counts, Promise, count
from inspection.normal import left_out
from models.detector import Detector
from models.kept import KeptMaps
from models.methods import METHODS, PatchCoreSettings, SPADESettings
from models.record import Record
from tests.test_checkpoint import FEATURES

STAGES = ((4, (4, 4)), (6, (2, 2)))
QUICK = {"spade": SPADESettings(gallery=5)}  # 50 take ten times as long
SIDE, TRAIN, TEST, BATCH = 32, 300, 2000, 50


@pytest.mark.parametrize(
    ("called", "total", "low", "high"),
    [  # Newcombe 1998, Statistics in Medicine 17, table I, method 3
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilsons_interval_has_the_published_values(called, total, low, high):
    found = Counts(called, total)
    assert found.interval == pytest.approx((low, high), abs=5e-5)
    rest = Counts(total - called, total)
    assert rest.interval == pytest.approx((1 - high, 1 - low), abs=5e-5)


def test_all_of_ten_and_none_of_none():
    assert Counts(10, 10).interval == pytest.approx((0.7225, 1.0), abs=5e-5)
    assert (Counts(0, 0).rate, Counts(0, 0).interval) == (None, None)
    assert Counts(0, 0).text() == "no pictures"
    assert Counts(2, 20).text() == "2 of 20 (10.0 %, 95 % interval 2.8 to 30.1 %)"


def test_a_score_at_the_threshold_is_called_defective():
    scores = ((1.0, False), (2.0, False), (2.0, True), (3.0, True), (1.9, True))
    tested = [SimpleNamespace(score=score, defective=defective) for score, defective in scores]
    assert count(2.0, tested) == (Counts(1, 2), Counts(2, 3))
    scores = NormalScores.of([1.0, 2.0, 1.5])
    rule = Calibration(Normal(scores, scores, 1.0, "held out", "0" * 64)).rule(0.01)
    record = Promise.of(rule, tested).record()
    assert record["extrapolated"] and record["smallest_fpr"] == 0.25
    assert (record["false_alarms"], record["good"], record["found"], record["defective"]) == (
        *(0, 2, 0, 3),
    )
    assert Promise.of(Calibration().rule(threshold=2.0), tested) is None


def detector_of(method: str, settings=None) -> Detector:
    """A detector without a network: its maps are projections of the blocks of a picture."""
    rng = np.random.default_rng(1)
    mixing = [rng.standard_normal((c, 12)).astype(np.float32) / 4 for c, _ in STAGES]

    def features(images: np.ndarray) -> list[np.ndarray]:
        maps = []
        for matrix, (_, (h, w)) in zip(mixing, STAGES, strict=True):
            blocks = images.reshape(len(images), 3, h, SIDE // h, w, SIDE // w)
            parts = blocks.reshape(len(images), 3, h, 2, SIDE // h // 2, w, 2, SIDE // w // 2)
            means = parts.mean(axis=(4, 7)).transpose(0, 1, 3, 5, 2, 4).reshape(-1, 12, h, w)
            maps.append(np.einsum("cd,bdhw->bchw", matrix, means).astype(np.float32))
        return maps

    features.arrays = dict
    settings = (settings or QUICK.get(method, METHODS[method].settings())).resolved("resnet18", 2)
    described = replace(FEATURES, dims=10, stages=STAGES)
    preprocessing = Preprocessing(SIDE, (SIDE, SIDE))
    record = Record(method, settings, described, preprocessing, sigma=2.0)
    return Detector(features, METHODS[method].head_class()(settings, list(STAGES)), record)


def pictures(n: int, seed: int) -> list[np.ndarray]:
    """Batches of good pictures: noise of a strength that differs from picture to picture."""
    rng, batches = np.random.default_rng(seed), []
    for start in range(0, n, BATCH):
        b = min(BATCH, n - start)
        strength = rng.gamma(20, 1 / 20, (b, 1, 1, 1))
        batches.append((strength * rng.standard_normal((b, 3, SIDE, SIDE))).astype(np.float32))
    return batches


def calibrated(method: str, n: int, folder: Path, seed=2, most: int | None = None, settings=None):
    """A detector that learned from `n` pictures, and their scores, each left out."""
    detector, drawn = detector_of(method, settings), pictures(n, seed)
    samples = [Sample(Path(f"{i}.png")) for i in range(n)]
    with KeptMaps(folder, most) as kept:
        detector.fit(drawn, kept)
        rest = list(np.concatenate(drawn)[kept.pictures :])
        found = left_out(detector, kept, samples, Again(samples[kept.pictures :], rest))
    return detector, found


class Again:
    """A loader of pictures that are there already, seven at a time."""

    def __init__(self, samples, images):
        self.samples, self.images = samples, images

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def __iter__(self):
        for i in range(0, len(self.samples), 7):
            images = np.stack(self.images[i : i + 7])
            yield SimpleNamespace(samples=self.samples[i : i + 7], images=images)


def alarms(method: str, folder: Path, settings=None, fprs=(0.1, 0.05, 0.01)):
    """Of each rate: numbers of false alarms by image score and by the map's maximum among TEST new
    good pictures, each with its 95 % interval; then the mean p-value of these pictures. Maxima are
    left out where too few left-out maps promise the rate.

    The interval is that of the beta-binomial distribution: the share of good pictures beyond the
    k-th smallest of n scores has the distribution Beta(n + 1 − k, k), and the number among the test
    pictures is binomial with this share.
    """
    detector, found = calibrated(method, TRAIN, folder, seed=21, settings=settings)
    scores = [detector.score(batch) for batch in pictures(TEST, seed=31)]
    image = np.concatenate([part.image for part in scores])
    peak = np.concatenate([part.map.max(axis=(1, 2)) for part in scores])
    calibration = Calibration(found.normal())
    rows = []
    for fpr in fprs:
        rule = calibration.rule(fpr)
        assert not rule.extrapolated
        normal, of_rate = calibration.normal, []
        for kept, scores, threshold in (
            (normal.image, image, rule.threshold),
            (normal.peak, peak, rule.peak),
        ):
            n = kept.pictures
            k = math.ceil((1 - fpr) * (n + 1) - 1e-9)
            if k <= n:
                interval = betabinom(TEST, n + 1 - k, k).ppf([0.025, 0.975])
                of_rate.append((int((scores >= threshold).sum()), *interval))
        rows.append(of_rate)
    return rows, np.mean([rule.p_value(score) for score in image.tolist()])


@pytest.mark.parametrize(
    ("method", "settings"),
    [("padim", None), ("patchcore", PatchCoreSettings(coreset_ratio=1)), ("spade", None)],
)
def test_good_pictures_raise_as_many_false_alarms_as_promised(method, settings, tmp_path):
    """300 training and 2,000 test pictures; no label is used."""
    rows, p_value = alarms(method, tmp_path, settings)
    for of_rate in rows:
        assert all(low <= count <= high for count, low, high in of_rate)
    assert p_value == pytest.approx(0.5, abs=0.05)


def test_with_a_coreset_there_are_at_most_as_many(tmp_path):
    """The entries of a picture stand for patches of others too, which are missed when it is left
    out: its score is too high, so that fewer false alarms than promised come."""
    rows, p_value = alarms("patchcore", tmp_path)
    for of_rate in rows:
        assert all(0 < count <= high for count, _, high in of_rate)
    assert p_value > 0.48


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("most", [0, 500_000])
def test_what_is_not_kept_is_read_again_with_the_same_scores(method, most, tmp_path):
    everything = calibrated(method, 120, tmp_path)[1]
    again = calibrated(method, 120, tmp_path, most=most)[1]
    np.testing.assert_allclose(again.image, everything.image, rtol=1e-5)
    np.testing.assert_allclose(again.peak, everything.peak, rtol=1e-5)
    assert again.samples == everything.samples
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("method", METHODS)
def test_a_training_picture_left_out_is_as_unusual_as_a_new_one(method, tmp_path):
    """Scored as usual, the pictures of the model look better than new ones."""
    detector, found = calibrated(method, 60, tmp_path)
    new = np.concatenate([detector.score(batch).image for batch in pictures(400, seed=4)])
    own = np.concatenate([detector.score(batch).image for batch in pictures(60, seed=2)])
    assert np.median(found.image) == pytest.approx(np.median(new), rel=0.15)
    assert np.median(own) < 0.95 * np.median(new)
