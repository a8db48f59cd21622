"""libvips decodes and resizes as Pillow does, but for rounding."""

import io
import logging
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from common.errors import UsageError
from common.preprocessing import Preprocessing
from datasets import vips
from datasets.options import decoder_from
from datasets.transforms import BadPictureError, Transform

pytestmark = pytest.mark.skipif(not vips.installed(), reason="pip install pyvips pyvips-binary")
PLAIN = Preprocessing(64, (48, 56))
BOTH = Transform(PLAIN), Transform(Preprocessing(64, (48, 56), decoder="vips"))


def photo(mode: str = "RGB", size: tuple[int, int] = (211, 160)) -> Image.Image:
    """Smooth colours with fine noise."""
    x, y = np.meshgrid(np.linspace(0, 3, size[0]), np.linspace(0, 2, size[1]))
    waves = np.stack([np.sin(x + y), np.cos(2 * x), np.sin(x * y)], axis=2)
    noise = np.random.default_rng(0).normal(scale=20, size=waves.shape)
    return Image.fromarray((128 + 90 * waves + noise).clip(0, 255).astype(np.uint8)).convert(mode)


def saved(image: Image.Image, kind: str, **settings) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **settings)
    return file.getvalue()


def used(monkeypatch) -> list[bool]:
    """Whether each picture from now on is libvips' own."""
    reduced, found = vips.reduced, []

    def record(*arguments):
        result = reduced(*arguments)
        found.append(result is not None)
        return result

    monkeypatch.setattr(vips, "reduced", record)
    return found


@pytest.mark.parametrize(
    ("content", "size"),
    [
        (saved(photo(), "PNG"), (211, 160)),
        (saved(photo(size=(160, 211)), "PNG"), (160, 211)),
        (saved(photo(size=(64, 64)), "PNG"), (64, 64)),
        (saved(photo(size=(1500, 900)), "PNG", compress_level=1), (1500, 900)),
        (saved(photo("L"), "PNG"), (211, 160)),
        (saved(photo("RGBA"), "PNG"), (211, 160)),
        (saved(photo("LA"), "PNG"), (211, 160)),
        (saved(photo("P"), "PNG"), (211, 160)),
        (saved(photo("1"), "PNG"), (211, 160)),
        (saved(photo(), "JPEG", quality=90), (211, 160)),
        (saved(photo(), "JPEG", progressive=True, subsampling=0), (211, 160)),
        (saved(photo("L"), "JPEG"), (211, 160)),
    ],
)
def test_pixels_are_pillows_but_for_rounding(content, size, monkeypatch):
    found = used(monkeypatch)
    pillow, fast = (transform.sized_picture(content) for transform in BOTH)
    assert found == [True]
    assert pillow[1] == fast[1] == size
    assert fast[0].shape == (48, 56, 3) and fast[0].dtype == np.uint8
    difference = np.abs(pillow[0].astype(int) - fast[0])
    assert difference.max() <= 2 and difference.mean() < 1


TURNED = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"


@pytest.mark.parametrize(
    "content",
    [
        saved(photo(), "BMP"),
        saved(photo(), "WEBP", lossless=True),
        saved(photo(), "TIFF"),
        np.asarray(photo()),
    ],
    ids=["BMP", "WebP", "TIFF", "array"],
)
def test_what_pillow_decodes_is_resized_the_same(content, monkeypatch):
    found = used(monkeypatch)
    fast = BOTH[1].sized_picture(content)
    assert not any(found) and fast[1] == (211, 160)
    assert np.array_equal(fast[0], BOTH[1].picture(saved(photo(), "PNG")))


@pytest.mark.parametrize(
    "content",
    [
        saved(photo("CMYK"), "JPEG"),
        saved(photo("L").convert("I;16"), "PNG"),
        saved(photo(), "JPEG", exif=TURNED),
    ],
    ids=["CMYK", "16 bits", "turned"],
)
def test_odd_pictures_are_decoded_by_pillow(content, monkeypatch):
    found = used(monkeypatch)
    pillow, fast = (transform.sized_picture(content) for transform in BOTH)
    assert not any(found) and pillow[1] == fast[1]
    assert np.abs(pillow[0].astype(int) - fast[0]).max() <= 2


def test_pictures_that_grow_are_left_to_pillow():
    content = saved(photo(size=(60, 70)), "PNG")
    assert np.array_equal(*(transform.picture(content) for transform in BOTH))


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_a_file_cut_anywhere_is_named_as_by_pillow(kind):
    content = saved(photo(), kind)
    for end in range(8, len(content) - 12, len(content) // 24):
        with pytest.raises(BadPictureError):
            BOTH[1].picture(content[:end])


def test_a_file_changed_anywhere_is_a_picture_or_named():
    content = saved(photo(size=(80, 70)), "PNG")
    for place in range(8, len(content), len(content) // 60):
        changed = bytearray(content)
        changed[place] ^= 0x10
        try:
            assert BOTH[1].picture(bytes(changed)).shape == (48, 56, 3)
        except BadPictureError:
            with pytest.raises(BadPictureError):
                BOTH[0].picture(bytes(changed))


def test_without_pyvips_pillow_decodes_and_says_so(monkeypatch, caplog):
    vips.available.cache_clear()
    monkeypatch.setattr(vips, "installed", lambda: False)
    content = saved(photo(), "PNG")
    with caplog.at_level(logging.WARNING):
        assert np.array_equal(*(transform.picture(content) for transform in BOTH))
    vips.available.cache_clear()
    assert "pyvips is not installed" in caplog.text
    with pytest.raises(UsageError, match="pip install pyvips"):
        decoder_from("vips")
    assert decoder_from("auto") == "pillow"


def test_a_path_and_a_file_object_are_read_too(tmp_path):
    path = Path(tmp_path / "a.jpg")
    path.write_bytes(saved(photo(), "JPEG"))
    expected = BOTH[1].picture(path)
    with path.open("rb") as file:
        assert np.array_equal(expected, BOTH[1].picture(file))


def test_the_decoders_are_compared(demo, capsys, monkeypatch):
    from benchmarks import decoders

    folder = demo / "flange" / "test" / "good"
    arguments = ["decoders", "--pictures", str(folder), "--number", "2", "--rounds", "1"]
    monkeypatch.setattr("sys.argv", arguments)
    assert decoders.main() == 0
    lines = capsys.readouterr().out.splitlines()
    names = [line.partition(":")[0] for line in lines]
    threads = ["pillow, two threads", "vips, two threads"]
    assert names == ["inflate", "pillow", "vips", *threads, "vips and pillow"]
