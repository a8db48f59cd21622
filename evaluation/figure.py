"""What all figures share: no window, one look, whole files."""

import logging
import warnings
from collections import Counter
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from common.files import whole_file

INK, QUIET, GOOD, DEFECTIVE = "#222222", "#8a8a8a", "#2a6f97", "#c1440e"
RESOLUTION = 100  # dots an inch

# Matplotlib's own font has no Chinese, Japanese or Korean; file names may.
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
    """A matplotlib Figure of this many inches that needs no screen."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure((width, height), dpi=RESOLUTION, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    return figure


@cache
def fonts() -> list[str]:
    """Font families for text that users write, those of `WIDE_FONTS` that are installed last."""
    from matplotlib.font_manager import fontManager

    installed = {font.name for font in fontManager.ttflist}
    return ["DejaVu Sans", *(name for name in WIDE_FONTS if name in installed)]


def target_names(names: Iterable[Path], suffix: str) -> list[Path]:
    """A name with `suffix` for each relative name: its own where that is clear, never one twice."""
    names = list(names)
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


def save_figure(figure, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as temporary, warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")  # drawn as boxes
        figure.savefig(temporary, pil_kwargs={"compress_level": 3})
