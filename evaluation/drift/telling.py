"""The result of a comparison in words and as JSON."""

import math
from collections.abc import Sequence
from datetime import datetime

import numpy as np

from common.calibration import LEFT_OUT
from common.errors import printable
from common.score_log import ModelLine, PictureLine
from evaluation.drift.betting import LOWER
from evaluation.drift.check import Drift

LARGEST = 700  # e to a higher power is more than a float holds


def verdict(drift: Drift, model: ModelLine, pictures: Sequence[PictureLine]) -> str:
    """One sentence: whether there is drift, of how many pictures, since when."""
    reference = f"{model.pictures} good pictures ({printable(model.source)[:40]})"
    if drift.earlier is not None:
        reference = f"{len(drift.earlier)} pictures judged before"
    about = (
        f"{len(pictures)} pictures of {printable(model.category)} ({period(pictures)}), compared "
        f"with {reference}"
    )
    if drift.alarm is None:
        return f"{finding(drift)}: {about}"
    return f"{finding(drift)}, {when(pictures[drift.change[0]].time)}: {about}"


def finding(drift: Drift) -> str:
    """The verdict without its data."""
    if drift.alarm is None:
        return "no drift found"
    start, what = drift.change
    return f"drift, {what} since about picture {start + 1}"


def remedy(drift: Drift, model: ModelLine) -> str | None:
    """What to do about an alarm that the model's left-out scores alone can cause; None if none."""
    if drift.change is None or drift.earlier is not None or model.source != LEFT_OUT:
        return None
    if drift.change[1] != LOWER:
        return None
    return (
        "the scores of left-out training pictures are higher than those of new ones with some "
        "models: give --reference TIME, or train with --calibration_dir, to be sure"
    )


def details(drift: Drift) -> list[str]:
    """The numbers behind the verdict, a line each."""
    last, highest = (_power(value) for value in (drift.evidence[-1], drift.evidence.max()))
    reached = "" if drift.alarm is None else f", first reached at picture {drift.alarm + 1}"
    lines = [f"evidence {last}, highest {highest}, alarm at {drift.level:g}{reached}"]
    out, n = int(drift.left_out.sum()), len(drift.scores)
    if drift.question.leave_out:
        lines.append(
            f"left out as defective: {out} of {n} ({100 * out / n:.1f} %), those with a score of "
            f"at least {drift.cut:.6g}; without drift, at most {100 * drift.most_left_out:.1f} % "
            f"are expected (--most_defective {drift.question.most:g}, and false alarms)"
        )
    if drift.distance is None:
        return [*lines, "nothing to compare: all pictures are left out"]
    distance, chance = drift.distance
    today, before = np.median(drift.compared), np.median(drift.reference)
    lines.append(
        f"scores compared: {n - out} with {len(drift.reference)} of the reference, median "
        f"{today:.6g} and {before:.6g}"
    )
    lines.append(
        f"for one look: Kolmogorov-Smirnov distance {distance:.3f}, which {100 * chance:.2g} % of "
        "pairs of samples of one distribution reach by chance"
    )
    return lines


def record(drift: Drift, model: ModelLine, pictures: Sequence[PictureLine]) -> dict:
    """The result as one JSON object; docs/drift.md describes it."""
    alarm, distance = drift.alarm, drift.distance or (None, None)
    start, what = drift.change or (None, None)
    times = [one.time.isoformat() for one in pictures]
    return {
        "drift": alarm is not None,
        "what": what,
        "since": None if start is None else times[start],
        "since_picture": None if start is None else start + 1,
        "alarm": None if alarm is None else times[alarm],
        "alarm_picture": None if alarm is None else alarm + 1,
        "log10_evidence": float(drift.evidence[-1]) * math.log10(math.e),
        "highest_log10_evidence": float(drift.evidence.max()) * math.log10(math.e),
        "alarm_log10_evidence": math.log10(drift.level),
        "pictures": len(pictures),
        "first": times[0],
        "last": times[-1],
        "left_out": int(drift.left_out.sum()),
        "cut": drift.cut if drift.question.leave_out else None,
        "most_left_out": drift.most_left_out,
        "distance": distance[0],
        "by_chance": distance[1],
        "category": model.category,
        "arrays_sha256": model.arrays_sha256,
        "normal_pictures": model.pictures,
        "normal_source": model.source,
        "earlier_pictures": None if drift.earlier is None else len(drift.earlier),
    }


def period(pictures: Sequence[PictureLine]) -> str:
    """From when to when the pictures were judged."""
    return f"{when(pictures[0].time)} to {when(pictures[-1].time)}"


def when(time: datetime) -> str:
    return f"{time:%Y-%m-%d %H:%M} UTC"


def _power(log: float) -> str:
    return f"{math.exp(log):.3g}" if log < LARGEST else f"1e{log / math.log(10):.0f}"
