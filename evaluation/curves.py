"""ROC and precision-recall curves, and the histogram of image scores."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from common.errors import printable
from evaluation.metrics import Ranking
from evaluation.plots import DEFECTIVE, GOOD, INK, QUIET, fonts, new_figure, save_figure

POINTS = 2000  # a screen shows no more, and millions of points take minutes to draw
LEGEND_ROWS = 20  # as many lines of a legend are as high as a panel


class Curve(NamedTuple):
    """The ROC curve of one category: rates [N], [N], and the area below it."""

    category: str
    fpr: np.ndarray
    recall: np.ndarray
    auroc: float


def draw_roc(levels: dict[str, Ranking], path: Path, title: str) -> None:
    """Draw one curve per entry of `levels`, whose keys are 'image' and 'pixel'."""
    figure, axes = _axes(f"{title}: ROC", "false positive rate", "true positive rate")
    axes.plot([0, 1], [0, 1], color=QUIET, linewidth=1, linestyle=":")
    for (name, ranking), color in zip(levels.items(), (DEFECTIVE, GOOD), strict=False):
        x, y = _thinned(ranking.fpr, ranking.recall)
        axes.plot(x, y, color=color, label=f"{name}, area {ranking.auroc:.3f}")
    axes.legend(loc="lower right", frameon=False)
    save_figure(figure, path)


def draw_roc_of_all(panels: dict[str, list[Curve]], path: Path) -> None:
    """Draw the curves of all categories, one panel per key of `panels`: 'image' and 'pixel'.

    A category looks the same in both panels.
    """
    names = list(dict.fromkeys(curve.category for curves in panels.values() for curve in curves))
    styles = {name: _style(i) for i, name in enumerate(names)}
    columns = 1 + (len(names) - 1) // LEGEND_ROWS
    figure = new_figure((5.2 + 2.1 * columns) * len(panels), 5.2)
    places = figure.subplots(1, len(panels), squeeze=False)[0]
    for (level, curves), axes in zip(panels.items(), places, strict=True):
        average = sum(curve.auroc for curve in curves) / len(curves)
        title = f"{level}: ROC curves, mean AUROC {average:.3f}"
        _prepare(axes, title, "false positive rate", "true positive rate")
        axes.plot([0, 1], [0, 1], color=QUIET, linewidth=1, linestyle=":")
        for curve in curves:
            text = f"{curve.auroc:.3f}  {_cut(curve.category)}"
            axes.plot(curve.fpr, curve.recall, label=text, linewidth=1.5, **styles[curve.category])
        place = {"loc": "upper left", "bbox_to_anchor": (1, 1), "ncols": columns}
        legend = axes.legend(title="AUROC", frameon=False, fontsize=9, alignment="left", **place)
        for text in legend.get_texts():
            text.set(fontfamily=fonts(), parse_math=False)
    save_figure(figure, path)


def draw_precision_recall(levels: dict[str, Ranking], path: Path, title: str) -> None:
    """Draw one curve per entry of `levels`, whose keys are 'image' and 'pixel'."""
    figure, axes = _axes(f"{title}: precision and recall", "recall", "precision")
    for (name, ranking), color in zip(levels.items(), (DEFECTIVE, GOOD), strict=False):
        x, y = _thinned(ranking.recall, ranking.precision)
        f1, _ = ranking.f1_max
        text = f"{name}, AP {ranking.average_precision:.3f}, best F1 {f1:.3f}"
        axes.plot(x, y, color=color, label=text)
    axes.legend(loc="lower left", frameon=False)
    save_figure(figure, path)


def draw_histogram(
    scores: np.ndarray, defective: np.ndarray, threshold: float | None, path: Path, title: str
) -> None:
    """Draw the histograms of image scores [N], one per value of `defective` (bool [N])."""
    figure, axes = _axes(f"{title}: image scores", "image score", "pictures", square=False)
    edges = bins(scores, threshold)
    groups = [("good", GOOD, scores[~defective]), ("defective", DEFECTIVE, scores[defective])]
    for name, color, group in groups:
        if len(group):
            text = f"{len(group)}{_wrong(name, group, threshold)}"
            axes.hist(group, edges, color=color, alpha=0.65, label=f"{name} ({text})")
    if threshold is not None:
        text = f"threshold {threshold:.4g}"
        axes.axvline(threshold, color=INK, linewidth=1.2, linestyle="--", label=text)
    axes.yaxis.get_major_locator().set_params(integer=True)
    axes.legend(frameon=False)
    save_figure(figure, path)


def _wrong(name: str, scores: np.ndarray, threshold: float | None) -> str:
    """How many of a group of pictures get a wrong verdict, for the legend."""
    if threshold is None:
        return ""
    called = int(np.count_nonzero(scores >= threshold))
    return f", {called} false alarms" if name == "good" else f", {len(scores) - called} missed"


def bins(scores: np.ndarray, threshold: float | None) -> np.ndarray:
    """Edges of bins of one width for a histogram of `scores` [N].

    A threshold among the scores is an edge: no bar is on both sides of it.
    """
    edges = np.histogram_bin_edges(scores, bins=min(40, max(10, len(scores) // 3)))
    if threshold is None or not edges[0] <= threshold <= edges[-1]:
        return edges
    width = edges[1] - edges[0]
    below = int(np.ceil((threshold - edges[0]) / width))
    above = int(np.ceil((edges[-1] - threshold) / width))
    return threshold + width * np.arange(-below, above + 1)


def _style(i: int) -> dict:
    """Colour and dashes of curve `i`: ten colours, then the same with other dashes."""
    return {"color": f"C{i % 10}", "linestyle": ("-", "--", "-.", ":")[i // 10 % 4]}


def _cut(name: str) -> str:
    name = printable(name)
    return name if len(name) <= 24 else f"{name[:23]}…"


def _axes(title: str, x: str, y: str, square: bool = True):
    figure = new_figure(5.2, 5.0) if square else new_figure(6.4, 4.0)
    axes = figure.add_subplot()
    _prepare(axes, title, x, y, square)
    return figure, axes


def _prepare(axes, title: str, x: str, y: str, square: bool = True) -> None:
    axes.set_title(title, color=INK, fontsize=11, fontfamily=fonts(), parse_math=False)
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.spines[["top", "right"]].set_visible(False)
    if square:
        axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")


def _thinned(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """About 2·POINTS of the curve's points at most: half of them even in number, half along x."""
    if len(x) <= 2 * POINTS:
        return x, y
    by_number = np.linspace(0, len(x) - 1, POINTS).astype(int)
    along_x = np.searchsorted(x, np.linspace(x[0], x[-1], POINTS)).clip(max=len(x) - 1)
    keep = np.union1d(by_number, along_x)
    return x[keep], y[keep]
