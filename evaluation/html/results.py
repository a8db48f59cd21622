"""Reads the results of one category: metrics.json, scores.csv, training.csv. Checks them."""

import csv
import io
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta

from common.errors import UsageError, WorkError, shortened

MOST_BYTES = 64 * 2**20  # of a file; scores of 100,000 pictures take 10 MB
MOST_ROWS = 100_000
AGAIN = "run val.py again"

Share = Annotated[float, Meta(ge=0, le=1)]
Count = Annotated[int, Meta(ge=0)]
Interval = tuple[Share, Share] | None
T = TypeVar("T")


@dataclass(frozen=True)
class Level:
    """Figures of images or of pixels; None where the test pictures do not allow them."""

    auroc: float | None = None
    ap: float | None = None
    f1_max: float | None = None
    threshold: float | None = None
    aupro: float | None = None
    aupro_fpr_limit: float | None = None


@dataclass(frozen=True)
class Promise:
    """What the threshold of a false-alarm rate did on the test pictures; 95 % intervals."""

    fpr: Annotated[float, Meta(gt=0, lt=1)]
    threshold: float
    extrapolated: bool
    smallest_fpr: Share
    false_alarms: Count
    good: Count
    false_alarm_rate: Share | None
    false_alarm_interval: Interval
    found: Count
    defective: Count
    recall: Share | None
    recall_interval: Interval


@dataclass(frozen=True)
class Normal:
    """Image scores of good pictures, ascending, and the rank of each among all, from 0."""

    pictures: Annotated[int, Meta(ge=1)]
    source: str
    image: Annotated[list[float], Meta(min_length=1, max_length=10_000)]
    ranks: list[Count]

    def __post_init__(self):
        if len(self.image) != len(self.ranks) or self.ranks[-1] >= self.pictures:
            raise ValueError("normal: expected one rank below `pictures` for each score")
        if self.image != sorted(self.image) or self.ranks != sorted(set(self.ranks)):
            raise ValueError("normal: expected ascending scores and ranks")


@dataclass(frozen=True)
class Seconds:
    fit: float | None
    picture: float


@dataclass(frozen=True)
class Confusion:
    """At the kept threshold; of an earlier program there is none."""

    precision: Share | None
    recall: Share | None
    f1: Share | None


@dataclass(frozen=True)
class Metrics:
    """metrics.json."""

    category: str
    image: Level
    pixel: Level
    pictures: dict[str, Count]
    skipped: Count
    model: dict[str, Any]
    promise: Promise | None
    threshold_from: Literal["fpr", "f1", "given"] | None
    threshold: float | None
    normal: Normal | None
    seconds: Seconds
    created: str
    version: str | None = None
    confusion: Confusion | None = None

    def __post_init__(self):
        if (self.threshold is None) != (self.threshold_from is None):
            raise ValueError("expected both or neither of `threshold` and `threshold_from`")


@dataclass(frozen=True)
class Tested:
    """A row of scores.csv: a test picture. Without normal scores it has no p-value."""

    path: str
    kind: Annotated[str, Meta(min_length=1)]
    score: float
    p_value: Share | None
    normalised: Share | None
    verdict: Literal["good", "defective", "unknown"]

    @property
    def defective(self) -> bool:
        return self.kind != "good"


@dataclass(frozen=True)
class Learned:
    """A row of training.csv: a training picture and its left-out score."""

    path: str
    score: float
    p_value: Share
    beyond: bool


@dataclass(frozen=True)
class Results:
    """`training` is None where training.csv does not exist."""

    metrics: Metrics
    tested: list[Tested]
    training: list[Learned] | None


def read_results(folder: Path) -> Results:
    """The results in `folder`. UsageError where there are none, WorkError for a damaged file."""
    needed = [folder / "metrics.json", folder / "scores.csv"]
    for path in needed:
        if not path.is_file():
            raise UsageError(
                f"{folder}: no {path.name} in it; run val.py first, and give the folder of one "
                "category, for example output/bottle"
            )
    metrics = _metrics(needed[0])
    tested = _rows(needed[1], Tested)
    if not tested:
        raise WorkError(f"{needed[1]}: no test pictures in it; {AGAIN}")
    path = folder / "training.csv"
    return Results(metrics, tested, _rows(path, Learned) if path.is_file() else None)


def content(path: Path, most: int = MOST_BYTES) -> bytes:
    """The bytes of a file; WorkError if there are more than `most`, or it cannot be read."""
    try:
        with path.open("rb") as file:
            data = file.read(most + 1)
    except OSError as error:
        raise WorkError(f"{path}: cannot be read ({error.strerror or error})") from error
    if len(data) > most:
        raise WorkError(f"{path}: more than {most // 2**20} MiB; {AGAIN}")
    return data


def _metrics(path: Path) -> Metrics:
    try:
        return msgspec.json.decode(content(path), type=Metrics)
    except (msgspec.DecodeError, RecursionError, UnicodeError) as error:
        raise _damaged(path, error) from error


def _rows(path: Path, kind: type[T]) -> list[T]:
    """The rows of a CSV file whose columns are the fields of `kind`."""
    try:
        table = csv.DictReader(io.StringIO(content(path).decode("utf-8"), newline=""), strict=True)
        rows = []
        for row in table:
            if len(rows) == MOST_ROWS:
                raise ValueError(f"more than {MOST_ROWS} rows")
            rows.append(_row(row, kind))
        return rows
    except (csv.Error, ValueError) as error:
        line = f"line {table.line_num}: " if not isinstance(error, UnicodeError) else ""
        raise _damaged(path, f"{line}{error}") from error


def _row(row: dict, kind: type[T]) -> T:
    if None in row or None in row.values():
        raise ValueError("wrong number of cells")
    empty = {name: value or None for name, value in row.items()}
    found = msgspec.convert(empty, kind, strict=False)  # "0.5" is a number
    for name, value in vars(found).items():
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"{name} {value}: expected a finite number")
    return found


def _damaged(path: Path, reason: object) -> WorkError:
    return WorkError(
        f"{path}: damaged, or from another version ({shortened(str(reason), 200)}); {AGAIN}"
    )
