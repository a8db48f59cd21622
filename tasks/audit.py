"""Names the training pictures that are least like the others: defective ones spoil a model."""

import csv
import logging
from dataclasses import dataclass
from pathlib import Path

from common.errors import printable
from common.files import whole_file
from common.tail import steady_tail
from datasets.transforms import Transform
from evaluation.audit import Unusual, draw_audit
from evaluation.scale import Scale
from tasks.calibration import NormalPictures

logger = logging.getLogger(__name__)

NAMED = 5  # in one message
TABLE, SHEET = "training.csv", "audit.png"


@dataclass(frozen=True)
class Audited:
    """A training picture. `p_value`: of its score among the others; `beyond`: less than 1/n."""

    index: int
    path: Path
    score: float
    p_value: float
    beyond: bool


def audit(found: NormalPictures) -> list[Audited]:
    """All training pictures, the most unusual first.

    The p-value is from the tail that the rest of the scores shows; below the tail it is the share
    of scores at least as high.
    """
    n = len(found.image)
    order = sorted(range(n), key=lambda i: -found.image[i])
    tail = steady_tail([found.image[i] for i in reversed(order)])
    rows = []
    for rank, i in enumerate(order):
        score = found.image[i]
        p = tail.exceeded(score) if score > tail.start else (rank + 1) / n
        rows.append(Audited(i, Path(found.samples[i].path), score, p, p < 1 / n))
    return rows


def forget(folder: Path) -> None:
    """Delete what an earlier run wrote of its training pictures: it is not of the model that is
    there now."""
    for name in (TABLE, SHEET, "folds.json", "folds.png"):
        (folder / name).unlink(missing_ok=True)


def write_audit(rows: list[Audited], folder: Path) -> None:
    """Write training.csv, and name the pictures that are beyond the rest."""
    with whole_file(folder / TABLE) as temporary:
        options = {"newline": "", "encoding": "utf-8", "errors": "backslashreplace"}
        with temporary.open("w", **options) as file:
            table = csv.writer(file)
            table.writerow(["path", "score", "p_value", "beyond"])
            for row in rows:
                table.writerow([row.path, f"{row.score:.6f}", f"{row.p_value:.3g}", row.beyond])
    if not (beyond := [row for row in rows if row.beyond]):
        return
    named = ", ".join(printable(row.path.name) for row in beyond[:NAMED])
    more = f" and {len(beyond) - NAMED} more" if len(beyond) > NAMED else ""
    logger.warning(
        "%d of %d training pictures are unlike the rest (about one is expected): %s%s. Look at "
        "them (--audit True draws them); --exclude FILE leaves defective ones out",
        *(len(beyond), len(rows), named, more),
    )


def draw(
    rows: list[Audited],
    found: NormalPictures,
    transform: Transform,
    scale: Scale,
    folder: Path,
    title: str,
) -> None:
    """Draw the most unusual training pictures into audit.png; `title`: the category."""
    maps = {index: pixels for _, index, pixels in found.unusual}
    entries = [
        Unusual(
            f"{row.path.parent.name}/{row.path.name}",
            *(row.score, row.p_value, row.beyond),
            *(transform.picture(row.path), maps[row.index]),
        )
        for row in rows
        if row.index in maps
    ]
    target = folder / SHEET
    draw_audit(target, entries, scale, title)
    logger.info("the most unusual training pictures: %s", target)
