"""What every run has in common: several categories, weights named, time accounted for."""

import logging
import math
from collections.abc import Callable
from pathlib import Path

from common.errors import UsageError, WorkError
from common.options import folder_name
from common.timing import phase
from datasets.transforms import BadPictureError, Preprocessing, picture_size
from evaluation.report import Figures, closing_lines
from evaluation.summary import mean, summary
from models import checkpoint, load_detector
from models.padim import PaDiM

logger = logging.getLogger(__name__)


def each_category(names: list[str], work: Callable[[str], Figures | None]) -> int:
    """Do `work` for each name and print the closing lines; the exit code.

    Of several categories one that fails does not stop the others, and the mean of those that
    have figures comes last, as category `all`.
    """
    if len(names) == 1:
        phase.take()
        if (figures := work(names[0])) is not None:
            print(closing_lines(names[0], *_aurocs(figures)))
        return 0
    results, failed = {}, []
    for name in names:
        phase.take()
        try:
            figures = work(name)
        except (UsageError, WorkError, OSError) as error:
            logger.error("%s: %s", name, error)
            failed.append(name)
            continue
        if figures is not None:
            results[name] = figures
            print(closing_lines(name, *_aurocs(figures)), flush=True)
    if results:
        print(summary({name: figures.record() for name, figures in results.items()}))
        columns = zip(*map(_aurocs, results.values()), strict=True)
        print(closing_lines("all", *map(mean, columns)))
    if failed:
        logger.error("failed: %s", ", ".join(failed))
    return 1 if failed else 0


def open_detector(path: Path, device: str) -> tuple[PaDiM, Preprocessing]:
    """The detector in `path` and the preprocessing it needs, its record checked."""
    detector = load_detector(path, device)
    record = detector.record
    with checkpoint.reading(path):
        folder_name(record["category"])
        preprocessing = Preprocessing.from_record(record["preprocessing"])
        if preprocessing.crop != detector.size or not all(s > 0 for s in preprocessing.std):
            raise ValueError(f"preprocessing {record['preprocessing']} does not fit the network")
        if (calibration := record["calibration"]) is not None:
            for key in ("image_threshold", "pixel_threshold", "normal_score"):
                if not math.isfinite(calibration[key]):
                    raise ValueError(f"{key} {calibration[key]}")
    return detector, preprocessing


def warn_of_crop(preprocessing: Preprocessing, path: Path) -> None:
    """Say so where the crop leaves out much of the pictures: nothing is found outside it."""
    try:
        size = picture_size(path)
    except BadPictureError:
        return  # the loader says so, or skips it
    if (seen := preprocessing.seen(size)) < 0.7:
        logger.warning(
            "the crop sees %.0f %% of a %d×%d picture; for all of it give --resize and --img_size "
            "a HEIGHTxWIDTH of the pictures' own shape",
            *(100 * seen, *size),
        )


def log_weights(record: dict) -> None:
    """One line that says which weights this run uses."""
    weights = record["weights"]
    text = "weights: %s of %s (%s), SHA-256 %s"
    logger.info(text, weights["name"], record["backbone"], weights["origin"], weights["sha256"])


def log_phases() -> None:
    """One line with the seconds of every phase since the last such line."""
    seconds = phase.take().items()
    logger.info("seconds: %s", ", ".join(f"{name} {value:.2f}" for name, value in seconds))


def _aurocs(figures: Figures) -> list[float | None]:
    return [level.auroc if level else None for level in (figures.image, figures.pixel)]
