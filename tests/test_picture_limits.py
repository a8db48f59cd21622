"""Limits of memory: pixels of a picture, bytes of a file, pixels of all threads at once."""

import argparse
import os
import struct
import threading
import time
import zlib

import numpy as np
import pytest
from PIL import Image

from common.errors import UsageError, message
from common.preprocessing import Preprocessing
from datasets import decoding, options, samples
from datasets.loader import Loader
from datasets.samples import Sample
from datasets.semaphore import WeightedSemaphore
from datasets.transforms import (
    MAX_PIXELS,
    BadPictureError,
    Transform,
    picture_size,
    read_picture,
)
from tests.pictures import NOISE, READERS, content, refused, saved


def exif(orientation):
    record = Image.Exif()
    record[0x0112] = orientation
    return record


def png_of(width, height):
    """A PNG that claims this size, in black and white, with few of its lines."""

    def chunk(name, data):
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    lines = chunk(b"IDAT", zlib.compress(bytes(1000)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + lines + chunk(b"IEND", b"")


def padded(path, data, length):
    """A sparse file: it is long, but takes no space on the disk."""
    path.write_bytes(data)
    os.truncate(path, length)
    return path


@READERS
def test_a_picture_of_too_many_pixels_is_named_with_its_size(tmp_path, reader):
    path = tmp_path / "x.png"
    path.write_bytes(png_of(20000, 20000))
    text = refused(reader, path)
    assert text == (f"{path}: 20000×20000 pixels, more than the 100 megapixels allowed; resize it")


@READERS
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "TIFF", "WEBP"])
def test_the_limit_of_pixels_holds_for_every_format(reader, kind):
    text = refused(reader, content(kind), 24 * 40 - 1)
    assert "40×24 pixels, more than the 959 pixels allowed" in text
    assert reader(content(kind), 24 * 40) is not None


@READERS
def test_the_limit_of_pixels_holds_for_arrays(reader):
    assert "an array of 40×24: 40×24 pixels" in refused(reader, NOISE, 24 * 40 - 1)


def test_transforms_pass_the_limit_on(tmp_path):
    path = saved(tmp_path / "x.png")
    small = Transform(Preprocessing(32, (32, 32)), max_pixels=959)
    assert "959 pixels allowed" in refused(small.picture, path)
    assert "959 pixels allowed" in refused(small.mask, path)
    assert Transform(small.preprocessing, 960).picture(path).shape == (32, 32, 3)
    assert "959 pixels allowed" in refused(
        samples.check_masks, [Sample(path, "x", path)], False, 959
    )


def test_scripts_show_the_option_that_sets_the_limit():
    with pytest.raises(BadPictureError) as error:
        read_picture(NOISE, 10)
    assert message(error.value).startswith("--max_pixels: an array of 40×24: ")


def test_more_pixels_than_pillow_would_allow_decode(recwarn, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)  # an error from 200 pixels
    assert np.array_equal(read_picture(content("PNG")), NOISE)
    assert picture_size(content("PNG")) == (40, 24)
    assert not recwarn.list


@READERS
@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF", "JPEG", "BMP"])
def test_a_file_of_gigabytes_is_not_read(tmp_path, reader, kind):
    path = padded(tmp_path / "x.png", content(kind), 3 * 2**30)
    start = time.perf_counter()
    text = refused(reader, path)
    assert str(path) in text and "3221 MB, more than" in text
    assert time.perf_counter() - start < 1


@READERS
def test_a_file_has_to_fit_its_own_number_of_pixels(tmp_path, reader):
    """Less than the largest picture would need, but far more than this one."""
    for kind in ("PNG", "WEBP"):
        assert "17 MB allowed for 960 pixels" in refused(
            reader, padded(tmp_path / "x.png", content(kind, lossless=True), 2**25)
        )
        padded(tmp_path / "x.png", content(kind, lossless=True), 2**20)
        assert reader(tmp_path / "x.png") is not None


@READERS
def test_an_endless_file_object_is_given_up(reader):
    class Endless:
        name = "/dev/zero"

        def read(self, size):
            return bytes(size)

    assert "/dev/zero: more than the 17 MB allowed" in refused(reader, Endless(), 1000)


@pytest.mark.parametrize("form", [b"VP8 ", b"VP8L", b"VP8X"])
def test_webps_tell_their_size_in_every_form(form):
    settings = {"lossless": form == b"VP8L", "exif": exif(6) if form == b"VP8X" else b""}
    data = content("WEBP", **settings)
    assert data[12:16] == form
    assert decoding.headers.size_in(data[:30], "WebP") == (40, 24)


def test_a_second_header_does_not_change_the_size():
    data = content("PNG")
    second = png_of(3000, 3000)[8:33]
    assert "differ in size" in refused(read_picture, data[:33] + second + data[33:])


def test_a_mask_may_not_be_larger_than_a_picture(tmp_path):
    (tmp_path / "m.png").write_bytes(png_of(20000, 20000))
    sample = Sample(saved(tmp_path / "x.png"), "dent", tmp_path / "m.png")
    loader = Loader([sample], Transform(Preprocessing(32, (32, 32))), masks=True)
    assert "m.png: 20000×20000 pixels" in refused(list, loader)


@pytest.fixture
def decoding_threads(monkeypatch):
    """Starts threads that decode pictures; each calls `meanwhile` while it holds its pixels."""
    threads = []

    def start(count, capacity, meanwhile, original=decoding.to_rgb):
        def convert(image):
            meanwhile()
            return original(image)

        monkeypatch.setattr(decoding, "IN_FLIGHT", WeightedSemaphore(capacity))
        monkeypatch.setattr(decoding, "to_rgb", convert)
        for _ in range(count):
            threads.append(threading.Thread(target=decoding.read_picture, args=[content("PNG")]))
            threads[-1].start()
        return threads

    yield start
    for thread in threads:
        thread.join(5)
        assert not thread.is_alive()


@pytest.mark.parametrize(("capacity", "expected"), [(10, 1), (960, 1), (2 * 960, 2), (2000, 2)])
def test_no_more_pixels_are_decoded_at_once_than_allowed(decoding_threads, capacity, expected):
    entered, go = threading.Semaphore(0), threading.Event()

    def meanwhile():
        entered.release()
        go.wait(5)

    decoding_threads(4, capacity, meanwhile)
    assert all(entered.acquire(timeout=5) for _ in range(expected))
    assert not entered.acquire(timeout=0.05)
    go.set()
    assert all(entered.acquire(timeout=5) for _ in range(4 - expected))


def test_small_pictures_are_decoded_together(decoding_threads):
    together = threading.Barrier(4, timeout=5)
    decoding_threads(4, decoding.IN_FLIGHT.capacity, together.wait)
    assert not together.broken


def test_a_picture_keeps_its_pixels_until_it_is_resized(monkeypatch):
    free = []

    def fitted(self, image, resample):
        free.append(decoding.IN_FLIGHT._free)
        return image

    monkeypatch.setattr(decoding, "IN_FLIGHT", WeightedSemaphore(1000))
    monkeypatch.setattr(Transform, "_fitted", fitted)
    Transform(Preprocessing()).picture(content("PNG"))
    Transform(Preprocessing()).mask(content("PNG"))
    assert free == [40, 40] and decoding.IN_FLIGHT._free == 1000


def test_a_picture_that_fails_gives_its_pixels_back(monkeypatch):
    semaphore = WeightedSemaphore(960)
    monkeypatch.setattr(decoding, "IN_FLIGHT", semaphore)
    for kind in ("PNG", "JPEG"):
        refused(read_picture, content(kind)[:-400])
        assert np.asarray(read_picture(content(kind))).shape == NOISE.shape


def test_a_large_amount_is_not_overtaken_forever():
    semaphore = WeightedSemaphore(10)
    order, waiting = [], threading.Event()

    def take(amount):
        waiting.set()
        with semaphore.taken(amount):
            order.append(amount)

    with semaphore.taken(5):
        large = threading.Thread(target=take, args=(10,))
        large.start()
        waiting.wait(5)
        while not semaphore._turn.locked():
            time.sleep(0.001)
        small = threading.Thread(target=take, args=(1,))  # would fit at once
        small.start()
        small.join(0.05)
        assert order == []
    large.join(5)
    small.join(5)
    assert order == [10, 1]


def parsed(*arguments):
    parser = argparse.ArgumentParser(exit_on_error=False)
    options.add_loading_options(parser)
    return parser.parse_args(arguments)


def test_the_default_limit_of_the_options_is_that_of_the_library():
    assert parsed().max_pixels == MAX_PIXELS
    assert parsed("--max_pixels", "5000").max_pixels == 5000


@pytest.mark.parametrize("name", ["--batch_size", "--num_workers", "--max_pixels"])
def test_absurd_numbers_are_wrong_use(name):
    for number in (10**20, -1):
        with pytest.raises(argparse.ArgumentError, match="a whole number from"):
            parsed(name, str(number))
    with pytest.raises(argparse.ArgumentError, match="65536"):
        parsed("--batch_size", "65537")


@pytest.mark.parametrize(
    ("resize", "size", "names"),
    [(64, (65, 65), ("img_size", "resize")), (64, 31, ("img_size",)), (20000, 64, ("resize",))],
)
def test_impossible_sizes_name_their_options(resize, size, names):
    with pytest.raises(UsageError) as error:
        options.preprocessing_from(argparse.Namespace(resize=resize, img_size=size, decoder="auto"))
    assert all(f"--{name}" in str(error.value) for name in names)
