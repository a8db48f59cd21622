"""What a picture is read from: a path, bytes, a binary file object or an array."""

import io
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image

from common.errors import WorkError

Source = str | Path | bytes | BinaryIO | np.ndarray
SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"}
PIECE = 2**20  # bytes read from a file object at once


class BadPictureError(WorkError):
    """A picture that does not decode or is too large; the text names it.

    `setting` names the parameter that sets the limit, as in `common.errors.UsageError`.
    """

    def __init__(self, text: object = "", setting: str | None = None):
        super().__init__(text)
        self.setting = setting

    @property
    def reason(self) -> str | None:
        """Why the picture was refused, without its name; None if a decoder or a read failed."""
        return str(self.__cause__) if isinstance(self.__cause__, RefusedError) else None


class RefusedError(Exception):
    """Why a picture is not decoded, without its name; `decoding` makes it a BadPictureError."""

    def __init__(self, text: str, setting: str | None = None):
        super().__init__(text)
        self.setting = setting


def name_of(source: Source) -> str:
    """What messages call the picture."""
    if isinstance(source, np.ndarray):
        flat = source.ndim in (2, 3)
        shape = f"{source.shape[1]}×{source.shape[0]}" if flat else f"shape {source.shape}"
        return f"an array of {shape}"
    if isinstance(source, (bytes, bytearray)):
        return f"bytes, {len(source)} of them"
    if isinstance(source, (str, os.PathLike)):
        return str(source)
    name = getattr(source, "name", None)
    return name if isinstance(name, str) else f"an object of type {type(source).__name__}"


@contextmanager
def opened(source: Source, most: int) -> Iterator[BinaryIO]:
    """The bytes of the picture as a file that can seek, at its start.

    A file object is read from its beginning if it can seek, and `most` bytes of it at most.
    Raises RefusedError and OSError.
    """
    if isinstance(source, (str, os.PathLike)):
        with _regular(Path(source)).open("rb") as file:
            yield file
    elif isinstance(source, (bytes, bytearray)):
        yield io.BytesIO(source)
    elif hasattr(source, "read"):
        yield io.BytesIO(_all_of(source, most))
    else:
        raise RefusedError("expected a path, bytes, a binary file object or an array")


def image_of(array: np.ndarray, mask: bool = False) -> Image.Image:
    """An array as a Pillow image. bool is for masks alone."""
    kind, shape = array.dtype.kind + str(array.dtype.itemsize), array.shape
    grey = array.ndim == 2 and kind in ("u1", "u2", *(["b1"] if mask else []))
    colour = array.ndim == 3 and shape[2] == 3 and kind == "u1"
    if not (grey or colour) or array.size == 0:
        bits = "bool, uint8 or uint16" if mask else "uint8 or uint16"
        raise RefusedError(
            f"{array.dtype} {list(shape)}; expected uint8 [H,W,3] in RGB, or {bits} [H,W]"
        )
    return Image.fromarray(array.astype(array.dtype.newbyteorder("="), copy=False))


def _regular(path: Path) -> Path:
    # Opening a pipe would wait for its writer, and opening a device may have effects.
    if not stat.S_ISREG(path.stat().st_mode):
        raise RefusedError("not a regular file")
    return path


def _all_of(file: BinaryIO, most: int) -> bytes:
    if hasattr(file, "seekable") and file.seekable():
        file.seek(0)
    pieces, length = [], 0
    while piece := file.read(PIECE):
        if not isinstance(piece, bytes):
            raise RefusedError("expected a file opened in binary mode")
        pieces.append(piece)
        length += len(piece)
        if length > most:
            text = f"more than the {most / 1e6:.0f} MB allowed for a picture"
            raise RefusedError(text, "max_pixels")
    return b"".join(pieces)
