"""Resizing, cropping and normalising of pictures and masks."""

import numpy as np
import pytest
from PIL import Image

from common.preprocessing import Preprocessing
from datasets.transforms import Transform

NOISE = np.random.default_rng(0).integers(0, 256, (24, 40, 3), dtype=np.uint8)


def save(path, array, **settings):
    Image.fromarray(np.asarray(array)).save(path, **settings)
    return path


def transform(*values, **named):
    return Transform(Preprocessing(*values, **named))


def test_orientation_counts_before_resizing(tmp_path):
    picture = np.zeros((20, 60, 3), np.uint8)
    picture[:, :30] = 255  # white left half: on top, once turned clockwise
    orientation = Image.Exif()
    orientation[0x0112] = 6
    path = save(tmp_path / "a.png", picture, exif=orientation.tobytes())
    turned = transform((96, 32), (96, 32)).picture(path)
    assert (turned[:40] == 255).all() and (turned[56:] == 0).all()


@pytest.mark.parametrize("upright", [False, True])
def test_shorter_side_becomes_resize_and_the_middle_is_kept(tmp_path, upright):
    picture = np.zeros((40, 160, 3), np.uint8)
    picture[:, 60:100] = 255  # the middle square
    picture[:, 80:] //= 2  # its right (lower) half is grey
    path = save(tmp_path / "a.png", picture.swapaxes(0, 1) if upright else picture)
    crop = transform(40, (40, 40)).picture(path)
    crop = crop.swapaxes(0, 1) if upright else crop
    assert crop.shape == (40, 40, 3)
    assert (crop[:, :20] == 255).all() and (crop[:, 20:] == 127).all()


def test_crop_smaller_than_resize_keeps_the_centre(tmp_path):
    picture = np.zeros((96, 96, 3), np.uint8)
    picture[16:80, 32:64] = 255
    crop = transform(96, (64, 32)).picture(save(tmp_path / "a.png", picture))
    assert crop.shape == (64, 32, 3) and (crop == 255).all()


def test_height_and_width_may_be_given_and_then_the_aspect_goes(tmp_path):
    picture = np.zeros((30, 30, 3), np.uint8)
    picture[:15] = 255
    resized = transform((32, 96), (32, 96)).picture(save(tmp_path / "a.png", picture))
    assert resized.shape == (32, 96, 3)
    assert (resized[:15] == 255).all() and (resized[17:] == 0).all()


def test_shrinking_averages_instead_of_dropping_pixels(tmp_path):
    board = (np.indices((128, 128)).sum(0) % 2 * 255).astype(np.uint8)
    small = transform(32, (32, 32)).picture(save(tmp_path / "a.png", board))
    assert np.abs(small[4:-4, 4:-4].astype(int) - 128).max() < 8


@pytest.mark.parametrize("shape", [(1, 1), (500, 3), (3, 500), (33, 31)])
def test_tiny_and_narrow_pictures_work(tmp_path, shape):
    path = save(tmp_path / "a.png", np.full((*shape, 3), 77, np.uint8))
    picture = transform(32, (32, 32)).picture(path)
    assert picture.shape == (32, 32, 3) and (picture == 77).all()
    assert transform(32, (32, 32)).mask(path).all()


@pytest.mark.parametrize(
    ("settings", "size", "part"),
    [
        (Preprocessing(256, (224, 224)), (900, 900), (224 / 256) ** 2),
        (Preprocessing(256, (256, 256)), (512, 256), 0.5),
        (Preprocessing(256, (256, 256)), (256, 1024), 0.25),
        (Preprocessing((64, 128), (64, 32)), (10, 10), 0.25),
        (Preprocessing(64, (64, 64)), (1, 1), 1.0),
    ],
)
def test_seen_is_the_part_of_the_picture_inside_the_crop(settings, size, part):
    assert settings.seen(size) == pytest.approx(part)


def test_normalize_is_the_textbook_formula():
    images = transform().normalize(NOISE)
    expected = (NOISE / 255 - [0.485, 0.456, 0.406]) / np.array([0.229, 0.224, 0.225])
    assert images.shape == (3, 24, 40) and images.dtype == np.float32
    np.testing.assert_allclose(images, expected.transpose(2, 0, 1), atol=1e-6)


@pytest.mark.parametrize(
    "settings", [transform(), transform(mean=(0.1, 0.5, 0.9), std=(0.01, 1.0, 0.3))]
)
def test_denormalize_gives_back_every_value_exactly(settings):
    every = np.arange(256, dtype=np.uint8).reshape(16, 16, 1).repeat(3, 2)
    batch = np.stack([settings.normalize(every), settings.normalize(255 - every)])
    assert np.array_equal(settings.denormalize(batch), np.stack([every, 255 - every]))


def test_the_one_step_resize_is_that_of_resizing_all_and_cropping_then(tmp_path):
    noise = np.random.default_rng(4).integers(0, 256, (90, 130, 3), dtype=np.uint8)
    path = save(tmp_path / "a.png", noise)
    two = Image.fromarray(noise).resize((92, 64), Image.Resampling.BILINEAR).crop((22, 8, 70, 56))
    one = transform(64, (48, 48)).picture(path)
    assert abs(one.astype(int) - np.asarray(two)).max() <= 1


def test_a_line_of_a_picture_costs_no_more_than_its_crop(tmp_path):
    path = save(tmp_path / "line.png", np.zeros((1, 20000), np.uint8))
    assert transform(256, (224, 224)).picture(path).shape == (224, 224, 3)


@pytest.mark.parametrize("settings", [transform(32, (32, 32)), transform((32, 48), (32, 40))])
def test_mask_stays_aligned_with_its_picture(tmp_path, settings):
    blocks = np.random.default_rng(1).integers(0, 2, (8, 12)).astype(bool)
    mask = blocks.repeat(8, 0).repeat(8, 1)  # 64 x 96, shrunk to a half: no edge is cut
    path = save(tmp_path / "m.png", mask.astype(np.uint8) * 255)
    resized = settings.mask(path)
    assert resized.dtype == bool and resized.shape == settings.preprocessing.crop
    assert np.array_equal(resized, settings.picture(path)[..., 0] > 127)


def test_mask_is_shrunk_by_nearest_neighbour(tmp_path):
    mask = np.random.default_rng(2).integers(0, 2, (96, 96)).astype(bool)
    path = save(tmp_path / "m.png", mask)
    assert np.array_equal(transform(32, (32, 32)).mask(path), mask[1::3, 1::3])


def test_a_thin_mask_is_not_blurred_away_by_enlarging(tmp_path):
    mask = np.zeros((16, 16), np.uint8)
    mask[8, 8] = 255
    assert transform(64, (64, 64)).mask(save(tmp_path / "m.png", mask)).sum() == 16
