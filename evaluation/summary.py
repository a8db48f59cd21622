"""Prints the figures of several categories in one table: `python -m evaluation.summary output`."""

import json
from pathlib import Path

from common.errors import UsageError, WorkError, run
from common.options import Parser

COLUMNS = (
    ("image", "auroc", "AUROC"),
    ("image", "ap", "AP"),
    ("image", "f1_max", "F1-max"),
    ("pixel", "auroc", "AUROC"),
    ("pixel", "ap", "AP"),
    ("pixel", "f1_max", "F1-max"),
    ("pixel", "aupro", "AUPRO"),
)


def summary(records: dict[str, dict]) -> str:
    """A table of the contents of metrics.json, one row per category, and the means."""
    rows = {
        name: [record[level].get(key) for level, key, _ in COLUMNS]
        for name, record in records.items()
    }
    if len(rows) > 1:
        rows["mean"] = [mean(column) for column in zip(*rows.values(), strict=True)]
    width = max(len(name) for name in (*rows, "category"))
    head = f"{'':{width}}{'image':>8}{'pixel':>24}\n"
    head += f"{'category':{width}}" + "".join(f"{title:>8}" for _, _, title in COLUMNS)
    lines = [
        f"{name:{width}}" + "".join(f"{_text(v):>8}" for v in row) for name, row in rows.items()
    ]
    return "\n".join([head, *lines])


def mean(values) -> float | None:
    """The mean of the values that are not None; None where all are."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def read(folder: Path) -> dict[str, dict]:
    """The contents of all `<folder>/<category>/metrics.json`, by category."""
    found = sorted(folder.glob("*/metrics.json"))
    if not found:
        raise UsageError(f"{folder}: no <category>/metrics.json in it; run val.py first")
    records = {}
    for path in found:
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
            records[path.parent.name] = {level: dict(record[level]) for level, _, _ in COLUMNS}
        except (ValueError, KeyError, TypeError) as error:
            raise WorkError(f"{path}: no figures in it ({error!r}); run val.py again") from error
    return records


def _text(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def main() -> None:
    parser = Parser("Print the figures of all validated categories in one table.")
    parser.add_argument(
        "folder", type=Path, nargs="?", default=Path("output"), help="val.py's output"
    )
    print(summary(read(parser.parse_args().folder)))


if __name__ == "__main__":
    run(main)
