"""Compares two ways to score good pictures that a model has not learned from."""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from common.calibration import NormalScores, Threshold
from common.files import whole_file
from evaluation.plots import DEFECTIVE, GOOD, INK, QUIET, fonts, new_figure, save_figure


@dataclass(frozen=True, eq=False)
class FoldCheck:
    """Image scores of the same good pictures, in their order.

    folds : K
    fpr : false-alarm rate of the thresholds that are compared
    left_out : float [n], each picture left out of training by a formula
    k_fold : float [n], each picture scored by a model that was fitted without its part of K
    """

    folds: int
    fpr: float
    left_out: np.ndarray
    k_fold: np.ndarray

    @property
    def thresholds(self) -> tuple[Threshold, Threshold]:
        """Of `left_out` and of `k_fold`, for `fpr`."""
        scores = (self.left_out, self.k_fold)
        left_out, k_fold = (NormalScores.of(s.tolist()).threshold(self.fpr) for s in scores)
        return left_out, k_fold

    @property
    def above(self) -> int:
        """Number of K-fold scores that reach the threshold of the left-out scores."""
        return int((self.k_fold >= self.thresholds[0].value).sum())

    @cached_property
    def distance(self) -> tuple[float, float]:
        """The largest distance of the cumulative distributions, and the share of pairs of
        independent samples of one distribution that are at least so far apart (Kolmogorov 1933,
        Smirnov 1939)."""
        from scipy.stats import ks_2samp

        found = ks_2samp(self.left_out, self.k_fold)
        return float(found.statistic), float(found.pvalue)

    def text(self) -> str:
        """The comparison in one line."""
        left_out, k_fold = (_described(threshold) for threshold in self.thresholds)
        distance, chance = self.distance
        return (
            f"{self.folds} folds: threshold for a false-alarm rate of {self.fpr:g}: {left_out} "
            f"left out one by one, {k_fold} by folds; {self.above} of {len(self.k_fold)} scores by "
            f"folds reach the first; Kolmogorov-Smirnov distance {distance:.3f}, which "
            f"{100 * chance:.2g} % of pairs of samples of one distribution reach by chance"
        )

    def record(self) -> dict:
        """The contents of folds.json."""
        scores = {"left_out": self.left_out, "k_fold": self.k_fold}
        return {
            "folds": self.folds,
            "pictures": len(self.k_fold),
            "fpr": self.fpr,
            **{
                name: {
                    "threshold": threshold.value,
                    "extrapolated": threshold.extrapolated,
                    "scores": values.tolist(),
                }
                for (name, values), threshold in zip(scores.items(), self.thresholds, strict=True)
            },
            "k_fold_above_left_out_threshold": self.above,
            "distance": self.distance[0],
            "by_chance": self.distance[1],
        }

    def write(self, folder: Path, title: str) -> None:
        """Write folds.json and folds.png."""
        with whole_file(folder / "folds.json") as temporary:
            temporary.write_text(json.dumps(self.record(), indent=2) + "\n", encoding="utf-8")
        draw_folds(self, folder / "folds.png", title)


def draw_folds(check: FoldCheck, path: Path, title: str) -> None:
    """Both cumulative distributions, and the thresholds for the false-alarm rate."""
    figure = new_figure(6.4, 5.0)
    axes = figure.add_subplot()
    rows = (("left out one by one", GOOD, check.left_out, "-"),)
    rows += ((f"{check.folds} folds", DEFECTIVE, check.k_fold, "--"),)
    for (name, color, scores, dashes), threshold in zip(rows, check.thresholds, strict=True):
        x, y = np.sort(scores), np.arange(1, len(scores) + 1) / len(scores)
        label = f"{name}; vertical line: its threshold, {_described(threshold)}"
        axes.step(x, y, where="post", color=color, linestyle=dashes, linewidth=1.6, label=label)
        axes.axvline(threshold.value, color=color, linewidth=1, linestyle=dashes)
    share = 1 - check.fpr
    label = f"share {share:.6g}: 1 − false-alarm rate"
    axes.axhline(share, color=QUIET, linewidth=1, linestyle=":", label=label)
    heading = f"{title}: scores of good pictures that were not learned"
    axes.set_title(heading, color=INK, fontsize=11, fontfamily=fonts(), parse_math=False)
    axes.set_xlabel("image score")
    axes.set_ylabel("share of good pictures with at most this score")
    axes.set_ylim(-0.02, 1.02)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.14))
    save_figure(figure, path)


def _described(threshold: Threshold) -> str:
    return f"{threshold.value:.4g}{' (extrapolated)' if threshold.extrapolated else ''}"
