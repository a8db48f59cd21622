"""Makes one table and one figure of the results of several categories.

`python -m evaluation.summary output` reads them from the category folders in `output`.
"""

import csv
import json
import logging
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

from common.errors import UsageError, WorkError, listed, printable, run
from common.files import whole_file, writable_folder
from common.logs import start_logging
from common.options import Parser
from evaluation.metrics import FPR_LIMIT
from evaluation.options import add_compare
from evaluation.published import comparable, comparison
from evaluation.roc import read_roc
from evaluation.table import COLUMNS, groups, label, main_table, means, ordered, values

logger = logging.getLogger(__name__)

LEVELS = ("image", "pixel")
NOTES = f"""\
- A mean leaves out categories without the figure.
- AUPRO is the area up to a false positive rate of {FPR_LIMIT}.
- Promised FPR is the false-alarm rate that the threshold was chosen for. False alarms is the share
  of the good test pictures that this threshold calls defective; recall is the share of the
  defective ones.
- Fit is the time of the whole training; predict is the time per test picture, without drawing."""


class Summary:
    """The results of several categories.

    records : the contents of metrics.json by category
    compare : whether to put published figures of MVTec AD beside them
    """

    def __init__(self, records: dict[str, dict], compare: bool = False):
        self.records = {name: records[name] for name in ordered(records)}
        self.figures = {name: values(record) for name, record in self.records.items()}
        self.published = comparable(list(self.records)) if compare else []
        if compare and not self.published:
            logger.warning("--compare has no effect: none of the categories is one of MVTec AD")

    def text(self) -> str:
        """The tables for a terminal."""
        parts = [table.text() for table in (main_table(self.figures), *self._comparisons())]
        return "\n\n".join([*parts, *self._sources()])

    def markdown(self) -> str:
        """The contents of summary.md."""
        parts = ["# Results of all categories", main_table(self.figures).markdown(), NOTES]
        if names := self._extrapolated():
            names = listed(map(printable, names), most=len(names))
            parts[-1] += f"\n- Extrapolated, for want of normal scores: the threshold of {names}."
        for level, table in zip(LEVELS, self._comparisons(), strict=False):
            parts += [f"## {level.capitalize()} AUROC, ours and published", table.markdown()]
        return "\n\n".join([*parts, *self._sources()]) + "\n"

    def rows(self) -> list[list]:
        """The rows of summary.csv, the header first; None where there is no figure."""
        columns = [(one, level) for one in self.published for level in LEVELS]
        head = [f"{level}_auroc of {one.name}: {one.origin}" for one, level in columns]
        rows = [["category", *(column.key for column in COLUMNS), *head]]
        for name, ours in self.figures.items():
            theirs = [one.category(level, name) for one, level in columns]
            rows.append([name, *ours.values(), *theirs])
        members, averages = groups(self.figures), means(self.figures)
        for group, ours in averages.items():
            theirs = [one.mean(level, group, members[group]) for one, level in columns]
            rows.append([label(group, averages), *ours.values(), *theirs])
        return rows

    def record(self) -> dict:
        """The contents of summary.json."""
        return {
            "categories": self.figures,
            "means": means(self.figures),
            "extrapolated": self._extrapolated(),
            "published": [asdict(one) for one in self.published],
        }

    def write(self, folder: Path) -> None:
        """Write summary.md, summary.csv and summary.json into `folder`."""
        with whole_file(folder / "summary.md") as temporary:
            temporary.write_text(self.markdown(), encoding="utf-8")
        with whole_file(folder / "summary.json") as temporary:
            text = json.dumps(self.record(), indent=2) + "\n"
            temporary.write_text(text, encoding="utf-8")
        with (
            whole_file(folder / "summary.csv") as temporary,
            temporary.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file,
        ):
            csv.writer(file).writerows(self.rows())

    def draw(self, folder: Path) -> None:
        """Draw the ROC curves in `<folder>/<category>/roc.csv` into `<folder>/roc_all.png`."""
        from evaluation.curves import Curve, draw_roc_of_all

        panels: dict[str, list[Curve]] = {level: [] for level in LEVELS}
        for name, figures in self.figures.items():
            known = {level: figures[f"{level}_auroc"] for level in LEVELS}
            known = {level: auroc for level, auroc in known.items() if auroc is not None}
            path = folder / name / "roc.csv"
            curves = read_roc(path) if known else {}
            for level, auroc in known.items():
                if level not in curves:
                    raise WorkError(f"{path}: no curve of level {level} in it; run val.py again")
                panels[level].append(Curve(name, *curves[level], auroc))
        panels = {level: curves for level, curves in panels.items() if curves}
        if panels:
            draw_roc_of_all(panels, folder / "roc_all.png")
        else:
            (folder / "roc_all.png").unlink(missing_ok=True)  # it would be that of an earlier run

    def _comparisons(self) -> list:
        levels = LEVELS if self.published else ()
        return [comparison(self.figures, level, self.published) for level in levels]

    def _sources(self) -> list[str]:
        """One paragraph with the numbered sources, or none."""
        lines = [f"{i}. {one.source}" for i, one in enumerate(self.published, 1)]
        return ["Sources:", "\n".join(lines)] if lines else []

    def _extrapolated(self) -> list[str]:
        promises = {name: record.get("promise") or {} for name, record in self.records.items()}
        return [name for name, promise in promises.items() if promise.get("extrapolated")]


def read(folder: str | Path, names: Iterable[str] | None = None) -> dict[str, dict]:
    """The contents of `<folder>/<category>/metrics.json` by category; of all that there are by
    default. WorkError if a file is missing or damaged."""
    folder = Path(folder)
    if names is None:
        names = [path.parent.name for path in sorted(folder.glob("*/metrics.json"))]
        if not names:
            raise UsageError(f"{folder}: no <category>/metrics.json in it; run val.py first")
    return {name: _read(folder / name / "metrics.json") for name in names}


def _read(path: Path) -> dict:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(record, dict) or not all(
            isinstance(record.get(level), dict) for level in LEVELS
        ):
            raise ValueError("expected an object with the entries image and pixel")
        values(record)
    except (OSError, ValueError, RecursionError) as error:
        raise WorkError(f"{path}: no figures in it ({error}); run val.py again") from error
    return record


def main() -> None:
    parser = Parser(
        "Make one table (summary.md, summary.csv, summary.json) and one figure (roc_all.png) "
        "of all validated categories."
    )
    parser.add_argument(
        "folder",
        type=Path,
        nargs="?",
        default=Path("output"),
        help="val.py's output; the files are written into it",
    )
    add_compare(parser)
    options = parser.parse_args()
    start_logging()
    summary = Summary(read(options.folder), options.compare)
    print(summary.text())
    writable_folder(options.folder, setting=None)
    summary.write(options.folder)
    summary.draw(options.folder)


if __name__ == "__main__":
    run(main)
