"""Collects the scores of judged pictures, for `python -m evaluation.drift`."""

from contextlib import nullcontext
from pathlib import Path

from common.errors import UsageError
from common.score_log import ModelLine, ScoreLog
from inspection import Inspector


def collecting(path: Path | None, inspector: Inspector):
    """A context manager that gives the open file of --stats, or None without one.

    UsageError if the file cannot be used or the model has no scores of good pictures.
    """
    if path is None:
        return nullcontext()
    record = inspector.record
    if (normal := record.calibration.normal) is None:
        raise UsageError(
            f"{inspector.path}: has no scores of good pictures to compare with; train it with "
            "--calibrate True",
            "stats",
        )
    return ScoreLog(path, ModelLine.of(record.category, record.digests, normal))
