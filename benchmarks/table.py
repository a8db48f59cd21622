"""The comparison as a Markdown table: medians over rounds, and ratios within rounds."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Row:
    """One line of the table: the value `entry` in the answers of the measurement `measure`.

    more : whether a larger value is better; None for a line without a ratio
    scale : factor from the unit of the answer to the unit of the table
    """

    label: str
    measure: str
    entry: str
    more: bool | None = False
    scale: float = 1.0
    digits: int = 1


ROWS = (
    Row("fit, from PNG files (s)", "fit", "seconds"),
    Row("fit, from PNG files (pictures/s)", "fit", "rate", more=True),
    Row("whole `train.py` process; peers: fit alone (s)", "process", "seconds"),
    Row("one PNG file, median (ms)", "predict_png", "median"),
    Row("one PNG file, 95th percentile (ms)", "predict_png", "p95"),
    Row("one decoded picture, median (ms)", "predict_decoded", "median"),
    Row("one decoded picture, 95th percentile (ms)", "predict_decoded", "p95"),
    Row("PNG files in batches (pictures/s)", "throughput_png", "rate", more=True),
    Row("decoded pictures in batches (pictures/s)", "throughput_decoded", "rate", more=True),
    Row("peak memory after fit (MB)", "memory_fit", "bytes", scale=1e-6, digits=0),
    Row("peak memory after fit and prediction (MB)", "memory", "bytes", scale=1e-6, digits=0),
    Row("saved model (MB)", "save", "saved", scale=1e-6),
    Row("deployed form (MB)", "save", "deployed", scale=1e-6),
    Row("image AUROC", "scores", "auroc", more=None, digits=3),
)


@dataclass
class Results:
    """All answers of the contenders.

    rounds : [contender][measure] the answers, one dict per round
    about : [contender] its text `about`
    absent : [contender] why it cannot run here; such a contender is not in `rounds`
    """

    rounds: dict[str, dict[str, list[dict]]] = field(default_factory=dict)
    about: dict[str, str] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)

    def add(self, name: str, measure: str, answer: dict) -> None:
        self.rounds.setdefault(name, {}).setdefault(measure, []).append(answer)

    def values(self, name: str, row: Row) -> list[float]:
        """One value per round; empty where nothing was measured."""
        answers = self.rounds.get(name, {}).get(row.measure, [])
        return [answer[row.entry] * row.scale for answer in answers]


def ratios(ours: Sequence[float], theirs: Sequence[float], more: bool) -> list[float]:
    """How many times better ours is, one value per round."""
    pairs = zip(ours, theirs, strict=True)
    return [a / b if more else b / a for a, b in pairs]


def table(results: Results, ours: Sequence[str], peers: Sequence[str]) -> str:
    """One line per measured row of ROWS, one column per contender and per pair."""
    pairs = [(own, peer) for own in ours for peer in peers if own not in results.absent]
    names = [*ours, *peers]
    lines = [
        ["", *names, *(f"{own} : {peer}" for own, peer in pairs)],
        ["---", *("---:" for _ in [*names, *pairs])],
    ]
    for row in ROWS:
        values = {name: results.values(name, row) for name in names}
        if any(values.values()):
            cells = [_value(values[name], row) for name in names]
            cells += [_ratio(values[own], values[peer], row) for own, peer in pairs]
            lines.append([row.label, *cells])
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _value(values: list[float], row: Row) -> str:
    return f"{statistics.median(values):.{row.digits}f}" if values else "–"


def _ratio(ours: list[float], theirs: list[float], row: Row) -> str:
    if not (ours and theirs) or row.more is None:
        return ""
    each = ratios(ours, theirs, row.more)
    if max(each) - min(each) < 0.005:
        return f"{each[0]:.2f}×"
    return f"{statistics.median(each):.2f}× ({min(each):.2f}–{max(each):.2f})"
