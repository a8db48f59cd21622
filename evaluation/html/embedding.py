"""Pictures as data URIs: small WebP copies of the sheets and curves in a results folder."""

import base64
import io
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from common.errors import WorkError
from common.names import target_names
from common.progress import progress
from evaluation.html.results import AGAIN, Results, Tested, content

MOST_PIXELS, MOST_SIDE = 20_000_000, 16_383  # of one picture; WebP has no longer side
MOST_FILE = 80 * 2**20
# A report of 100 pictures stays below 10 MB, as base64 needs 4 bytes for 3; one of many below 40.
PER_SHEET, ALL_SHEETS = 70_000, 30_000_000
# (largest width, quality), until a sheet is small enough
STEPS = ((1400, 75), (1400, 50), (1000, 60), (700, 55), (500, 40), (320, 30))
CURVES = ("roc.png", "pr.png", "audit.png")


@dataclass(frozen=True)
class Embedded:
    """Data URIs: of the sheet of each test picture, None where it has none, and of the curves."""

    sheets: list[str | None]
    curves: dict[str, str]


def embedded_results(folder: Path, results: Results) -> Embedded:
    """The pictures in `folder` for the report; WorkError for a damaged one."""
    found = find_sheets(folder, results.tested)
    number = sum(path is not None for path in found)
    most = min(PER_SHEET, ALL_SHEETS // max(number, 1))
    every = progress(found, number, "embed", size=lambda path: path is not None)
    sheets = [path and _data_uri(_compact(path, most)) for path in every]
    curves = {name: folder / name for name in CURVES if (folder / name).is_file()}
    return Embedded(sheets, {name: _data_uri(_lossless(path)) for name, path in curves.items()})


def find_sheets(folder: Path, tested: Sequence[Tested]) -> list[Path | None]:
    """The sheet of each test picture in `folder`/pictures, None where none was saved.

    A name for two pictures is decided by which of them were drawn. So where not all were, such
    pictures get none.
    """
    saved = sorted((folder / "pictures").glob("*.png"))
    # scores.csv has names that are not valid Unicode as escapes.
    by_name = {path.name.encode("utf-8", "backslashreplace").decode(): path for path in saved}
    names = [Path(f"{one.kind}_{Path(one.path).name}") for one in tested]
    sheets = [by_name.get(target.name) for target in target_names(names, ".png")]
    if len(saved) < len(tested):
        wanted = Counter(name.with_suffix("") for name in names)
        both = zip(names, sheets, strict=True)
        sheets = [sheet if wanted[name.with_suffix("")] == 1 else None for name, sheet in both]
    return sheets


def _compact(path: Path, most: int) -> bytes:
    """A WebP of at most `most` bytes, if the last of STEPS gives it."""
    image = _opened(path)
    for width, quality in STEPS:
        if image.width > width:
            image = image.resize((width, max(1, round(image.height * width / image.width))))
        if len(data := _webp(image, quality=quality, method=2)) <= most:
            break
    return data


def _lossless(path: Path) -> bytes:
    return _webp(_opened(path), lossless=True)


def _webp(image: Image.Image, **settings) -> bytes:
    file = io.BytesIO()
    image.save(file, "WEBP", **settings)
    return file.getvalue()


def _opened(path: Path) -> Image.Image:
    """A decoded PNG on white ground."""
    data = content(path, MOST_FILE)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a large picture: it is refused below
            image = Image.open(io.BytesIO(data), formats=["PNG"])
            if image.width * image.height > MOST_PIXELS or max(image.size) > MOST_SIDE:
                raise ValueError(f"{image.width} x {image.height} pixels are too many")
            picture = image.convert("RGBA")
        white = Image.new("RGBA", picture.size, "white")
        return Image.alpha_composite(white, picture).convert("RGB")
    except Exception as error:  # decoders raise what they like, SyntaxError among it
        raise WorkError(f"{path}: no picture that can be read ({error}); {AGAIN}") from error


def _data_uri(webp: bytes) -> str:
    return f"data:image/webp;base64,{base64.b64encode(webp).decode()}"
