"""What all drawings share: canvas, colours, fonts, file names, saving."""

import hashlib
import logging
import warnings
from collections import Counter
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from common.files import whole_file

INK, QUIET, GOOD, DEFECTIVE = "#222222", "#8a8a8a", "#2a6f97", "#c1440e"
RESOLUTION = 100  # dots per inch
LONGEST_NAME = 240  # bytes of a file name; most disks take 255
DIGITS = 12  # of the SHA-256 at the end of a name that was cut

# Matplotlib's own font has no Chinese, Japanese or Korean characters; file names may have them.
WIDE_FONTS = (
    "Noto Sans CJK SC",
    "Noto Sans CJK JP",
    "Source Han Sans SC",
    "WenQuanYi Zen Hei",
    "WenQuanYi Micro Hei",
    "Microsoft YaHei",
    "SimHei",
    "PingFang SC",
)

logging.getLogger("matplotlib").setLevel(logging.WARNING)


def new_figure(width: float, height: float):
    """A matplotlib Figure of this size in inches that does not need a screen."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure((width, height), dpi=RESOLUTION, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    return figure


@cache
def fonts() -> list[str]:
    """Font families for text from users: the default, then the installed ones of `WIDE_FONTS`."""
    from matplotlib.font_manager import fontManager

    installed = {font.name for font in fontManager.ttflist}
    return ["DejaVu Sans", *(name for name in WIDE_FONTS if name in installed)]


def target_names(names: Iterable[Path], suffix: str) -> list[Path]:
    """A different name with `suffix` for each relative name, otherwise unchanged if possible.

    The names of long ones are cut, and end with a part of a SHA-256.
    """
    names = [_fitting(name, suffix) for name in names]
    wanted = Counter(name.with_suffix(suffix) for name in names)
    taken, targets = set(), []
    for name in names:
        target = name.with_suffix(suffix)
        if wanted[target] > 1:
            target = name.with_name(name.name + suffix)  # part.png and part.jpg in one folder
        while target in taken:
            target = target.with_name(f"_{target.name}")
        taken.add(target)
        targets.append(target)
    return targets


def _fitting(name: Path, suffix: str) -> Path:
    """`name`, or a shorter one with `suffix` if a disk might not take it."""
    # As the tables write names that are no valid Unicode, so that they are found by these names.
    whole = name.name.encode("utf-8", "backslashreplace")
    if len(whole) + len(suffix) <= LONGEST_NAME:
        return name
    cut = whole[: LONGEST_NAME - len(suffix) - DIGITS - 1].decode(errors="ignore")
    return name.with_name(f"{cut}~{hashlib.sha256(whole).hexdigest()[:DIGITS]}{suffix}")


def save_figure(figure, path: Path) -> None:
    """Write `figure` to `path` as PNG; the file is complete or missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as temporary, warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")  # drawn as boxes
        figure.savefig(temporary, pil_kwargs={"compress_level": 3})
