"""What all drawings share: canvas, colours, fonts, saving."""

import logging
import warnings
from functools import cache
from pathlib import Path

from common.files import whole_file

INK, QUIET, GOOD, DEFECTIVE = "#222222", "#8a8a8a", "#2a6f97", "#c1440e"
RESOLUTION = 100  # dots per inch

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


def save_figure(figure, path: Path) -> None:
    """Write `figure` to `path` as PNG; the file is complete or missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as temporary, warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")  # drawn as boxes
        figure.savefig(temporary, pil_kwargs={"compress_level": 3})
