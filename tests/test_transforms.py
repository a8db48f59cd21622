"""Pictures and masks: what decodes, what comes out of it, and what a broken file says."""

import json
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from datasets.transforms import (
    BadPictureError,
    Preprocessing,
    picture_size,
    read_mask,
    read_picture,
)

NOISE = np.random.default_rng(0).integers(0, 256, (24, 40, 3), dtype=np.uint8)
GREY16 = np.array([[0, 256, 32768, 65535]], np.uint16)

# What each value of EXIF's orientation tag asks for, of an array [H,W,...].
TURNS = {
    1: lambda a: a,
    2: np.fliplr,
    3: lambda a: np.rot90(a, 2),
    4: np.flipud,
    5: lambda a: np.swapaxes(a, 0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.swapaxes(np.rot90(a, 2), 0, 1),
    8: np.rot90,
}


def save(path, array, **settings):
    Image.fromarray(np.asarray(array)).save(path, **settings)
    return path


def one_colour(path, mode, colour):
    Image.new(mode, (5, 4), colour).save(path)
    return path


def exif(orientation):
    record = Image.Exif()
    record[0x0112] = orientation
    return record


def pixels(path):
    return np.asarray(read_picture(path))


@pytest.mark.parametrize("ending", ["png", "bmp", "tif", "tiff", "PNG"])
def test_lossless_formats_decode_to_the_pixels_that_were_saved(tmp_path, ending):
    assert np.array_equal(pixels(save(tmp_path / f"a.{ending}", NOISE)), NOISE)


def test_lossless_webp_decodes_to_the_pixels_that_were_saved(tmp_path):
    assert np.array_equal(pixels(save(tmp_path / "a.webp", NOISE, lossless=True)), NOISE)


@pytest.mark.parametrize("ending", ["jpg", "jpeg", "webp"])
def test_lossy_formats_decode_to_nearly_the_pixels_that_were_saved(tmp_path, ending):
    ramp = np.linspace(0, 255, 40).astype(np.uint8)[None, :, None].repeat(24, 0).repeat(3, 2)
    difference = pixels(save(tmp_path / f"a.{ending}", ramp, quality=95)).astype(int) - ramp
    assert np.abs(difference).max() < 12


@pytest.mark.parametrize(
    ("name", "mode", "colour", "expected"),
    [
        ("a.png", "L", 40, (40, 40, 40)),
        ("a.jpg", "L", 40, (40, 40, 40)),
        ("a.png", "RGB", (1, 2, 3), (1, 2, 3)),
        ("a.png", "RGBA", (10, 20, 30, 0), (10, 20, 30)),
        ("a.png", "RGBA", (10, 20, 30, 128), (10, 20, 30)),
        ("a.png", "LA", (90, 7), (90, 90, 90)),
        ("a.tif", "CMYK", (0, 255, 255, 0), (255, 0, 0)),
        ("a.jpg", "CMYK", (0, 0, 0, 0), (255, 255, 255)),
        ("a.png", "1", 1, (255, 255, 255)),
        ("a.tif", "1", 0, (0, 0, 0)),
    ],
)
def test_every_mode_becomes_rgb_and_alpha_is_dropped(tmp_path, name, mode, colour, expected):
    picture = pixels(one_colour(tmp_path / name, mode, colour))
    assert picture.shape == (4, 5, 3) and picture.dtype == np.uint8
    assert (picture == expected).all()


def test_palette_pictures_show_their_colours(tmp_path):
    image = Image.new("P", (3, 1))
    image.putpalette([9, 8, 7, 200, 100, 50, 0, 255, 0])
    image.putdata([0, 1, 2])
    image.save(tmp_path / "a.png")
    assert pixels(tmp_path / "a.png").tolist() == [[[9, 8, 7], [200, 100, 50], [0, 255, 0]]]


@pytest.mark.parametrize("ending", ["png", "tif"])
def test_sixteen_bit_grey_is_scaled_not_clipped(tmp_path, ending):
    picture = pixels(save(tmp_path / f"a.{ending}", GREY16))
    assert picture[0].tolist() == [[0] * 3, [1] * 3, [128] * 3, [255] * 3]


def test_sixteen_bit_big_endian_tiff_is_scaled_not_clipped(tmp_path):
    Image.frombytes("I;16B", (4, 1), GREY16.astype(">u2").tobytes()).save(tmp_path / "a.tif")
    assert pixels(tmp_path / "a.tif")[0, :, 0].tolist() == [0, 1, 128, 255]


def test_floating_point_picture_is_a_clear_error(tmp_path):
    path = save(tmp_path / "depth.tif", np.ones((4, 4), np.float32))
    with pytest.raises(BadPictureError, match=r"depth\.tif.*floating-point"):
        read_picture(path)


@pytest.mark.parametrize("value", [-1, 65536])
def test_integers_beyond_sixteen_bits_are_a_clear_error(tmp_path, value):
    path = save(tmp_path / "a.tif", np.full((4, 4), value, np.int32))
    with pytest.raises(BadPictureError, match=r"a\.tif.*65535"):
        read_picture(path)


@pytest.mark.parametrize("orientation", TURNS)
def test_exif_orientation_turns_picture_mask_and_size(tmp_path, orientation):
    turned = TURNS[orientation](NOISE)
    path = save(tmp_path / "a.png", NOISE, exif=exif(orientation))
    assert np.array_equal(pixels(path), turned)
    assert picture_size(path) == (turned.shape[1], turned.shape[0])
    mask = save(
        tmp_path / "mask.png", (NOISE[..., 0] > 127) * np.uint8(255), exif=exif(orientation)
    )
    assert np.array_equal(read_mask(mask), turned[..., 0] > 127)


@pytest.mark.parametrize("ending", ["jpg", "webp"])
def test_exif_orientation_counts_in_camera_formats(tmp_path, ending):
    picture = np.zeros((20, 60, 3), np.uint8)
    picture[:, :30] = 255  # white left half: on top, once turned clockwise
    path = save(tmp_path / f"a.{ending}", picture, exif=exif(6))
    assert picture_size(path) == (20, 60)
    turned = pixels(path)
    assert turned.shape == (60, 20, 3)
    assert turned[:25].min() > 200 and turned[35:].max() < 50


def test_orientation_counts_before_resizing(tmp_path):
    path = save(tmp_path / "a.png", np.zeros((20, 60, 3), np.uint8), exif=exif(6))
    assert Preprocessing((60, 20), (60, 20)).picture(path).shape == (60, 20, 3)


@pytest.mark.parametrize("upright", [False, True])
def test_shorter_side_becomes_resize_and_the_middle_is_kept(tmp_path, upright):
    picture = np.zeros((40, 160, 3), np.uint8)
    picture[:, 60:100] = 255  # the middle square
    picture[:, 80:] //= 2  # its right (lower) half is grey
    path = save(tmp_path / "a.png", picture.swapaxes(0, 1) if upright else picture)
    crop = Preprocessing(20, (20, 20)).picture(path)
    crop = crop.swapaxes(0, 1) if upright else crop
    assert crop.shape == (20, 20, 3)
    assert (crop[:, 1:9] == 255).all() and (crop[:, 11:19] == 127).all()


def test_crop_smaller_than_resize_keeps_the_centre(tmp_path):
    picture = np.zeros((32, 32, 3), np.uint8)
    picture[8:24, 12:20] = 255
    crop = Preprocessing(32, (16, 8)).picture(save(tmp_path / "a.png", picture))
    assert crop.shape == (16, 8, 3) and (crop == 255).all()


def test_height_and_width_may_be_given_and_then_the_aspect_goes(tmp_path):
    picture = np.zeros((30, 30, 3), np.uint8)
    picture[:15] = 255
    resized = Preprocessing((16, 48), (16, 48)).picture(save(tmp_path / "a.png", picture))
    assert resized.shape == (16, 48, 3)
    assert (resized[:7] == 255).all() and (resized[9:] == 0).all()


def test_shrinking_averages_instead_of_dropping_pixels(tmp_path):
    board = (np.indices((128, 128)).sum(0) % 2 * 255).astype(np.uint8)
    small = Preprocessing(32, (32, 32)).picture(save(tmp_path / "a.png", board))
    assert np.abs(small[4:-4, 4:-4].astype(int) - 128).max() < 8


@pytest.mark.parametrize("shape", [(1, 1), (500, 3), (3, 500), (33, 31)])
def test_tiny_and_narrow_pictures_work(tmp_path, shape):
    path = save(tmp_path / "a.png", np.full((*shape, 3), 77, np.uint8))
    picture = Preprocessing(32, (32, 32)).picture(path)
    assert picture.shape == (32, 32, 3) and (picture == 77).all()
    assert Preprocessing(32, (32, 32)).mask(path).all()


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
    settings = Preprocessing()
    images = settings.normalize(NOISE)
    expected = (NOISE / 255 - np.array(settings.mean)) / np.array(settings.std)
    assert images.shape == (3, 24, 40) and images.dtype == np.float32
    np.testing.assert_allclose(images, expected.transpose(2, 0, 1), atol=1e-6)


@pytest.mark.parametrize(
    "settings", [Preprocessing(), Preprocessing(mean=(0.1, 0.5, 0.9), std=(0.01, 1.0, 0.3))]
)
def test_denormalize_gives_back_every_value_exactly(settings):
    every = np.arange(256, dtype=np.uint8).reshape(16, 16, 1).repeat(3, 2)
    batch = np.stack([settings.normalize(every), settings.normalize(255 - every)])
    assert np.array_equal(settings.denormalize(batch), np.stack([every, 255 - every]))


@pytest.mark.parametrize(
    "settings",
    [
        Preprocessing(),
        Preprocessing((100, 200), (90, 180), (0.1, 0.2, 0.3), (1.0, 2.0, 3.0)),
    ],
)
def test_record_survives_json(settings):
    again = Preprocessing.from_record(json.loads(json.dumps(settings.record())))
    assert again == settings


SHAPE = np.array([[0, 1, 1, 0], [1, 0, 0, 0]], bool)


@pytest.mark.parametrize(
    "values",
    [
        SHAPE.astype(np.uint8) * 255,
        SHAPE.astype(np.uint8),
        SHAPE.astype(np.uint8) * 7,
        SHAPE.astype(np.uint16) * 65535,
        SHAPE.astype(np.uint16),
        SHAPE,
        np.dstack([SHAPE.astype(np.uint8) * 255] * 3),
        np.dstack([SHAPE.astype(np.uint8) * v for v in (0, 0, 255)]),
        np.dstack([SHAPE.astype(np.uint8) * 255] * 3 + [np.full_like(SHAPE, 255, np.uint8)]),
    ],
    ids=["0/255", "0/1", "0/7", "16bit", "16bit-0/1", "1bit", "RGB", "blue", "RGBA"],
)
@pytest.mark.parametrize("ending", ["png", "tif"])
def test_masks_read_the_same_however_they_are_written(tmp_path, values, ending):
    mask = read_mask(save(tmp_path / f"m.{ending}", values))
    assert mask.dtype == bool and np.array_equal(mask, SHAPE)


@pytest.mark.parametrize("colours", [[0, 0, 0, 64, 0, 0, 0, 128, 0], [0, 0, 0, 1, 1, 1, 2, 2, 2]])
def test_every_colour_of_a_palette_mask_but_black_is_a_defect(tmp_path, colours):
    image = Image.new("P", (4, 2))
    image.putpalette(colours)
    image.putdata([0, 1, 2, 0, 0, 1, 1, 2])
    image.save(tmp_path / "m.png")
    expected = np.array([[False, True, True, False], [False, True, True, True]])
    assert np.array_equal(read_mask(tmp_path / "m.png"), expected)


def test_a_palette_mask_may_have_white_first(tmp_path):
    image = Image.new("P", (2, 1))
    image.putpalette([255, 255, 255, 0, 0, 0])
    image.putdata([0, 1])
    image.save(tmp_path / "m.png")
    assert read_mask(tmp_path / "m.png").tolist() == [[True, False]]


def test_every_label_of_a_mask_is_a_defect(tmp_path):
    labels = np.array([[0, 1, 2, 9]], np.uint8)
    assert read_mask(save(tmp_path / "m.png", labels)).tolist() == [[False, True, True, True]]


def test_soft_edges_count_from_half(tmp_path):
    soft = np.array([[0, 100, 130, 255]], np.uint8)
    assert read_mask(save(tmp_path / "m.png", soft)).tolist() == [[False, False, True, True]]


def test_the_one_step_resize_is_that_of_resizing_all_and_cropping_then(tmp_path):
    noise = np.random.default_rng(4).integers(0, 256, (90, 130, 3), dtype=np.uint8)
    path = save(tmp_path / "a.png", noise)
    two = Image.fromarray(noise).resize((92, 64), Image.Resampling.BILINEAR).crop((22, 8, 70, 56))
    one = Preprocessing(64, (48, 48)).picture(path)
    assert abs(one.astype(int) - np.asarray(two)).max() <= 1


def test_a_line_of_a_picture_costs_no_more_than_its_crop(tmp_path):
    path = save(tmp_path / "line.png", np.zeros((1, 20000), np.uint8))
    assert Preprocessing(256, (224, 224)).picture(path).shape == (224, 224, 3)


@pytest.mark.parametrize("ending", ["tif", "jpg", "png", "webp"])
@pytest.mark.parametrize("turn", [1, 3, 6, 8])
def test_the_size_is_that_of_the_decoded_picture(tmp_path, ending, turn):
    exif = Image.Exif()
    exif[0x0112] = turn
    path = save(tmp_path / f"a.{ending}", np.zeros((40, 60, 3), np.uint8), exif=exif.tobytes())
    assert picture_size(path) == read_picture(path).size == ((60, 40) if turn < 5 else (40, 60))


def test_the_size_of_a_png_needs_no_pixels(tmp_path):
    path = save(tmp_path / "a.png", NOISE)
    path.write_bytes(path.read_bytes()[:60])
    assert picture_size(path) == (40, 24)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, bool])
def test_an_empty_mask_marks_nothing(tmp_path, kind):
    assert not read_mask(save(tmp_path / "m.png", np.zeros((3, 5), kind))).any()


@pytest.mark.parametrize(
    "settings", [Preprocessing(32, (32, 32)), Preprocessing((32, 48), (24, 40))]
)
def test_mask_stays_aligned_with_its_picture(tmp_path, settings):
    blocks = np.random.default_rng(1).integers(0, 2, (8, 12)).astype(bool)
    mask = blocks.repeat(8, 0).repeat(8, 1)  # 64 x 96, shrunk to a half: no edge is cut
    path = save(tmp_path / "m.png", mask.astype(np.uint8) * 255)
    resized = settings.mask(path)
    assert resized.dtype == bool and resized.shape == settings.crop
    assert np.array_equal(resized, settings.picture(path)[..., 0] > 127)


def test_mask_is_shrunk_by_nearest_neighbour(tmp_path):
    mask = np.random.default_rng(2).integers(0, 2, (48, 48)).astype(bool)
    path = save(tmp_path / "m.png", mask)
    assert np.array_equal(Preprocessing(16, (16, 16)).mask(path), mask[1::3, 1::3])


def test_a_thin_mask_is_not_blurred_away_by_enlarging(tmp_path):
    mask = np.zeros((16, 16), np.uint8)
    mask[8, 8] = 255
    assert Preprocessing(64, (64, 64)).mask(save(tmp_path / "m.png", mask)).sum() == 16


@pytest.mark.parametrize("reader", [read_picture, read_mask, picture_size])
@pytest.mark.parametrize("broken", ["text.png", "empty.png", "missing.png", "cut.png", "cut.jpg"])
def test_files_that_are_no_pictures_are_named(tmp_path, reader, broken):
    path = tmp_path / broken
    if broken.startswith("cut"):
        path.write_bytes(save(tmp_path / f"whole{path.suffix}", NOISE).read_bytes()[:20])
    elif broken != "missing.png":
        path.write_text("not a picture\n" * 20 * broken.startswith("text"))
    with pytest.raises(BadPictureError) as error:
        reader(path)
    assert str(path) in str(error.value)


@pytest.mark.parametrize("reader", [read_picture, read_mask, picture_size])
def test_a_picture_that_claims_to_be_enormous_is_named(tmp_path, reader):
    path = save(tmp_path / "bomb.png", NOISE)
    header = b"IHDR" + struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)
    rest = path.read_bytes()[33:]
    checksum = struct.pack(">I", zlib.crc32(header))
    path.write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0\x0d" + header + checksum + rest)
    with pytest.raises(BadPictureError) as error:
        reader(path)
    assert str(path) in str(error.value)


@pytest.mark.parametrize("reader", [read_picture, read_mask])
@pytest.mark.parametrize("ending", ["png", "jpg", "bmp", "tif", "webp"])
def test_pictures_cut_in_the_middle_are_named(tmp_path, reader, ending):
    path = save(tmp_path / f"a.{ending}", NOISE)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(BadPictureError) as error:
        reader(path)
    assert str(path) in str(error.value)
