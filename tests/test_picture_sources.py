"""Paths, bytes, file objects and arrays of a picture give the same pixels."""

import io
import os

import numpy as np
import pytest
from PIL import Image

from common.preprocessing import Preprocessing
from datasets.loader import Loader
from datasets.samples import Sample
from datasets.transforms import (
    Transform,
    name_of,
    picture_size,
    read_mask,
    read_picture,
)
from tests.pictures import NOISE, READERS, content, refused, saved


def exif(orientation):
    record = Image.Exif()
    record[0x0112] = orientation
    return record


def roads(path):
    """The file by every road."""
    data = path.read_bytes()
    yield from (path, str(path), data, bytearray(data), io.BytesIO(data))
    with path.open("rb") as file:
        file.seek(7)
        yield file


@pytest.mark.parametrize("ending", ["png", "jpg", "bmp", "tif", "webp"])
def test_a_picture_is_the_same_by_every_road(tmp_path, ending):
    path = saved(tmp_path / f"x.{ending}", exif=exif(6))
    expected = np.asarray(read_picture(path))
    assert expected.shape == ((24, 40, 3) if ending == "bmp" else (40, 24, 3))
    transform = Transform(Preprocessing(32, (32, 32)))
    for source in roads(path):
        assert np.array_equal(read_picture(source), expected)
        assert np.array_equal(transform.picture(source), transform.picture(path))
        assert np.array_equal(read_mask(source), read_mask(path))
        assert picture_size(source) == expected.shape[1::-1]


GREY = NOISE[..., 0]


@pytest.mark.parametrize(
    "array",
    [NOISE, GREY, GREY.astype(np.uint16) * 257, (GREY * 5).astype(">u2"), NOISE[::2, ::-1], GREY.T],
    ids=["rgb", "grey", "16bit", "big-endian", "view", "transposed"],
)
def test_an_array_is_the_same_as_its_file(tmp_path, array):
    path = saved(
        tmp_path / "x.png", np.ascontiguousarray(array.astype(array.dtype.newbyteorder("=")))
    )
    assert np.array_equal(read_picture(array), read_picture(path))
    assert np.array_equal(read_mask(array), read_mask(path))
    assert picture_size(array) == picture_size(path)
    transform = Transform(Preprocessing(32, (32, 32)))
    assert np.array_equal(transform.picture(array), transform.picture(path))


def test_an_array_is_left_as_it_was():
    before = NOISE.copy()
    picture = read_picture(NOISE)
    picture.paste((0, 0, 0), (0, 0, 10, 10))
    assert np.array_equal(NOISE, before)


def test_a_mask_may_be_a_boolean_array():
    mask = GREY > 100
    assert np.array_equal(read_mask(mask), mask)


@pytest.mark.parametrize(
    "array",
    [
        NOISE.astype(np.float32),
        GREY.astype(np.int64),
        NOISE.astype(np.uint16),
        GREY > 3,
        NOISE[..., :2],
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((2, 4, 4, 3), np.uint8),
        np.zeros(5, np.uint8),
        np.zeros((), np.uint8),
        np.zeros((0, 5), np.uint8),
        np.zeros((4, 4), object),
    ],
    ids=lambda array: f"{array.dtype}{array.shape}",
)
def test_other_arrays_are_refused_with_what_is_expected(array):
    assert "expected uint8 [H,W,3] in RGB, or uint8 or uint16 [H,W]" in refused(read_picture, array)


@READERS
@pytest.mark.parametrize("source", [None, 7, [1, 2], Image.fromarray(NOISE), io.StringIO("x")])
def test_what_is_no_source_is_refused_with_what_is_expected(reader, source):
    assert "expected a" in refused(reader, source)


def test_a_file_object_is_left_open(tmp_path):
    with saved(tmp_path / "x.png").open("rb") as file:
        read_picture(file)
        assert not file.closed and np.array_equal(read_picture(file), NOISE)


def test_a_pipe_can_be_read_once():
    read, write = os.pipe()
    with open(read, "rb") as reading, open(write, "wb") as writing:  # noqa: PTH123 - descriptors
        writing.write(content("PNG"))
        writing.close()
        assert np.array_equal(read_picture(reading), NOISE)


def test_names_of_sources(tmp_path):
    path = saved(tmp_path / "x.png")
    with path.open("rb") as file:
        assert [name_of(s) for s in (path, str(path), file)] == [str(path)] * 3
    assert name_of(bytes(12345)) == "bytes, 12345 of them"
    assert name_of(np.zeros((900, 800, 3))) == "an array of 800×900"
    assert name_of(io.BytesIO()) == "an object of type BytesIO"


def test_loaders_take_every_source(tmp_path):
    path = saved(tmp_path / "x.png")
    sources = [Sample(source) for source in (path, str(path), path.read_bytes(), NOISE)]
    (batch,) = Loader(sources, Transform(Preprocessing(32, (32, 32))))
    assert all(np.array_equal(image, batch.images[0]) for image in batch.images)


def test_loaders_take_masks_from_every_source(tmp_path):
    path = saved(tmp_path / "m.png", NOISE[..., 0])
    masks = (path, path.read_bytes(), NOISE[..., 0])
    defective = [Sample(NOISE, "dent", mask) for mask in masks]
    (batch,) = Loader(defective, Transform(Preprocessing(32, (32, 32))), masks=True)
    assert all(np.array_equal(mask, batch.masks[0]) for mask in batch.masks)
