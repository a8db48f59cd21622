"""Colours and regions: equal to the old formula for PaDiM, and free of the image score's unit."""

import numpy as np
import pytest

from common.calibration import BestF1, Calibration, Rule
from evaluation.scale import scale_for

SIZE = (32, 48)


def calibrated(image=5.0, peak=5.0, pixel=4.0, normal=1.0):
    return scale_for(rule(image, peak, pixel, normal), unit=9.0)


def rule(image, peak, pixel, normal, threshold=None):
    best = BestF1(image, peak, pixel, normal, "test")
    return Calibration(best_f1=best).rule(threshold=threshold)


def old_region(score, anomaly_map, threshold, pixel_threshold):
    """The region when a threshold of images served for pixels too."""
    if score < threshold:
        return np.zeros(anomaly_map.shape, bool)
    worst = float(anomaly_map.max())
    return anomaly_map >= min(pixel_threshold, (threshold + worst) / 2, worst)


def test_where_the_image_score_is_the_maps_maximum_nothing_changes():
    """As in PaDiM, where both thresholds are the same number."""
    rng = np.random.default_rng(0)
    defective = 0
    for _ in range(300):
        threshold, pixel_threshold, normal = rng.uniform(1, 30, 3).astype(np.float32).tolist()
        scale = calibrated(threshold, threshold, pixel_threshold, normal)
        low = min(normal, threshold / 2)
        assert (scale.low, scale.high) == (low, 2 * threshold - low)
        anomaly_map = rng.gamma(2, 5, SIZE).astype(np.float32)
        anomaly_map *= rng.uniform(0.5, 1.5) * threshold / anomaly_map.max()
        for worst in (float(anomaly_map.max()), threshold):  # above, below, and at the threshold
            anomaly_map[0, 0] = worst
            score = float(anomaly_map.max())
            region = scale.region(score, anomaly_map)
            assert np.array_equal(
                region, old_region(score, anomaly_map, threshold, pixel_threshold)
            )
            defective += region.any()
    assert 100 < defective < 500


def test_a_good_picture_has_no_region_and_a_defective_one_always_has():
    anomaly_map = np.ones(SIZE, np.float32)
    anomaly_map[4, 5] = 6
    for pixel_threshold in (3.0, 5.5, 40.0):
        scale = calibrated(pixel=pixel_threshold)
        assert scale.region(6.0, anomaly_map).sum() == 1
        assert scale.region(4.0, anomaly_map).sum() == 0


@pytest.mark.parametrize("unit", [0.001, 1, 1000])
def test_the_unit_of_the_image_score_changes_no_region(unit):
    anomaly_map = np.linspace(0, 8, 64, dtype=np.float32).reshape(8, 8)
    scale = calibrated(image=5.0 * unit)
    assert np.array_equal(scale.region(6.0 * unit, anomaly_map), anomaly_map >= 4.0)
    assert not scale.region(4.9 * unit, anomaly_map).any()


def test_a_defective_picture_whose_map_is_faint_has_the_worst_half_of_it_as_region():
    """Nothing reaches the threshold of the maximum, but the image score judges it defective."""
    anomaly_map = np.linspace(0, 3, 64, dtype=np.float32).reshape(8, 8)
    region = calibrated(image=70.0).region(99.0, anomaly_map)
    assert np.array_equal(region, anomaly_map >= (1.0 + 3.0) / 2)


@pytest.mark.parametrize("worst", [0.5, 2.0, 10.0])
def test_without_a_calibration_a_threshold_judges_pictures_only(worst):
    scale = scale_for(Calibration().rule(threshold=700.0), unit=2.0)
    assert (scale.low, scale.high, scale.peak) == (1.0, 6.0, None)
    anomaly_map = np.linspace(0, worst, 64, dtype=np.float32).reshape(8, 8)
    assert not scale.region(699.0, anomaly_map).any()
    region = scale.region(700.0, anomaly_map)
    assert np.array_equal(region, anomaly_map >= min((2.0 + worst) / 2, worst))
    assert region.any()


def test_a_given_threshold_replaces_that_of_images_alone():
    known = 5.0, 6.0, 4.0, 1.0
    ours, given = (scale_for(rule(*known, threshold=t), 9.0) for t in (None, 50.0))
    assert (ours.threshold, given.threshold) == (5.0, 50.0)
    assert (given.low, given.high, given.usual) == (ours.low, ours.high, ours.usual)
    assert (given.peak, given.pixel_threshold) == (6.0, 4.0)


def test_without_any_threshold_there_is_no_region():
    assert not scale_for(Rule(), 2.0).region(1e9, np.ones(SIZE, np.float32)).any()


def test_the_region_does_not_jump_as_a_defect_grows_stronger():
    shape = np.linspace(0, 1, 64, dtype=np.float32)[None].repeat(64, 0)
    scale = calibrated(11.5, 11.5, 40.0, 5.0)
    sizes = [scale.region(worst, shape * worst).sum() for worst in np.arange(11.5, 80.0, 0.5)]
    assert min(sizes) > 0
    assert max(abs(np.diff(sizes))) <= 3 * 64  # of 64 columns: no more than a few at a time


def test_the_threshold_of_the_maximum_is_the_middle_of_the_colours():
    scale = calibrated(image=70.0)
    assert (scale.low + scale.high) / 2 == scale.peak == 5.0
