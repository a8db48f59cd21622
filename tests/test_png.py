"""PNG files with many data chunks, as most programs write them."""

import zlib

import numpy as np
import pytest
from PIL import Image

from datasets.transforms import BadPictureError, read_mask, read_picture


def chunked(png: bytes, size: int) -> bytes:
    """The same PNG with its data in chunks of `size` bytes."""
    out, start, crc = png[:8], 8, zlib.crc32
    while start < len(png):
        length = int.from_bytes(png[start : start + 4], "big")
        name, data = png[start + 4 : start + 8], png[start + 8 : start + 8 + length]
        parts = [data[i : i + size] for i in range(0, length, size)] if name == b"IDAT" else [data]
        for part in parts:
            out += len(part).to_bytes(4, "big") + name + part + crc(name + part).to_bytes(4, "big")
        start += 12 + length
    return out


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_a_png_in_many_chunks_is_the_same_picture(tmp_path, size):
    pixels = np.random.default_rng(0).integers(0, 256, (60, 50, 3), np.uint8)
    path = tmp_path / "whole.png"
    Image.fromarray(pixels).save(path)
    many = tmp_path / "many.png"
    many.write_bytes(chunked(path.read_bytes(), size))
    assert many.read_bytes().count(b"IDAT") >= 9000 // size
    np.testing.assert_array_equal(np.asarray(read_picture(many)), pixels)
    np.testing.assert_array_equal(read_mask(many), read_mask(path))


def test_a_png_cut_or_changed_anywhere_is_a_picture_or_named(tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (20, 20, 3), np.uint8)).save(path)
    data = chunked(path.read_bytes(), 300)
    for place in range(0, len(data), 13):
        changed = bytearray(data)
        changed[place] ^= 0xFF
        for content in (data[:place], bytes(changed)):
            path.write_bytes(content)
            try:
                assert read_picture(path).mode == "RGB"
            except BadPictureError as error:
                assert str(path) in str(error)
