"""Published AUROC of MVTec AD's categories, to compare with; `published.json` has the figures."""

import json
from dataclasses import dataclass
from pathlib import Path

from common.errors import printable
from evaluation.table import GROUPS, Table, groups, label, means, number

PATH = Path(__file__).with_name("published.json")


@dataclass(frozen=True)
class Published:
    """One column of figures and its source.

    by, network : who published it, and the network, as the source calls it
    title, address : of the source
    note : what a reader must know of it, or ""
    image, pixel : AUROC by category
    means : AUROC by level and group, where a source publishes only the mean
    """

    by: str
    network: str
    title: str
    address: str
    note: str
    image: dict[str, float]
    pixel: dict[str, float]
    means: dict[str, dict[str, float]]

    def category(self, level: str, name: str) -> float | None:
        return getattr(self, level).get(name)

    def mean(self, level: str, group: str, names: list[str]) -> float | None:
        """The mean over the categories `names` of `group`, so that it can be compared with ours.

        None where a category is missing, unless `names` is the whole group and its mean published.
        """
        found = [self.category(level, name) for name in names]
        if None not in found:
            return sum(found) / len(found)
        whole = set(names) == set(GROUPS[group])
        return self.means[level].get(group) if whole else None

    @property
    def name(self) -> str:
        return f"{self.by}, {self.network}"

    @property
    def origin(self) -> str:
        return f"{self.title}, {self.address}"

    @property
    def source(self) -> str:
        return f"{self.name}: {self.origin}" + (f"; {self.note}" if self.note else "")


def load() -> list[Published]:
    """All published columns."""
    return [Published(**entry) for entry in json.loads(PATH.read_text(encoding="utf-8"))]


def comparable(names: list[str]) -> list[Published]:
    """The published columns that have a figure for one of the categories or their means."""
    return [one for one in load() if any(_known(one, level, names) for level in ("image", "pixel"))]


def comparison(figures: dict[str, dict], level: str, columns: list[Published]) -> Table:
    """Our AUROC of `level` and the published ones; `figures` holds the values of each category.

    A column's number is its place in `columns`; columns without figures are left out.
    """
    shown = [(i, one) for i, one in enumerate(columns, 1) if _known(one, level, list(figures))]
    key, members, averages, rows = f"{level}_auroc", groups(figures), means(figures), []
    for name in figures:
        published = [one.category(level, name) for _, one in shown]
        rows.append([printable(name), number(figures[name][key]), *map(_short, published)])
    for group, ours in averages.items():
        published = [one.mean(level, group, members[group]) for _, one in shown]
        rows.append([label(group, averages), number(ours[key]), *map(_short, published)])
    heads = [f"{one.by}\n{one.network} ({i})" for i, one in shown]
    return Table([f"{level} AUROC", "ours", *heads], rows)


def _known(one: Published, level: str, names: list[str]) -> bool:
    found = [one.category(level, name) for name in names]
    found += [one.mean(level, group, members) for group, members in groups(names).items()]
    return any(value is not None for value in found)


def _short(value: float | None) -> str:
    return number(value, 3)  # the sources give three digits
