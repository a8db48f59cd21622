"""Decoding of pictures and masks: accepted files, the decoded pixels, and errors."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from datasets.transforms import BadPictureError, picture_size, read_mask, read_picture

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
