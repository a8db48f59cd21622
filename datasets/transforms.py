"""Decodes, resizes, crops and normalises pictures and masks."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from common.errors import WorkError

PNG = b"\x89PNG\r\n\x1a\n"
BLOCK = 2**20  # bytes that a decoder takes at once; see `_in_one_piece`
SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"}


class BadPictureError(WorkError):
    """A picture that does not decode; the text names the file."""


@dataclass(frozen=True)
class Preprocessing:
    """Picture → float32 [3,H,W]; kept in the checkpoint, so that scoring repeats training's.

    resize : the shorter side in pixels (the other keeps the aspect), or (height, width)
    crop : (height, width) cut from the middle
    mean, std : of the three channels of [0,1] RGB (ImageNet's)
    """

    resize: int | tuple[int, int] = 256
    crop: tuple[int, int] = (224, 224)
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)

    @classmethod
    def from_record(cls, record: dict) -> "Preprocessing":
        """From what `record` gave, after a journey through JSON."""
        return cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in record.items()})

    def record(self) -> dict:
        return asdict(self)

    def picture(self, path: Path) -> np.ndarray:
        """uint8 RGB [H,W,3] of the file, resized (bilinear, antialiased) and cropped."""
        return np.asarray(self._fitted(read_picture(path), Image.Resampling.BILINEAR))

    def mask(self, path: Path) -> np.ndarray:
        """bool [H,W] of a mask file, by nearest neighbour, so that it stays a mask."""
        image = Image.fromarray(read_mask(path).view(np.uint8))
        return np.asarray(self._fitted(image, Image.Resampling.NEAREST)).astype(bool)

    def normalize(self, picture: np.ndarray) -> np.ndarray:
        """uint8 [H,W,3] → float32 [3,H,W]."""
        scale = 1 / (255 * np.asarray(self.std, np.float32))
        shift = np.asarray(self.mean, np.float32) / np.asarray(self.std, np.float32)
        out = np.empty((3, *picture.shape[:2]), np.float32)
        np.multiply(picture.transpose(2, 0, 1), scale[:, None, None], out=out)
        out -= shift[:, None, None]
        return out

    def denormalize(self, images: np.ndarray) -> np.ndarray:
        """float32 [B,3,H,W] → uint8 [B,H,W,3], the pictures that were normalised, exactly."""
        mean, std = (np.asarray(v, np.float32)[:, None, None] for v in (self.mean, self.std))
        pictures = np.rint((images * std + mean) * 255).clip(0, 255).astype(np.uint8)
        return np.ascontiguousarray(pictures.transpose(0, 2, 3, 1))

    def seen(self, size: tuple[int, int]) -> float:
        """The part of a picture of (width, height) that the crop keeps, 0…1."""
        width, height = self._resized(size)
        return min(1.0, self.crop[0] / height) * min(1.0, self.crop[1] / width)

    def _resized(self, size: tuple[int, int]) -> tuple[int, int]:
        """(width, height) after resizing a picture of (width, height)."""
        if isinstance(self.resize, int):
            scale = self.resize / min(size)
            return tuple(max(self.resize, round(side * scale)) for side in size)
        return self.resize[1], self.resize[0]

    def _fitted(self, image: Image.Image, resample: Image.Resampling) -> Image.Image:
        """Resized and cropped in one step: what the crop leaves out is never computed.

        The filter reaches across the border of `box`, so that every pixel is that of resizing
        all and cropping then.
        """
        resized = self._resized(image.size)
        sides = []
        for full, small, side in zip(image.size, resized, self.crop[::-1], strict=True):
            start = (small - side) // 2
            sides.append((start * full / small, min(full, (start + side) * full / small)))
        (left, right), (top, bottom) = sides
        return image.resize(self.crop[::-1], resample, box=(left, top, right, bottom))


def picture_size(path: Path) -> tuple[int, int]:
    """(width, height), orientation honoured; from the header alone where it tells."""
    with _opened(path) as image:
        if image.format == "TIFF":  # some versions of Pillow turn its size themselves
            width, height, orientation = (image.tag_v2.get(tag, 1) for tag in (256, 257, 274))
            return (height, width) if orientation in (5, 6, 7, 8) else (width, height)
        turned = "exif" in image.info and image.getexif().get(0x0112, 1) in (5, 6, 7, 8)
        return image.size[::-1] if turned else image.size


def read_picture(path: Path) -> Image.Image:
    """The file as 8-bit RGB, EXIF orientation applied; alpha is dropped, 16 bits become 8."""
    with _opened(path, whole=True) as image:
        ImageOps.exif_transpose(image, in_place=True)  # which copies nothing that lies right
        return _to_rgb(image, path)


def read_mask(path: Path) -> np.ndarray:
    """bool [H,W]: labels above 0; in masks that may have soft edges, above half of the maximum.

    Colours count by their strongest channel. Palettes and small numbers (up to 127) are labels.
    """
    with _opened(path, whole=True) as image:
        image = ImageOps.exif_transpose(image)
        plain = image.mode in ("L", "1") or image.mode.startswith(("I", "F"))
        values = np.asarray(image if plain else _rgb(image))
        values = np.nan_to_num(values if plain else values.max(axis=2))
        labels = image.mode in ("P", "1") or values.max() < 128
    return values > (0 if labels else values.max() / 2)


@contextmanager
def _opened(path: Path, whole: bool = False) -> Iterator[Image.Image]:
    """An open picture; whatever its decoder raises becomes a BadPictureError naming the file.

    `whole`: all of it will be decoded, not its header alone.
    """
    try:
        with Image.open(_source(path) if whole else path) as image:
            if whole:
                image.decodermaxblock = BLOCK
            yield image
    except BadPictureError:
        raise
    except Exception as error:  # decoders raise what they like, SyntaxError among it
        unknown = isinstance(error, UnidentifiedImageError)
        reason = "no known picture format" if unknown else error
        raise BadPictureError(
            f"{path}: does not decode ({reason}); replace or remove it"
        ) from error


def _source(path: Path) -> Path | io.BytesIO:
    with path.open("rb") as file:
        head = file.read(len(PNG))
        return io.BytesIO(_in_one_piece(head + file.read())) if head == PNG else path


def _in_one_piece(png: bytes) -> bytes:
    """The same PNG with consecutive IDAT chunks joined.

    Pillow takes the interpreter once for each chunk of, often, 8 kB and lets go of it while it
    inflates: 60 times a picture, each time waiting for whichever thread holds it then.
    """
    pieces, start, data = [png[: len(PNG)]], len(PNG), []
    while start < len(png):
        size, name = int.from_bytes(png[start : start + 4], "big"), png[start + 4 : start + 8]
        if name == b"IDAT":
            data.append(png[start + 8 : start + 8 + size])
        else:
            pieces += _chunk(data)
            pieces.append(png[start : start + 12 + size])
            data = []
        start += 12 + size
    return b"".join(pieces + _chunk(data))


def _chunk(data: list[bytes]) -> list[bytes]:
    """One IDAT chunk of all `data`; Pillow skips its checksum, zlib has one of its own."""
    joined = b"".join(data)
    return [len(joined).to_bytes(4, "big"), b"IDAT", joined, bytes(4)] if data else []


def _to_rgb(image: Image.Image, path: Path) -> Image.Image:
    if image.mode == "F":
        raise BadPictureError(
            f"{path}: holds floating-point values, whose black and white nobody can know; "
            "save it with 8 or 16 bits"
        )
    if image.mode.startswith("I"):  # 16-bit grey, also where Pillow widens it to 32
        values = np.asarray(image)
        if values.min() < 0 or values.max() > 65535:
            raise BadPictureError(f"{path}: values outside 0…65535; save it with 8 or 16 bits")
        image = Image.fromarray((values >> 8).astype(np.uint8))
    return _rgb(image)


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")  # which Pillow asks for, to drop the transparency then
    if image.mode != "RGB":
        return image.convert("RGB")
    image.load()  # `convert` would copy it too
    return image
