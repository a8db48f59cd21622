"""Masks: files that are none, and sizes that are not their picture's."""

import io
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from tests.corpus import bombs
from tests.corpus.pictures import ANY, KINDS, cut, flipped
from tests.corpus.rows import Row, written

SHAPE = np.zeros((80, 96), bool)
SHAPE[20:40, 30:60] = True


def mask(values: np.ndarray, kind: str = "PNG", **settings) -> Callable[[], bytes]:
    def content() -> bytes:
        file = io.BytesIO()
        Image.fromarray(values).save(file, kind, **settings)
        return file.getvalue()

    return content


def beside(content: Callable[[], bytes]) -> Callable[[Path], tuple[Path, Path]]:
    """A picture of 96×80 and its mask."""

    def make(folder: Path) -> tuple[Path, Path]:
        picture = written(lambda: bombs.saved("PNG"), "x.png")(folder)
        return picture, written(content, "x_mask.png")(folder)

    return make


def rows() -> Iterator[Row]:
    for kind in KINDS:
        for k in range(0, 16, 3):
            make = written(lambda kind=kind, k=k: cut(kind, k))
            yield Row("masks", f"{kind} cut at {k}/16", "mask", make, ANY)
            make = written(lambda kind=kind, k=k: flipped(kind, k, k % 2 == 0))
            yield Row("masks", f"{kind} changed at {k}/16", "mask", make, ANY, either=True)
    for name, values in {
        "of 0 and 255": SHAPE.astype(np.uint8) * 255,
        "of 0 and 1": SHAPE.astype(np.uint8),
        "of one bit": SHAPE,
        "of 16 bits": SHAPE.astype(np.uint16) * 65535,
        "in colour": np.dstack([SHAPE.astype(np.uint8) * 255] * 3),
        "of nothing": np.zeros_like(SHAPE),
        "of all": np.ones_like(SHAPE),
    }.items():
        for kind in ("PNG", "TIFF"):
            content = mask(values, kind)
            yield Row("masks", f"{kind} {name}", "mask beside its picture", beside(content))
    for value in (np.nan, np.inf, -np.inf, -1.0, 1e38):
        content = mask(np.full(SHAPE.shape, value, np.float32), "TIFF")
        yield Row("masks", f"TIFF of {value}", "mask beside its picture", beside(content))
    content = mask(np.full(SHAPE.shape, -(2**31), np.int32), "TIFF")
    yield Row("masks", "TIFF of -2^31", "mask beside its picture", beside(content))
    for width, height in ((1, 1), (80, 96), (97, 80), (96, 81), (20000, 20)):
        content = mask(np.zeros((height, width), np.uint8))
        name, error = f"of {width}×{height}", f"{width}×{height} pixels, but its picture"
        yield Row("masks", name, "mask beside its picture", beside(content), error)
    for name, content in {
        "PNG that claims too many pixels": lambda: bombs.png(20000, 20000),
        "TIFF that claims too many pixels": lambda: bombs.tiff(60000, 60000),
    }.items():
        error = "more than the 100 megapixels"
        yield Row("masks", name, "mask beside its picture", beside(content), error)
    for name, content in {"a text": b"no mask", "no byte": b""}.items():
        error = "not a PNG"
        yield Row("masks", name, "mask beside its picture", beside(lambda c=content: c), error)
    large = written(lambda: bombs.png(9000, 9000, bytes(27001 * 9000), 8, 2))
    yield Row("masks", "PNG of 81 megapixels in colour", "mask", large, slow=True)
