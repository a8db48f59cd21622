"""Mean and standard deviation of figures over repetitions with other random channels."""

import json
import statistics
from dataclasses import dataclass
from pathlib import Path

from common.files import whole_file
from evaluation.figures import Figures
from evaluation.promise import Promise

LEVEL = {"auroc": "AUROC", "ap": "AP", "f1_max": "F1-max", "aupro": "AUPRO"}


@dataclass(frozen=True)
class Seeds:
    """rows : by seed, the value of each figure or None; saved : the seed of the saved model"""

    rows: dict[int, dict[str, float | None]]
    saved: int

    @property
    def names(self) -> list[str]:
        return list(dict.fromkeys(name for row in self.rows.values() for name in row))

    def spread(self, name: str) -> tuple[float, float] | None:
        """Mean and standard deviation (divisor n − 1) of a figure; None if one is missing."""
        values = [row.get(name) for row in self.rows.values()]
        if None in values:
            return None
        return statistics.fmean(values), statistics.stdev(values)

    def record(self) -> dict:
        """The contents of seeds.json."""
        figures = {}
        for name in self.names:
            mean, deviation = self.spread(name) or (None, None)
            values = [row.get(name) for row in self.rows.values()]
            figures[name] = {"mean": mean, "standard_deviation": deviation, "values": values}
        return {"seeds": list(self.rows), "saved": self.saved, "figures": figures}

    def write(self, path: Path) -> None:
        with whole_file(path) as temporary:
            temporary.write_text(json.dumps(self.record(), indent=2) + "\n", encoding="utf-8")

    def text(self) -> str:
        """A table: a line per figure, its mean ± standard deviation, and its value by seed."""
        width = max(9, *(len(f"seed {seed}") + 2 for seed in self.rows))
        head = "".join(f"{f'seed {seed}':>{width}}" for seed in self.rows)
        lines = [f"{'':22}{'mean ± deviation':>18}{head}"]
        for name in self.names:
            spread = self.spread(name)
            text = "-" if spread is None else f"{spread[0]:.4f} ± {spread[1]:.4f}"
            values = (row.get(name) for row in self.rows.values())
            cells = "".join(f"{'-' if v is None else f'{v:.4f}':>{width}}" for v in values)
            lines.append(f"{name:22}{text:>18}{cells}")
        return "\n".join(lines)


def row_of(figures: Figures, promise: Promise | None) -> dict[str, float | None]:
    """The figures of one repetition by name."""
    row = {}
    for level, found in figures.record().items():
        row |= {f"{level} {text}": found[key] for key, text in LEVEL.items() if key in found}
    if promise is not None:
        row["false-alarm rate"] = promise.good.rate
        row["recall"] = promise.defective.rate
    return row
