"""The table over all categories: its columns, its means, and how tables are written as text."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from common.errors import printable

# The categories of MVTec AD (Bergmann et al. 2021, table 1).
TEXTURES = ("carpet", "grid", "leather", "tile", "wood")
OBJECTS = (
    *("bottle", "cable", "capsule", "hazelnut", "metal_nut"),
    *("pill", "screw", "toothbrush", "transistor", "zipper"),
)
GROUPS = {"textures": TEXTURES, "objects": OBJECTS, "all": TEXTURES + OBJECTS}


@dataclass(frozen=True)
class Column:
    """One figure of metrics.json: entry `level`, in it `name`, multiplied by `factor`.

    key : its name in summary.csv and summary.json
    head : two lines
    """

    key: str
    head: str
    level: str
    name: str
    digits: int = 4
    factor: float = 1.0


COLUMNS = (
    Column("image_auroc", "image\nAUROC", "image", "auroc"),
    Column("image_ap", "image\nAP", "image", "ap"),
    Column("image_f1_max", "image\nF1-max", "image", "f1_max"),
    Column("pixel_auroc", "pixel\nAUROC", "pixel", "auroc"),
    Column("pixel_ap", "pixel\nAP", "pixel", "ap"),
    Column("pixel_f1_max", "pixel\nF1-max", "pixel", "f1_max"),
    Column("pixel_aupro", "pixel\nAUPRO", "pixel", "aupro"),
    Column("promised_fpr", "promised\nFPR", "promise", "fpr"),
    Column("false_alarm_rate", "false\nalarms", "promise", "false_alarm_rate"),
    Column("recall", "\nrecall", "promise", "recall"),
    Column("fit_seconds", "fit\ns", "seconds", "fit", digits=1),
    Column("predict_ms", "predict\nms", "seconds", "picture", digits=1, factor=1000),
)


@dataclass(frozen=True)
class Table:
    """Texts of a table; a head may have two lines, the first column has names."""

    head: list[str]
    rows: list[list[str]]

    def text(self) -> str:
        """Lines with columns of equal width."""
        two = [head.split("\n") if "\n" in head else ["", head] for head in self.head]
        lines = [*map(list, zip(*two, strict=True)), *self.rows]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        return "\n".join(
            "  ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])])
            for line in lines
        )

    def markdown(self) -> str:
        """A table in GitHub's Markdown."""
        heads = [" ".join(head.split()) for head in self.head]
        lines = [heads, ["---", *["--:"] * (len(heads) - 1)], *self.rows]
        return "\n".join(f"| {' | '.join(map(_escaped, line))} |" for line in lines)


def values(record: dict) -> dict[str, float | None]:
    """The figures of one metrics.json by column; ValueError if one is not a finite number."""
    return {column.key: _value(record, column) for column in COLUMNS}


def _value(record: dict, column: Column) -> float | None:
    entry = record.get(column.level)
    if entry is None:
        return None
    if not isinstance(entry, dict):
        raise ValueError(f"{column.level}: expected an object, found {entry!r}")
    found = entry.get(column.name)
    if found is None:
        return None
    if type(found) not in (int, float) or not math.isfinite(found):
        raise ValueError(f"{column.level}.{column.name}: expected a number, found {found!r}")
    return found * column.factor


def ordered(names: Iterable[str]) -> list[str]:
    """Categories of MVTec AD in its order; other names as they are."""
    names = list(names)
    known = GROUPS["all"]
    return sorted(names, key=known.index) if set(names) <= set(known) else names


def groups(names: Iterable[str]) -> dict[str, list[str]]:
    """Categories per mean: textures, objects and all if all are MVTec AD's, otherwise all."""
    names = list(names)
    if len(names) < 2:
        return {}
    if not set(names) <= set(GROUPS["all"]):
        return {"all": names}
    found = {group: [n for n in names if n in known] for group, known in GROUPS.items()}
    return {group: members for group, members in found.items() if members}


def label(group: str, every: Iterable[str]) -> str:
    """The name of the row with the mean of `group`, where `every` are the groups there are."""
    return "mean" if list(every) == ["all"] else f"mean of {group}"


def means(figures: dict[str, dict]) -> dict[str, dict[str, float | None]]:
    """The mean of each column per group; `figures` holds the `values` of each category."""
    return {
        group: {c.key: mean(figures[name][c.key] for name in members) for c in COLUMNS}
        for group, members in groups(figures).items()
    }


def mean(known: Iterable[float | None]) -> float | None:
    """The mean of the values that are not None; None where all are."""
    known = [value for value in known if value is not None]
    return sum(known) / len(known) if known else None


def number(value: float | None, digits: int = 4) -> str:
    """The number as text; a dash where there is none."""
    return "-" if value is None else f"{value:.{digits}f}"


def main_table(figures: dict[str, dict]) -> Table:
    """One row per category and per mean."""
    averages = means(figures)
    rows = {printable(name): row for name, row in figures.items()}
    rows |= {label(group, averages): row for group, row in averages.items()}
    return Table(
        ["category", *(column.head for column in COLUMNS)],
        [[name, *(number(row[c.key], c.digits) for c in COLUMNS)] for name, row in rows.items()],
    )


def _escaped(text: str) -> str:
    for character in "\\`*_<[|":
        text = text.replace(character, f"\\{character}")
    return text
