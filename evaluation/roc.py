"""Points of ROC curves in a file, so that the curves can be drawn again."""

import csv
from itertools import pairwise
from pathlib import Path

import numpy as np

from common.errors import WorkError
from common.files import whole_file
from evaluation.metrics import Ranking

HEAD = ["level", "fpr", "recall"]
STEPS = 200  # at most 2 · STEPS + 1 points per curve


def write_roc(path: Path, levels: dict[str, Ranking]) -> None:
    """Write the curves of `levels`, whose keys are 'image' and 'pixel', with few points each."""
    with (
        whole_file(path) as temporary,
        temporary.open("w", newline="", encoding="utf-8") as file,
    ):
        rows = csv.writer(file)
        rows.writerow(HEAD)
        for level, ranking in levels.items():
            points = zip(*thinned(ranking.fpr, ranking.recall), strict=True)
            rows.writerows([level, f"{fpr:.6g}", f"{recall:.6g}"] for fpr, recall in points)


def thinned(fpr: np.ndarray, recall: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Points of a curve [N], [N]: steps of 1/STEPS in both directions, first and last included."""
    grid = np.linspace(0, 1, STEPS)
    keep = np.concatenate([np.searchsorted(fpr, grid), np.searchsorted(recall, grid)])
    keep = np.unique(np.append(keep, len(fpr) - 1).clip(max=len(fpr) - 1))
    return fpr[keep], recall[keep]


def read_roc(path: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """False positive rate and recall [N], [N] of each level; WorkError if the file is damaged."""
    if not path.is_file():
        raise WorkError(f"{path}: not there, but the figure needs it; run val.py again")
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return _curves(list(csv.reader(file)))
    except (ValueError, csv.Error) as error:
        raise WorkError(f"{path}: no ROC curves in it ({error}); run val.py again") from error


def _curves(rows: list[list[str]]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    if not rows or rows[0] != HEAD:
        raise ValueError(f"expected the header {','.join(HEAD)}")
    points: dict[str, list] = {}
    for number, row in enumerate(rows[1:], 2):
        if len(row) != len(HEAD) or row[0] not in ("image", "pixel"):
            raise ValueError(f"line {number}: expected image or pixel, and two rates")
        rates = float(row[1]), float(row[2])
        if not all(0 <= rate <= 1 for rate in rates):
            raise ValueError(f"line {number}: expected rates from 0 to 1")
        points.setdefault(row[0], []).append(rates)
    for level, curve in points.items():
        if any(a[0] > b[0] or a[1] > b[1] for a, b in pairwise(curve)):
            raise ValueError(f"the rates of {level} decrease")
    return {level: tuple(np.array(curve).T) for level, curve in points.items()}
