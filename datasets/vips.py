"""Decodes and resizes common pictures in one pass by libvips.

A picture is shrunk while it is decoded, line by line: its pixels are never in memory as a whole,
and the interpreter is free all the time. The filter is Pillow's antialiased bilinear one; only the
rounding differs (at most 2 of 255 grey levels; on average 0.2, or 1 where a side shrinks to less
than a tenth).
"""

import functools
import importlib.util
import logging

import numpy as np
from PIL import Image

from common.preprocessing import Preprocessing

MODES = {"PNG": {"1", "L", "P", "RGB", "RGBA", "LA"}, "JPEG": {"L", "RGB"}}

logger = logging.getLogger(__name__)


def installed() -> bool:
    """Whether pyvips is there with the library itself (pyvips-binary)."""
    return all(importlib.util.find_spec(name) for name in ("pyvips", "_libvips"))


def best() -> str:
    """The decoder for a new model: vips where it is installed."""
    return "vips" if installed() else "pillow"


@functools.cache
def available() -> bool:
    """As `installed`; says once what it means if not."""
    if not installed():
        logger.warning(
            "pyvips is not installed, with which the model was trained: Pillow decodes in its "
            "place, more slowly, and scores differ in the third or fourth digit; "
            "pip install pyvips pyvips-binary"
        )
        return False
    return True


def reduced(image: Image.Image, content: bytes, preprocessing: Preprocessing) -> np.ndarray | None:
    """uint8 RGB [H,W,3] of a picture file, resized (bilinear, antialiased) and cropped.

    image : the file as Pillow opens it, not decoded yet
    content : all its bytes

    None where Pillow has to decode it: formats and modes beyond `MODES`, pictures that have to be
    turned or enlarged, and files that libvips refuses, which Pillow then decodes or names.
    """
    if not shrinks(image.size, preprocessing) or not _plain(image, content):
        return None
    pyvips = _library()
    load = {"PNG": pyvips.Image.pngload_buffer, "JPEG": pyvips.Image.jpegload_buffer}
    try:
        full = load[image.format](content, access="sequential", fail_on="error")
        if full.format != "uchar" or (full.width, full.height) != image.size:
            return None
        return _resized(full.extract_band(0, n=3 if full.bands > 2 else 1), preprocessing)
    except pyvips.Error as error:
        logger.debug("left to Pillow: %s", error)
        return None


def resized(pixels: np.ndarray, preprocessing: Preprocessing) -> np.ndarray:
    """As `reduced`, of pixels uint8 RGB [H,W,3] that somebody else decoded and that `shrinks`."""
    height, width, bands = pixels.shape
    data = np.ascontiguousarray(pixels).data
    full = _library().Image.new_from_memory(data, width, height, bands, "uchar")
    return _resized(full, preprocessing)


def shrinks(size: tuple[int, int], preprocessing: Preprocessing) -> bool:
    """Whether neither side of a picture of `size` (width, height) is enlarged."""
    width, height = preprocessing.resized(size)
    return width <= size[0] and height <= size[1]


def _resized(full, preprocessing: Preprocessing) -> np.ndarray:
    """uint8 RGB [H,W,3] of a pyvips.Image of one or three bands; pyvips.Error if it is damaged."""
    width, height = preprocessing.resized((full.width, full.height))
    scales = width / full.width, height / full.height
    # With `gap`, libvips would shrink by a box first, which gives other values.
    small = full.resize(scales[0], vscale=scales[1], kernel="linear", gap=0)
    high, wide = preprocessing.crop
    part = small.crop((width - wide) // 2, (height - high) // 2, wide, high)
    pixels = np.frombuffer(part.write_to_memory(), np.uint8).reshape(high, wide, part.bands)
    return np.repeat(pixels, 3, axis=2) if part.bands == 1 else pixels


def _plain(image: Image.Image, content: bytes) -> bool:
    """8 bits in a mode of MODES, one frame, upright."""
    if image.mode not in MODES.get(image.format, ()) or getattr(image, "n_frames", 1) != 1:
        return False
    if image.format == "PNG":
        return b"eXIf" not in content  # Pillow would decode the picture to find it
    return "exif" not in image.info or image.getexif().get(0x0112, 1) == 1


@functools.cache
def _library():
    """pyvips, one thread a picture: the loader's threads have a picture each."""
    import pyvips

    logging.getLogger("pyvips").setLevel(logging.CRITICAL)  # what is wrong is in the exception
    pyvips.cache_set_max(0)  # no picture is read twice
    pyvips.concurrency_set(1)
    return pyvips
