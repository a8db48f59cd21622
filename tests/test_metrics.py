import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, label
from sklearn import metrics as sklearn

from evaluation.metrics import aupro, rank


@pytest.fixture(params=["smooth", "ties"])
def pixels(request):
    """Masks and maps of six pictures, two without a defect; `ties` has few distinct scores."""
    rng = np.random.default_rng(3)
    masks = np.zeros((6, 40, 50), bool)
    for i in range(4):
        for _ in range(i + 1):
            y, x = rng.integers(0, 30, 2)
            masks[i, y : y + rng.integers(2, 9), x : x + rng.integers(2, 15)] = True
    noise = gaussian_filter(rng.standard_normal(masks.shape), (0, 2, 2)) * 3
    maps = (noise + masks + 5).astype(np.float32)
    return masks, np.round(maps, 1) if request.param == "ties" else maps


def slow_aupro(masks, maps, limit=0.3):
    """Straight from the definition: every threshold, every region, one after the other."""
    regions = []
    for i, mask in enumerate(masks):
        labelled, count = label(mask, structure=np.ones((3, 3)))
        regions += [(i, labelled == k) for k in range(1, count + 1)]
    points = [(0.0, 0.0)]
    for threshold in np.unique(maps)[::-1]:
        called = maps >= threshold
        fpr = called[~masks].mean()
        points.append((fpr, np.mean([called[i][region].mean() for i, region in regions])))
    area = 0.0
    for (x0, y0), (x1, y1) in zip(points, points[1:], strict=False):
        if x0 >= limit:
            break
        if x1 > limit:
            y1 = y0 + (y1 - y0) * (limit - x0) / (x1 - x0)
            x1 = limit
        area += (x1 - x0) * (y0 + y1) / 2
    return area / limit


def test_figures_equal_scikit_learns(pixels):
    masks, maps = (array.ravel() for array in pixels)
    ranking = rank(masks, maps)
    assert ranking.auroc == pytest.approx(sklearn.roc_auc_score(masks, maps), abs=1e-9)
    expected = sklearn.average_precision_score(masks, maps)
    assert ranking.average_precision == pytest.approx(expected, abs=1e-9)
    precision, recall, _ = sklearn.precision_recall_curve(masks, maps)
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
    assert ranking.f1_max[0] == pytest.approx(f1.max(), abs=1e-9)


def test_the_threshold_gives_the_best_f1(pixels):
    masks, maps = (array.ravel() for array in pixels)
    f1, threshold = rank(masks, maps).f1_max
    assert sklearn.f1_score(masks, maps >= threshold) == pytest.approx(f1, abs=1e-9)


def test_the_threshold_lies_between_two_scores():
    ranking = rank(np.array([False, False, True, True]), np.array([1.0, 2.0, 4.0, 5.0]))
    assert ranking.f1_max == (1.0, 3.0)


def test_the_threshold_below_which_nothing_is_left_is_just_below_the_last_score():
    f1, threshold = rank(np.array([True, False]), np.array([1.0, 2.0])).f1_max
    assert f1 == pytest.approx(2 / 3)
    assert 0.999 < threshold < 1.0


def test_aupro_equals_the_definition(pixels):
    masks, maps = pixels
    fast = aupro(masks, maps, rank(masks.ravel(), maps.ravel()))
    assert fast == pytest.approx(slow_aupro(masks, maps), abs=1e-9)


def test_aupro_of_a_perfect_map_is_one():
    masks = np.zeros((1, 20, 20), bool)
    masks[0, 3:6, 4:8] = True
    maps = masks.astype(np.float32)
    assert aupro(masks, maps, rank(masks.ravel(), maps.ravel())) == pytest.approx(1)


def test_regions_touching_at_a_corner_are_one():
    masks = np.zeros((1, 8, 8), bool)
    masks[0, 1, 1] = masks[0, 2, 2] = masks[0, 2, 3] = True
    maps = np.zeros((1, 8, 8), np.float32)
    maps[0, 1, 1] = 1
    # One region of three pixels, one of them found at no false positive; two regions of one
    # and two pixels would give 1/2 in place of 1/3 at that point.
    found = aupro(masks, maps, rank(masks.ravel(), maps.ravel()))
    assert found == pytest.approx(1 / 3 + (2 / 3) * 0.3 / 2)


@pytest.mark.parametrize("defective", [True, False])
def test_one_class_alone_has_no_ranking(defective):
    assert rank(np.full(5, defective), np.arange(5.0)) is None
