"""Writes figures to files and as lines of text."""

import csv
import json
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path

import numpy as np

from common import __version__
from common.calibration import Normal, Rule, ranks
from common.files import whole_file
from common.timing import phase
from evaluation.confusion import Confusion
from evaluation.figures import Figures
from evaluation.promise import Promise
from evaluation.roc import write_roc
from evaluation.scale import verdict
from evaluation.testing import ScoredPicture


def write_figures(
    folder: Path,
    category: str,
    tested: Sequence[ScoredPicture],
    figures: Figures,
    rule: Rule,
    more: dict,
    promised: Rule | None = None,
) -> None:
    """Write metrics.json, scores.csv, roc.csv, roc.png, pr.png and histogram.png into `folder`.

    Verdicts are by `rule`. `more` holds further entries of metrics.json. `promised`: the rule of
    the false-alarm rate, if `rule` is another one.
    """
    defective = sum(picture.defective for picture in tested)
    counts = {"good": len(tested) - defective, "defective": defective}
    promise = Promise.of(promised or rule, tested)
    confusion = Confusion.of(rule.threshold, tested)
    record = {
        "category": category,
        **figures.record(),
        "pictures": counts,
        "promise": promise and promise.record(),
        "threshold_from": rule.origin,
        "threshold": rule.threshold,
        "confusion": confusion and confusion.record(),
        "normal": _normal(rule.normal),
        **more,
        "version": __version__,
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }
    with whole_file(folder / "metrics.json") as temporary:
        temporary.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    with whole_file(folder / "scores.csv") as temporary:
        write_scores(temporary, tested, rule)
    with phase("curves"):
        _draw_curves(folder, category, tested, figures, rule.threshold)


def _normal(normal: Normal | None) -> dict | None:
    """The entry `normal` of metrics.json: image scores of good pictures, ascending, and ranks."""
    if normal is None:
        return None
    return {
        "pictures": normal.pictures,
        "source": normal.source,
        "image": normal.image.ascending,
        "ranks": list(ranks(normal.pictures)),
    }


def _draw_curves(
    folder: Path,
    category: str,
    tested: Sequence[ScoredPicture],
    figures: Figures,
    threshold: float | None,
) -> None:
    from evaluation.curves import draw_histogram, draw_precision_recall, draw_roc

    levels = {"image": figures.image, "pixel": figures.pixel}
    levels = {name: ranking for name, ranking in levels.items() if ranking}
    write_roc(folder / "roc.csv", levels)
    for name, draw in (("roc.png", draw_roc), ("pr.png", draw_precision_recall)):
        if levels:
            draw(levels, folder / name, category)
        else:
            (folder / name).unlink(missing_ok=True)  # it would be that of an earlier run
    scores = np.array([picture.score for picture in tested])
    defective = np.array([picture.defective for picture in tested])
    draw_histogram(scores, defective, threshold, folder / "histogram.png", category)


def write_scores(target: Path, tested: Sequence[ScoredPicture], rule: Rule) -> None:
    """Write the table scores.csv: path, kind, score, p-value, normalised score and verdict."""
    with target.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file:
        rows = csv.writer(file)
        rows.writerow(["path", "kind", "score", "p_value", "normalised", "verdict"])
        for picture in tested:
            score = picture.score
            more = (_cell(rule.p_value(score)), _cell(rule.normalised(score)))
            judged = verdict(score, rule.threshold)
            rows.writerow([picture.path, picture.kind, f"{score:.6f}", *more, judged])


def _cell(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"


def table(figures: Figures) -> str:
    """The figures as lines of text; a dash where one is missing."""
    lines = [f"{'':8}{'AUROC':>8}{'AP':>8}{'F1-max':>8}{'threshold':>11}{'AUPRO':>8}"]
    for name, level in figures.record().items():
        values = [level.get(key) for key in ("auroc", "ap", "f1_max")]
        cells = "".join(f"{_text(value):>8}" for value in values)
        rest = f"{_text(level.get('threshold')):>11}{_text(level.get('aupro')):>8}"
        lines.append(f"{name:8}{cells}{rest}")
    return "\n".join(lines)


def closing_lines(category: str, image: float | None, pixel: float | None) -> str:
    """The two lines that scripts read: AUROC of pictures and of pixels."""
    return (
        f"Class:{category}: Image AUC: {_text(image, 3)}\n"
        f"Class:{category}: Pixel AUC: {_text(pixel, 3)}"
    )


def _text(value: float | None, digits: int = 4) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
