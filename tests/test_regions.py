"""Regions and masks lie where the defect is in the original picture."""

import io

import numpy as np
import pytest
from PIL import Image

from common.preprocessing import Preprocessing
from datasets.transforms import Transform
from inspection.regions import original_mask

# (width, height) of the picture, resize, crop
GEOMETRIES = [
    ((96, 96), 64, (64, 64)),
    ((300, 200), 64, (64, 64)),
    ((200, 300), 64, (64, 64)),
    ((301, 203), 72, (64, 64)),
    ((640, 320), (64, 128), (64, 128)),
    ((500, 700), (96, 80), (64, 64)),
    ((40, 40), 128, (128, 128)),
    ((1000, 50), 64, (64, 64)),
]


def planted(size, preprocessing) -> tuple[np.ndarray, tuple[int, int, int, int]]:
    """A black picture with a white box in its crop, uint8 [H,W,3], and the box."""
    left, top, right, bottom = preprocessing.box(size)
    width, height = right - left, bottom - top
    box = [left + 0.55 * width, top + 0.2 * height, left + 0.85 * width, top + 0.45 * height]
    box = tuple(round(side) for side in box)
    picture = np.zeros((*size[::-1], 3), np.uint8)
    picture[box[1] : box[3], box[0] : box[2]] = 255
    return picture, box


def overlap(one, other) -> float:
    """Intersection over union of two boxes."""
    sides = [min(one[i + 2], other[i + 2]) - max(one[i], other[i]) for i in (0, 1)]
    both = max(0, sides[0]) * max(0, sides[1])
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return both / (sum(areas) - both)


@pytest.mark.parametrize(("size", "resize", "crop"), GEOMETRIES)
def test_the_region_is_the_planted_box(size, resize, crop):
    """The map is the brightness of the crop, as the network sees it."""
    preprocessing = Preprocessing(resize, crop)
    picture, box = planted(size, preprocessing)
    brightness = Transform(preprocessing).picture(picture)[:, :, 0].astype(np.float32)
    mask, regions = original_mask(brightness, 127.5, preprocessing.box(size), size)
    assert len(regions) == 1 and mask.shape == size[::-1] and mask.dtype == bool
    pixel = max(1, *(a / b for a, b in zip(size, preprocessing.resized(size), strict=True)))
    assert np.abs(np.subtract(regions[0].box, box)).max() <= pixel
    assert regions[0].area == mask.sum()
    left, top, right, bottom = regions[0].box
    assert mask[top:bottom, left:right].sum() == mask.sum()
    assert regions[0].peak == pytest.approx(255, abs=2)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("size", [(300, 200), (200, 300)])
def test_a_turned_picture_has_its_region_where_viewers_show_it(size, orientation):
    preprocessing = Preprocessing(64, (64, 64))
    picture, box = planted(size, preprocessing)  # upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    turned, file = Image.fromarray(inverse(picture, orientation)), io.BytesIO()
    turned.save(file, "PNG", exif=exif)
    shown, upright = Transform(preprocessing).sized_picture(file.getvalue())
    assert upright == size
    brightness = shown[:, :, 0].astype(np.float32)
    _, regions = original_mask(brightness, 127.5, preprocessing.box(upright), upright)
    assert overlap(regions[0].box, box) > 0.9


def inverse(picture: np.ndarray, orientation: int) -> np.ndarray:
    """The pixels that a file with this EXIF orientation stores of an upright picture."""
    if orientation in (5, 6, 7, 8):
        picture = picture.transpose(1, 0, 2)
    rows, columns = {
        **{1: (1, 1), 2: (1, -1), 3: (-1, -1), 4: (-1, 1)},
        **{5: (1, 1), 6: (-1, 1), 7: (-1, -1), 8: (1, -1)},
    }[orientation]
    return np.ascontiguousarray(picture[::rows, ::columns])


@pytest.mark.parametrize("edge", ["top", "left", "bottom", "right", "all"])
def test_a_region_at_the_border_of_the_crop_reaches_it(edge):
    scores = np.zeros((64, 64), np.float32)
    part = {"top": np.s_[:9], "left": np.s_[:, :9], "bottom": np.s_[-9:], "right": np.s_[:, -9:]}
    scores[part.get(edge, np.s_[:])] = 9
    size = (300, 200)
    crop = Preprocessing(64, (64, 64)).box(size)
    mask, (region,) = original_mask(scores, 5.0, crop, size)
    left, top, right, bottom = np.round(crop)
    expected = {
        "top": (left, top, right, 28),
        "left": (left, top, left + 28, bottom),
        "bottom": (left, bottom - 28, right, bottom),
        "right": (right - 28, top, right, bottom),
        "all": (left, top, right, bottom),
    }[edge]
    assert np.abs(np.subtract(region.box, expected)).max() <= 1
    assert not mask[:, : int(left)].any() and not mask[:, int(right) :].any()


def two_spots():
    scores = np.zeros((64, 64), np.float32)
    scores[10:14, 10:14], scores[40:60, 30:50], scores[29:32, 4:7] = 8, 6, 7
    return scores


def test_regions_are_the_largest_first_and_small_ones_are_removed():
    crop, size = (0, 0, 128, 128), (128, 128)
    mask, regions = original_mask(two_spots(), 5.0, crop, size)
    assert [round(region.peak) for region in regions] == [6, 8, 7]
    assert [r.area for r in regions] == sorted((r.area for r in regions), reverse=True)
    assert sum(region.area for region in regions) == mask.sum()
    for kept in range(3):
        smallest = regions[kept].area
        cut, fewer = original_mask(two_spots(), 5.0, crop, size, min_area=smallest)
        assert fewer == regions[: kept + 1]
        assert cut.sum() == sum(region.area for region in fewer)
        assert not (cut & ~mask).any()
    nothing, none = original_mask(two_spots(), 5.0, crop, size, min_area=10**6)
    assert not nothing.any() and none == []


def test_pixels_that_touch_at_a_corner_are_of_one_region():
    scores = np.zeros((40, 40), np.float32)
    scores[10:14, 10:14] = scores[14:18, 14:18] = 9
    assert len(original_mask(scores, 8.9, (0, 0, 40, 40), (40, 40))[1]) == 1


def test_where_nothing_reaches_the_cut_there_is_no_region():
    mask, regions = original_mask(two_spots(), np.inf, (0, 0, 128, 128), (128, 90))
    assert regions == [] and mask.shape == (90, 128) and not mask.any()


@pytest.mark.parametrize("size", [(8, 8), (20, 9), (1, 1), (65, 63), (4000, 3)])
def test_a_single_pixel_at_its_own_value_is_found_in_small_pictures_too(size):
    """The picture may have fewer pixels than the map: the peak lies between two of them."""
    for place in ((0, 0), (63, 63), (31, 7), (5, 60)):
        scores = np.zeros((64, 64), np.float32)
        scores[place] = 3
        mask, regions = original_mask(scores, 3.0, (0.0, 0.0, *map(float, size)), size)
        assert mask.any() and regions
        left, top, right, bottom = regions[0].box
        assert 0 <= left < right <= size[0] and 0 <= top < bottom <= size[1]
        x, y = (place[1] + 0.5) * size[0] / 64, (place[0] + 0.5) * size[1] / 64
        assert abs((left + right) / 2 - x) <= max(1, size[0] / 64) + 0.5
        assert abs((top + bottom) / 2 - y) <= max(1, size[1] / 64) + 0.5


def test_numbers_are_plain_so_that_they_can_be_written_as_json():
    region = original_mask(two_spots(), 5.0, (0, 0, 128, 128), (128, 128))[1][0]
    assert {type(side) for side in region.box} == {int}
    assert (type(region.area), type(region.peak)) == (int, float)
