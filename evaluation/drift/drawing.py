"""drift.png: scores, evidence, and p-values of the judged pictures."""

import math
from pathlib import Path

import numpy as np

from evaluation.drift.check import Drift, p_values
from evaluation.plots import DEFECTIVE, GOOD, INK, QUIET, fonts, new_figure, save_figure

BINS = 10
Z95 = 1.96  # of a two-sided 95 % interval
TO_10 = math.log10(math.e)


def draw_drift(drift: Drift, path: Path, title: str, period: str) -> None:
    """`period`: from when to when the pictures were judged."""
    figure = new_figure(9.0, 8.0)
    figure.suptitle(title, color=INK, fontsize=12, fontfamily=fonts(), parse_math=False)
    places = figure.subplot_mosaic([["scores", "scores"], ["evidence", "histogram"]])
    _draw_scores(drift, places["scores"], period)
    _draw_evidence(drift, places["evidence"])
    _draw_histogram(drift, places["histogram"])
    for name, axes in places.items():
        axes.spines[["top", "right"]].set_visible(False)
        place = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.16)}
        columns = 3 if name == "scores" else 1
        axes.legend(frameon=False, fontsize=8, ncols=columns, **place)
    save_figure(figure, path)


def _draw_scores(drift: Drift, axes, period: str) -> None:
    numbers, out = np.arange(1, len(drift.scores) + 1), drift.left_out
    low, middle, high = np.quantile(drift.reference, (0.05, 0.5, 0.95))
    label = "reference: median; grey: 5 to 95 %"
    axes.axhspan(low, high, color=QUIET, alpha=0.2, linewidth=0)
    axes.axhline(middle, color=QUIET, linewidth=1.2, label=label)
    style = {"linestyle": "none", "marker": ".", "markersize": 4}
    label = f"compared ({(~out).sum()})"
    axes.plot(numbers[~out], drift.scores[~out], color=GOOD, label=label, **style)
    if drift.question.leave_out:
        label = f"left out: at least {drift.cut:.4g} ({out.sum()})"
        axes.plot(numbers[out], drift.scores[out], color=DEFECTIVE, label=label, **style)
        axes.axhline(drift.cut, color=DEFECTIVE, linewidth=1, linestyle=":")
    _mark_change(drift, axes)
    axes.set(xlabel=f"picture, in the order of judging: {period}", ylabel="image score")
    axes.set_title("scores", color=INK, fontsize=10)


def _draw_evidence(drift: Drift, axes) -> None:
    numbers = np.arange(len(drift.scores) + 1)
    axes.plot(numbers, TO_10 * np.append(0, drift.evidence), color=INK, linewidth=1.4)
    label = f"alarm at {drift.level:g}"
    axes.axhline(math.log10(drift.level), color=DEFECTIVE, linestyle="--", label=label)
    _mark_change(drift, axes)
    axes.yaxis.get_major_locator().set_params(integer=True, min_n_ticks=2)
    axes.yaxis.set_major_formatter(lambda power, _: f"$10^{{{power:.0f}}}$")
    axes.set(xlabel="picture", ylabel="evidence of drift")
    axes.set_title("evidence: may be looked at any time", color=INK, fontsize=10)


def _draw_histogram(drift: Drift, axes) -> None:
    found, edges = p_values(drift.reference, drift.compared), np.linspace(0, 1, BINS + 1)
    axes.hist(found, edges, color=GOOD, alpha=0.65, label=f"pictures compared ({len(found)})")
    m, n, part = len(found), len(drift.reference), 1 / BINS
    # Each bin holds about n/BINS reference scores, and these are a sample, too.
    half = Z95 * math.sqrt(m * part * (1 - part) * (1 + m / n))
    label = "expected without drift; grey: 95 % of bins"
    axes.axhspan(max(0, m * part - half), m * part + half, color=QUIET, alpha=0.2, zorder=0)
    axes.axhline(m * part, color=QUIET, linewidth=1.2, label=label)
    axes.set(xlabel="p-value among the reference pictures", ylabel="pictures", xlim=(0, 1))
    axes.yaxis.get_major_locator().set_params(integer=True)
    axes.set_title("p-values", color=INK, fontsize=10)


def _mark_change(drift: Drift, axes) -> None:
    if drift.alarm is not None:
        start = drift.change[0] + 1
        axes.axvline(start, color=QUIET, linestyle="--", label=f"change: picture {start}")
        label = f"alarm: picture {drift.alarm + 1}"
        axes.axvline(drift.alarm + 1, color=DEFECTIVE, linewidth=1, label=label)
