"""What every run has in common: the record checked, weights named, time accounted for."""

import logging
from pathlib import Path

from common.calibration import Calibration
from common.options import folder_name
from common.timing import phase
from datasets.transforms import BadPictureError, Preprocessing, picture_size
from models.checkpoint import CHECKPOINT, Kind, load_record, reading

logger = logging.getLogger(__name__)


def preprocessing_of(record: dict) -> Preprocessing:
    """The preprocessing that a model's `record` asks for.

    The rest of the record that runs rely on is checked too; KeyError, ValueError or TypeError
    where it is damaged.
    """
    folder_name(record["category"])
    weights_line(record)
    preprocessing = Preprocessing.from_record(record["preprocessing"])
    if preprocessing.crop != tuple(record["image_size"]) or not all(
        s > 0 for s in preprocessing.std
    ):
        raise ValueError(f"preprocessing {record['preprocessing']} does not fit the network")
    calibration_of(record)
    return preprocessing


def calibration_of(record: dict) -> Calibration | None:
    """The thresholds in a model's `record`; ValueError or TypeError where they are damaged."""
    known = record["calibration"]
    return None if known is None else Calibration(**known)


def read_record(path: Path, kind: Kind = CHECKPOINT) -> tuple[dict, Preprocessing]:
    """The record of a model's file and the preprocessing it asks for, checked; no arrays yet."""
    record = load_record(path, kind)
    with reading(path, kind):
        return record, preprocessing_of(record)


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
    logger.info("%s", weights_line(record))


def weights_line(record: dict) -> str:
    weights = record["weights"]
    text = "weights: {name} of {backbone} ({origin}), SHA-256 {sha256}"
    return text.format(backbone=record["backbone"], **weights)


def log_phases() -> dict[str, float]:
    """One line with the seconds of every phase since the last such line, and the seconds."""
    seconds = phase.take()
    text = ", ".join(f"{name} {value:.2f}" for name, value in seconds.items())
    logger.info("seconds: %s", text)
    return seconds
