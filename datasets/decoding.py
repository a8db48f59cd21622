"""Decodes pictures and masks: five formats, chosen by content, within limits of memory."""

import ctypes
import io
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import BinaryIO, TypeVar

import numpy as np
from PIL import Image, ImageChops, ImageFile, ImageOps
from PIL.BmpImagePlugin import BmpImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from datasets import headers, pieces
from datasets.semaphore import WeightedSemaphore
from datasets.sources import BadPictureError, RefusedError, Source, image_of, name_of, opened

MAX_PIXELS = 100_000_000  # of one picture, unless the caller allows more
# Pixels that the threads of a process decode and resize at once. Pillow takes 4 bytes for each,
# and as many again while it turns or converts a picture. Eight pictures of 16 megapixels fit.
IN_FLIGHT = WeightedSemaphore(128_000_000)
# A file has at most 8 bytes per pixel (16-bit RGBA, not compressed) and some metadata.
PIXEL_BYTES, METADATA_BYTES = 8, 2**24
BLOCK = 2**20  # bytes that a decoder takes at once; see `headers.in_one_piece`
TURNED = (5, 6, 7, 8)  # EXIF orientations that exchange width and height
# Pillow's own choice by content would include formats that start other programs (Ghostscript).
PLUGINS = {
    "PNG": PngImageFile,
    "JPEG": JpegImageFile,
    "BMP": BmpImageFile,
    "TIFF": TiffImageFile,
    "WebP": WebPImageFile,
}
FORMATS = "PNG, JPEG, BMP, TIFF or WebP"

Converted = TypeVar("Converted")
logger = logging.getLogger(__name__)


def picture_size(source: Source, max_pixels: int = MAX_PIXELS) -> tuple[int, int]:
    """(width, height), orientation honoured; from the header alone where it tells."""
    with _errors_named(source), ExitStack() as held:
        if isinstance(source, np.ndarray):
            size = image_of(source, mask=True).size
            _check_pixels(size, max_pixels)
            return size
        file = held.enter_context(opened(source, _most_bytes(max_pixels)))
        kind, told = _kind_and_size(file, max_pixels)
        if told is not None:
            _check_pixels(told, max_pixels)
        pieces.require_few(file, kind, pixels=False)
        image = PLUGINS[kind](file)
        _check_pixels(image.size, max_pixels)
        if kind == "TIFF":  # some versions of Pillow turn its size themselves
            width, height, orientation = (image.tag_v2.get(tag, 1) for tag in (256, 257, 274))
            return (height, width) if orientation in TURNED else (width, height)
        turned = "exif" in image.info and image.getexif().get(0x0112, 1) in TURNED
        return image.size[::-1] if turned else image.size


def read_picture(source: Source, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """8-bit RGB, EXIF orientation applied; alpha is dropped, 16 bits become 8.

    An array is uint8 [H,W,3] in RGB, or uint8 or uint16 [H,W] in grey. A file object is read from
    its beginning. Raises BadPictureError.
    """
    with decoded(source, max_pixels, to_rgb) as picture:
        return picture


def read_mask(source: Source, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """bool [H,W]: labels above 0; in masks that may have soft edges, above half of the maximum.

    Colours count by their strongest channel. Palettes and small numbers (up to 127) are labels. An
    array may be bool [H,W] too. Raises BadPictureError.
    """
    with decoded(source, max_pixels, to_mask) as mask:
        return mask


@contextmanager
def decoded(
    source: Source,
    max_pixels: int,
    convert: Callable[[Image.Image], Converted],
    at_once: Callable[[Image.Image, bytes], Converted | None] | None = None,
) -> Iterator[Converted]:
    """What `convert` makes of the picture; its pixels count as in flight until the context ends.

    at_once : makes the same of a file that is not decoded yet, and of its bytes; None if it cannot
    """
    with ExitStack() as held:
        with _errors_named(source):
            result = None
            if isinstance(source, np.ndarray):
                image = image_of(source, mask=convert is to_mask)
                _take(held, image.size, max_pixels)
            else:
                file = held.enter_context(opened(source, _most_bytes(max_pixels)))
                image, content = _opened_image(held, file, max_pixels, at_once is not None)
                if at_once is not None and content is not None:
                    result = at_once(image, content)
                if result is None and image.format == "PNG":
                    image = _in_one_piece(content)
            if result is None:
                image.decodermaxblock = BLOCK
                ImageOps.exif_transpose(image, in_place=True)  # copies only what has to be turned
                result = convert(image)
        yield result


def to_rgb(image: Image.Image) -> Image.Image:
    """The image in 8-bit RGB. Raises RefusedError where its values have no known range."""
    if image.mode == "F":
        raise RefusedError(
            "floating-point values have no known range; save the picture with 8 or 16 bits"
        )
    if image.mode.startswith("I"):  # 16-bit grey, also where Pillow widens it to 32
        values = np.asarray(image)
        if values.min() < 0 or values.max() > 65535:
            raise RefusedError("values outside 0 to 65535; save the picture with 8 or 16 bits")
        image = Image.fromarray((values >> 8).astype(np.uint8))
    return _rgb(image)


def to_mask(image: Image.Image) -> np.ndarray:
    """The image as `read_mask` describes it."""
    plain = image.mode in ("L", "1") or image.mode.startswith(("I", "F"))
    values = np.asarray(image if plain else _strongest(_rgb(image)))
    if image.mode == "F":
        values = np.nan_to_num(values)
    most = values.max()
    labels = image.mode in ("P", "1") or most < 128
    return values > (0 if labels else most / 2)


def _strongest(image: Image.Image) -> Image.Image:
    """The largest channel of RGB, in grey."""
    red, green, blue = image.split()
    return ImageChops.lighter(ImageChops.lighter(red, green), blue)


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")  # which Pillow asks for, to drop the transparency then
    if image.mode != "RGB":
        return image.convert("RGB")
    image.load()  # `convert` would copy it too
    return image


def _opened_image(
    held: ExitStack, file: BinaryIO, max_pixels: int, whole: bool
) -> tuple[ImageFile.ImageFile, bytes | None]:
    """The picture, not decoded yet; its pixels are taken into `held`.

    And its bytes, if it is of a format that is read as a whole; with `whole`, also those of a JPEG
    whose length fits its size.
    """
    kind, size = _kind_and_size(file, max_pixels)
    pieces.require_few(file, kind, pixels=True)
    if size is None:
        image = PLUGINS[kind](file)
        _take(held, image.size, max_pixels)
        return image, _short(file, image.size) if whole and kind == "JPEG" else None
    _take(held, size, max_pixels)  # reading the file has to wait for memory too
    content = file.read()
    image = PLUGINS[kind](io.BytesIO(content))
    if image.size != size:
        raise RefusedError("its header and its content differ in size; save it again")
    return image, content


def _in_one_piece(png: bytes) -> ImageFile.ImageFile:
    return PngImageFile(io.BytesIO(headers.in_one_piece(png)))


def _short(file: BinaryIO, size: tuple[int, int]) -> bytes | None:
    """All bytes of the file, which stays where it is; None if they are too many for its pixels."""
    place = file.tell()
    length = file.seek(0, io.SEEK_END)
    file.seek(0)
    content = file.read() if length <= _most_bytes(size[0] * size[1]) else None
    file.seek(place)
    return content


def _kind_and_size(file: BinaryIO, max_pixels: int) -> tuple[str, tuple[int, int] | None]:
    """The format, and the size where the first bytes tell it; the file's length is checked."""
    head = file.read(headers.LENGTH)
    length = file.seek(0, io.SEEK_END)
    file.seek(0)
    kind = headers.kind_of(head)
    if kind is None:
        raise RefusedError(f"not a {FORMATS} file, whatever its name; save it as one of these")
    size = headers.size_in(head, kind)
    pixels = max_pixels if size is None else min(max_pixels, size[0] * size[1])
    if length > _most_bytes(pixels):
        raise RefusedError(
            f"the file has {length / 1e6:.0f} MB, more than the {_most_bytes(pixels) / 1e6:.0f} MB "
            f"allowed for {_megapixels(pixels)}; save it again",
            "max_pixels",
        )
    return kind, size


def _most_bytes(pixels: int) -> int:
    return PIXEL_BYTES * pixels + METADATA_BYTES


def _take(held: ExitStack, size: tuple[int, int], max_pixels: int) -> None:
    """Wait until the picture's pixels may be in flight; refuse it where they are too many."""
    _check_pixels(size, max_pixels)
    held.enter_context(IN_FLIGHT.taken(size[0] * size[1]))


def _check_pixels(size: tuple[int, int], max_pixels: int) -> None:
    if size[0] * size[1] > max_pixels:
        raise RefusedError(
            f"{size[0]}×{size[1]} pixels, more than the {_megapixels(max_pixels)} allowed; "
            "resize it",
            "max_pixels",
        )


def _megapixels(pixels: int) -> str:
    return f"{pixels / 1e6:g} megapixels" if pixels >= 100_000 else f"{pixels} pixels"


@contextmanager
def _errors_named(source: Source) -> Iterator[None]:
    """Whatever reading and decoding raise becomes a BadPictureError that names the picture."""
    try:
        yield
    except RefusedError as error:
        raise BadPictureError(f"{name_of(source)}: {error}", error.setting) from error
    except Exception as error:  # decoders raise what they like, SyntaxError among it
        if isinstance(error, OSError) and error.errno is not None:
            text = f"cannot be read ({error.strerror})"
        else:
            reason = str(error) or type(error).__name__
            text = f"does not decode ({reason}); remove it, or skip pictures that do not decode"
        raise BadPictureError(f"{name_of(source)}: {text}") from error


def _silence_decoders() -> None:
    """What a decoder says about a broken file is in the exception, or changes no pixel.

    Its Python warnings are filtered by module: `warnings.catch_warnings` is not for threads.
    """
    warnings.filterwarnings("ignore", module=r"PIL\.")
    logging.getLogger("PIL").setLevel(logging.CRITICAL)
    try:  # libtiff writes to the descriptor of stderr, unless it has no handler
        libtiff = ctypes.CDLL(Image.core.__file__)
        libtiff.TIFFSetErrorHandler(None)
        libtiff.TIFFSetWarningHandler(None)
    except (AttributeError, OSError):
        logger.debug("libtiff is out of reach: its messages stay on stderr")


_silence_decoders()
# glibc gives blocks above 32 MB back to the system as soon as they are free. Pillow's usual 16 MB
# stay with the thread that had them, so that every thread would keep the memory of a large picture.
Image.core.set_block_size(2**26)
