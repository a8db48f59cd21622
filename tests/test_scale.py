"""Colours and regions, and that the image score's unit does not matter to them."""

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


def cone(height, place=(32, 32), slope=1.0, size=(64, 96)) -> np.ndarray:
    """A map that falls from `height` by `slope` per pixel, to 1."""
    rows, columns = np.mgrid[: size[0], : size[1]]
    distance = np.hypot(rows - place[0], columns - place[1])
    return np.maximum(height - slope * distance, 1).astype(np.float32)


def test_a_region_ends_half_way_from_the_usual_score_to_the_highest():
    scale = calibrated(peak=5.0, pixel=5.0)
    strong = cone(21)
    assert np.array_equal(scale.region(9.0, strong), strong >= 11)
    faint = cone(4)
    assert np.array_equal(scale.region(9.0, faint), faint >= 2.5)


def test_a_strong_defect_does_not_hide_a_weaker_one():
    both = np.maximum(cone(31), cone(9, (32, 80)))
    region = calibrated(pixel=5.0).region(9.0, both)
    assert np.array_equal(region[:, :62], cone(31)[:, :62] >= 16)
    assert np.array_equal(region[:, 72:], cone(9, (32, 80))[:, 72:] >= 5)
    assert not region[:, 62:72].any()


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
    assert np.array_equal(scale.region(6.0 * unit, anomaly_map), anomaly_map >= (1 + 8) / 2)
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
