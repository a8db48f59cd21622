"""Harmful pictures: they could start programs, fill memory, write to stderr or have wrong names."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datasets.transforms import picture_size, read_picture
from tests.pictures import NOISE, READERS, content, refused, saved

POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n%%EOF\n"


@READERS
def test_postscript_named_png_starts_no_program(tmp_path, monkeypatch, reader):
    started = []
    monkeypatch.setattr(subprocess, "Popen", lambda *command, **_: started.append(command))
    monkeypatch.setattr("PIL.EpsImagePlugin.gs_binary", "gs")
    path = tmp_path / "x.png"
    path.write_bytes(POSTSCRIPT)
    assert "not a PNG, JPEG, BMP, TIFF or WebP file" in refused(reader, path)
    assert started == []


@READERS
@pytest.mark.parametrize("kind", ["GIF", "PPM", "TGA", "ICO", "JPEG2000", "PDF"])
def test_other_formats_are_refused_whatever_their_names(tmp_path, reader, kind):
    path = tmp_path / "x.png"
    path.write_bytes(content(kind))
    assert "not a PNG, JPEG, BMP, TIFF or WebP file" in refused(reader, path)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "TIFF", "WEBP", "MPO"])
def test_accepted_formats_are_known_by_content(tmp_path, kind):
    path = tmp_path / "x.gif"
    path.write_bytes(content(kind))
    with Image.open(path) as image:
        expected = np.asarray(image.convert("RGB"))
    assert np.array_equal(read_picture(path), expected)
    assert picture_size(path) == (40, 24)


def test_a_phones_picture_of_several_frames_is_its_first(tmp_path):
    path = tmp_path / "phone.jpg"
    first, second = (Image.fromarray(np.full((16, 24, 3), v, np.uint8)) for v in (200, 10))
    first.save(path, "MPO", save_all=True, append_images=[second])
    picture = np.asarray(read_picture(path))
    assert picture.shape == (16, 24, 3) and abs(picture.astype(int) - 200).max() < 3


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "tiff_adobe_deflate", "packbits"])
def test_tiffs_decode_however_they_are_compressed(tmp_path, compression):
    path = saved(tmp_path / "x.tif", compression=compression)
    assert np.array_equal(read_picture(path), NOISE)


def test_a_tiff_may_embed_a_jpeg(tmp_path):
    flat = np.full((16, 24, 3), 90, np.uint8)
    picture = read_picture(saved(tmp_path / "x.tif", flat, compression="jpeg"))
    assert abs(np.asarray(picture).astype(int) - 90).max() < 3


BROKEN = """
import io, logging, sys
sys.path.insert(0, {root!r})
from datasets.transforms import BadPictureError, read_picture
from tests.pictures import NOISE, READERS, content, refused, saved
import numpy as np
from PIL import Image
for compression in ("tiff_adobe_deflate", "tiff_lzw", "jpeg"):
    file = io.BytesIO()
    Image.fromarray(np.arange(30000, dtype=np.uint8).reshape(100, 100, 3)).save(
        file, "TIFF", compression=compression)
    data = bytearray(file.getvalue())
    for place in range(8, len(data), max(1, len(data) // 60)):
        changed = bytearray(data)
        changed[place] ^= 0xFF
        for content in (bytes(changed), bytes(data[:place])):
            try:
                read_picture(content)
            except BadPictureError:
                print("refused")
"""


def test_decoders_write_nothing_to_stderr():
    """Neither Python's warnings, nor what libtiff prints in C."""
    code = BROKEN.format(root=str(Path(__file__).parents[1]))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.count("refused") > 50
    assert done.stderr == ""
