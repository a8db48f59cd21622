"""Names the training pictures that are least like the others: defective ones spoil a model."""

import csv
import logging
from pathlib import Path

from common.errors import printable
from common.files import whole_file
from datasets.transforms import Transform
from evaluation.audit import Unusual, draw_audit
from evaluation.scale import Scale
from inspection.audit import Audited
from inspection.normal import NormalPictures

logger = logging.getLogger(__name__)

NAMED = 5  # in one message
TABLE, SHEET = "training.csv", "audit.png"


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
                table.writerow(
                    [Path(row.source), f"{row.score:.6f}", f"{row.p_value:.3g}", row.beyond]
                )
    if not (beyond := [row for row in rows if row.beyond]):
        return
    named = ", ".join(printable(Path(row.source).name) for row in beyond[:NAMED])
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
            f"{Path(row.source).parent.name}/{Path(row.source).name}",
            *(row.score, row.p_value, row.beyond),
            *(transform.picture(Path(row.source)), maps[row.index]),
        )
        for row in rows
        if row.index in maps
    ]
    target = folder / SHEET
    draw_audit(target, entries, scale, title)
    logger.info("the most unusual training pictures: %s", target)
