"""What composed pictures share: canvas, panels, text in any script, saving. Uses Pillow alone."""

from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from itertools import groupby
from pathlib import Path
from unicodedata import east_asian_width

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from PIL.Image import Resampling

from common.files import whole_file
from evaluation.plots import INK

LABEL = "#606060"

# As in `evaluation.plots`, but names of files: Pillow finds fonts of the system by them.
WIDE_FONTS = (
    "NotoSansCJK-Regular.ttc",
    "NotoSansCJKsc-Regular.otf",
    "SourceHanSansSC-Regular.otf",
    "wqy-zenhei.ttc",
    "wqy-microhei.ttc",
    "DroidSansFallbackFull.ttf",
    "msyh.ttc",
    "simhei.ttf",
    "PingFang.ttc",
)


def new_canvas(width: int, height: int) -> Image.Image:
    """A white RGB picture of this size in pixels."""
    return Image.new("RGB", (width, height), "white")


def write(
    canvas: Image.Image, at: tuple[float, float], text: str, size: int, color: str = INK
) -> float:
    """Write one line of `text`, whose baseline begins `at` (x, y); returns the x of its end."""
    x, y = at
    pen = ImageDraw.Draw(canvas)
    for part, font in _parts(text, size):
        pen.text((x, y), part, color, font, anchor="ls")
        x += font.getlength(part)
    return x


def text_width(text: str, size: int) -> float:
    """Width in pixels of one line of text."""
    return sum(font.getlength(part) for part, font in _parts(text, size))


def fitted(text: str, size: int, width: float) -> str:
    """`text`, shortened in the middle if it is wider than `width` pixels."""
    if text_width(text, size) <= width:
        return text
    fits, fails = 0, len(text)
    while fails - fits > 1:
        middle = (fits + fails) // 2
        if text_width(_shortened(text, middle), size) <= width:
            fits = middle
        else:
            fails = middle
    return _shortened(text, fits)


def _shortened(text: str, keep: int) -> str:
    return f"{text[: keep - keep // 2]}…{text[len(text) - keep // 2 :]}"


def _parts(text: str, size: int) -> Iterator[tuple[str, ImageFont.FreeTypeFont]]:
    """Parts of `text` with the font of each: Chinese, Japanese and Korean have their own."""
    for wide, part in groupby(text, lambda c: east_asian_width(c) in "WFH"):
        yield "".join(part), _font(size, wide)


@cache
def _font(size: int, wide: bool) -> ImageFont.FreeTypeFont:
    """The first of the fonts that is installed. Characters it lacks are drawn as boxes."""
    for name in (*(WIDE_FONTS if wide else ()), *_matplotlib_font()):
        try:
            return ImageFont.truetype(name, size)
        except OSError:
            continue
    return ImageFont.load_default(size)


def _matplotlib_font() -> list[str]:
    """The path of DejaVu Sans, which matplotlib brings, found without importing matplotlib."""
    found = find_spec("matplotlib")
    if found is None or found.origin is None:
        return []
    return [str(Path(found.origin).parent / "mpl-data/fonts/ttf/DejaVuSans.ttf")]


def resized(picture: np.ndarray, width: int, height: int) -> np.ndarray:
    """`picture`, uint8 [H,W,3], in the size of a panel; whole multiples keep their pixels."""
    if picture.shape[:2] == (height, width):
        return picture
    how = Resampling.BICUBIC if height % picture.shape[0] else Resampling.NEAREST
    return np.asarray(Image.fromarray(picture).resize((width, height), how))


def resized_map(values: np.ndarray, width: int, height: int) -> np.ndarray:
    """`values`, float32 [H,W], in the size of a panel."""
    if values.shape == (height, width):
        return values
    image = Image.fromarray(np.asarray(values, np.float32))
    return np.asarray(image.resize((width, height), Resampling.BILINEAR))


def resized_mask(mask: np.ndarray, width: int, height: int) -> np.ndarray:
    """`mask`, bool [H,W], in the size of a panel; no speck is lost."""
    if mask.shape == (height, width):
        return mask
    image = Image.fromarray(mask.astype(np.float32))
    return np.asarray(image.resize((width, height), Resampling.BOX)) > 0


def save_image(image: Image.Image, path: Path) -> None:
    """Write `image` to `path` as PNG; the file is complete or missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as temporary:
        image.save(temporary, "PNG", compress_level=1)  # higher levels take longer than drawing
