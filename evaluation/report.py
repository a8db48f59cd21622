"""From scored test pictures to figures, verdicts, files and lines on stdout."""

import csv
import importlib
import json
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from common.files import whole_file
from common.timing import phase
from evaluation.metrics import FPR_LIMIT, Ranking, aupro, rank
from evaluation.scale import verdict

logger = logging.getLogger(__name__)


@dataclass
class Tested:
    """What the detector said of N test pictures, beside the truth."""

    paths: list[Path] = field(default_factory=list)
    kinds: list[str] = field(default_factory=list)
    defective: list[bool] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    maps: list[np.ndarray] = field(default_factory=list)
    masks: list[np.ndarray | None] = field(default_factory=list)


@dataclass(frozen=True)
class Figures:
    """Rankings of both levels, None where the test pictures do not allow them."""

    image: Ranking | None
    pixel: Ranking | None
    aupro: float | None

    def record(self) -> dict:
        """What metrics.json holds of the two levels."""
        pixel = _level(self.pixel)
        if pixel:
            pixel |= {"aupro": self.aupro, "aupro_fpr_limit": FPR_LIMIT}
        return {"image": _level(self.image), "pixel": pixel}

    def calibration(self, maps: list[np.ndarray], defective: list[bool]) -> dict | None:
        """What later predictions need: thresholds of best F1 and the usual score of a good pixel.

        Without masks the image threshold also judges pixels: a picture is defective where its
        worst pixel is.
        """
        if self.image is None:
            return None
        threshold = self.image.f1_max[1]
        good = np.concatenate(
            [m.ravel() for m, bad in zip(maps, defective, strict=True) if not bad]
        )
        return {
            "image_threshold": threshold,
            "pixel_threshold": self.pixel.f1_max[1] if self.pixel else threshold,
            "normal_score": float(np.median(good)),
            "source": "best F1 on the test pictures of the last validation",
        }


def score_all(score: Callable, batches: Iterable, keep: Callable) -> Tested:
    """Score every batch; `keep(batch)` sees each before its pictures are let go."""
    tested = Tested()
    for batch in batches:
        scores = score(batch.images)
        tested.paths += [sample.path for sample in batch.samples]
        tested.kinds += [sample.kind for sample in batch.samples]
        tested.defective += [sample.defective for sample in batch.samples]
        tested.scores += scores.image.tolist()
        tested.maps += list(scores.map)
        tested.masks += batch.masks
        keep(batch)
    return tested


def measure(tested: Tested) -> Figures:
    """All figures; says in a line what is left out and why."""
    with phase("start of scikit-learn"):
        importlib.import_module("sklearn.metrics")
    with phase("metrics"):
        image = rank(np.array(tested.defective), np.array(tested.scores))
        if image is None:
            logger.warning("image figures are left out: they need good and defective test pictures")
        pixel, overlap = None, None
        known = [i for i, mask in enumerate(tested.masks) if mask is not None]
        without = len(tested.masks) - len(known)
        blank = [i for i in known if tested.defective[i] and not tested.masks[i].any()]
        masks, maps = [tested.masks[i] for i in known], [tested.maps[i] for i in known]
        if any(mask.any() for mask in masks):
            flat = [np.concatenate([a.ravel() for a in arrays]) for arrays in (masks, maps)]
            pixel = rank(*flat)
        if pixel is None:
            reason = "no defective picture has a mask" if without else "no mask marks a defect"
            logger.warning("pixel figures are left out: %s", reason)
        else:
            overlap = aupro(masks, maps, pixel)
            if without:
                logger.warning("pixel figures leave out %d pictures without a mask", without)
            if blank:
                logger.warning(
                    "%d masks of defective pictures mark nothing in the crop, that of %s first",
                    *(len(blank), tested.paths[blank[0]]),
                )
    return Figures(image, pixel, overlap)


def write_figures(
    folder: Path, category: str, tested: Tested, figures: Figures, more: dict
) -> None:
    """metrics.json, scores.csv, roc.png, pr.png and histogram.png into `folder`."""
    from evaluation.curves import draw_histogram, draw_precision_recall, draw_roc

    counts = {"good": tested.defective.count(False), "defective": tested.defective.count(True)}
    record = {"category": category, **figures.record(), "pictures": counts, **more}
    with whole_file(folder / "metrics.json") as temporary:
        temporary.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    threshold = figures.image.f1_max[1] if figures.image else None
    with whole_file(folder / "scores.csv") as temporary:
        _write_scores(temporary, tested, threshold)
    with phase("curves"):
        levels = {"image": figures.image, "pixel": figures.pixel}
        levels = {name: ranking for name, ranking in levels.items() if ranking}
        for name, draw in (("roc.png", draw_roc), ("pr.png", draw_precision_recall)):
            if levels:
                draw(levels, folder / name, category)
            else:
                (folder / name).unlink(missing_ok=True)  # an earlier run's, of other figures
        scores, defective = np.array(tested.scores), np.array(tested.defective)
        draw_histogram(scores, defective, threshold, folder / "histogram.png", category)


def _write_scores(target: Path, tested: Tested, threshold: float | None) -> None:
    with target.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file:
        rows = csv.writer(file)
        rows.writerow(["path", "kind", "score", "verdict"])
        for path, kind, score in zip(tested.paths, tested.kinds, tested.scores, strict=True):
            rows.writerow([path, kind, f"{score:.6f}", verdict(score, threshold)])


def table(figures: Figures) -> str:
    """The figures as lines of text; a dash where there is none."""
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


def _level(ranking: Ranking | None) -> dict:
    if ranking is None:
        return {}
    f1, threshold = ranking.f1_max
    return {
        "auroc": ranking.auroc,
        "ap": ranking.average_precision,
        "f1_max": f1,
        "threshold": threshold,
    }


def _text(value: float | None, digits: int = 4) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
