"""Chooses the pictures of a file of scores: of one model, of a period, each once."""

import json
import logging
import re
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from pathlib import Path

import numpy as np

from common.errors import UsageError, WorkError, shortened
from common.score_log import Collected, ModelLine, PictureLine, read

logger = logging.getLogger(__name__)

FILES = "best.pdparams", "distribution"  # of a checkpoint's and an export's folder


def select(
    path: Path,
    model_paths: Sequence[Path] = (),
    since: datetime | None = None,
    until: datetime | None = None,
) -> tuple[ModelLine, list[PictureLine]]:
    """The model and its pictures in the file of scores `path`, by time, from `since` to `until`.

    The model is that of `model_paths` (several: an ensemble), by default that of the last picture.
    A picture with the path and score of an earlier one is left out: to judge one file twice is no
    evidence. UsageError if there is no such picture or model, WorkError for a damaged file.
    """
    found = read(path)
    if found.damaged:
        logger.warning(
            "%s: incomplete lines, which are left out: %d, the first is line %d; a program was "
            "killed while it wrote",
            *(path, len(found.damaged), found.damaged[0]),
        )
    model = _model(path, found, model_paths)
    ours = [one for one in found.pictures if one.model == model.model]
    if others := len(found.pictures) - len(ours):
        logger.info("%s: %d pictures of other models are left out", path, others)
    ours = [
        one for one in ours if (not since or since <= one.time) and (not until or one.time < until)
    ]
    chosen = _once(ours)
    if repeated := len(ours) - len(chosen):
        logger.info("%s: %d pictures that were judged again are left out", path, repeated)
    if not chosen:
        raise UsageError(f"{path}: no picture of this model and period in it")
    return model, chosen


def split(
    path: Path, pictures: list[PictureLine], time: datetime | None
) -> tuple[np.ndarray | None, list[PictureLine]]:
    """The scores [m] of the pictures before `time` (None without one), and the other pictures.

    UsageError that names the file `path` if there are none on one side.
    """
    if time is None:
        return None, pictures
    earlier = [one.score for one in pictures if one.time < time]
    if len(earlier) in (0, len(pictures)):
        where = "before" if not earlier else "after"
        raise UsageError(f"{path}: no picture {where} {time.isoformat()} in it", "reference")
    return np.array(earlier), [one for one in pictures if one.time >= time]


def moment(text: str, end: bool = False) -> datetime:
    """A date or a date and time; UTC if there is no zone. ValueError for anything else.

    `end`: a date means the end of its day, not the beginning.
    """
    try:
        found = datetime.fromisoformat(re.sub("[zZ]$", "+00:00", text))
        if end and re.fullmatch(r"[\d-]+", text):
            found += timedelta(days=1)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"expected 2026-01-31 or 2026-01-31T08:00, got {text!r}") from error
    return found if found.tzinfo else found.replace(tzinfo=timezone.utc)


def moment_after(text: str) -> datetime:
    """As `moment`, for the end of a period."""
    return moment(text, end=True)


def _once(pictures: list[PictureLine]) -> list[PictureLine]:
    seen, chosen = set(), []
    for one in pictures:
        if one.path is None or (one.path, one.score) not in seen:
            chosen.append(one)
            seen.add((one.path, one.score))
    return chosen


def _model(path: Path, found: Collected, model_paths: Sequence[Path]) -> ModelLine:
    if not model_paths:
        if not found.pictures:
            raise UsageError(f"{path}: no picture in it; judge some with predict.py --stats {path}")
        return found.models[found.pictures[-1].model]
    wanted = tuple(_digest(path) for path in model_paths)
    # A model that was calibrated again with the same arrays is another one; the last one counts.
    for model in reversed(found.models.values()):
        if model.arrays_sha256 == wanted:
            return model
    names = " + ".join(map(str, model_paths))
    raise UsageError(
        f"{names}: {path} has no scores of this model; it was trained again since, or another "
        "model judged: leave the option out to use the last model in the file",
        "model_path",
    )


def _digest(path: Path) -> str:
    """`arrays_sha256` in the record of a checkpoint or distribution, or of a folder with one."""
    from safetensors import SafetensorError, safe_open

    if path.is_dir():
        path = next((path / name for name in FILES if (path / name).exists()), path)
    if not path.is_file():
        raise UsageError(f"{path}: no model file", "model_path")
    try:
        with safe_open(path, "np") as file:
            record = json.loads((file.metadata() or {})["record"])
        return str(record["arrays_sha256"])
    except (SafetensorError, OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        reason = shortened(str(error), 200)
        raise WorkError(f"{path}: not a model file, or damaged ({reason})") from error
