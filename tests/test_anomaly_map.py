import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from models.anomaly_map import AnomalyMap, image_scores


def upsampled_then_smoothed(scores, size, sigma):
    import paddle.nn.functional as F  # noqa: N812
    from paddle import to_tensor

    up = F.interpolate(to_tensor(scores[:, None]), size=size, mode="bilinear").numpy()[:, 0]
    return np.stack([gaussian_filter(one, sigma) for one in up])


@pytest.mark.parametrize(
    ("grid", "size"), [((14, 14), (56, 56)), ((7, 12), (60, 91)), ((1, 5), (32, 32))]
)
def test_one_product_equals_bilinear_upsampling_and_gaussian_smoothing(grid, size):
    scores = np.random.default_rng(0).random((3, *grid)).astype(np.float32) * 20
    maps = AnomalyMap(grid, size, 4.0)(scores)
    assert maps.shape == (3, *size)
    assert maps.dtype == np.float32
    np.testing.assert_allclose(maps, upsampled_then_smoothed(scores, size, 4.0), rtol=2e-5)


def test_even_scores_stay_even():
    maps = AnomalyMap((5, 5), (40, 40))(np.full((1, 5, 5), 3.0, np.float32))
    np.testing.assert_allclose(maps, 3.0, rtol=1e-6)


def test_the_image_score_is_the_maps_maximum():
    maps = np.zeros((2, 4, 4), np.float32)
    maps[0, 1, 2], maps[1] = 5, -1
    assert image_scores(maps).tolist() == [5, -1]
