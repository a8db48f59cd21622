"""A row of the corpus: one hostile or odd input, and what the program has to say of it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

SCRIPTS = ("train", "val", "predict", "infer", "export_model")


@dataclass(frozen=True)
class Row:
    """One input.

    family, name : identify the row
    reader : of tests.corpus.readers, or one of SCRIPTS
    make : writes the input into an empty folder; returns what the reader gets, or the arguments of
        the script
    error : a pattern that the documented error contains; None: the input works
    code : of the documented error: 1 (WorkError), 2 (UsageError)
    either : whether the input may work as well
    slow : whether the row starts Paddle, or takes a second; `--quick` leaves it out
    unprivileged : whether it has to run as a user whom permissions bind
    """

    family: str
    name: str
    reader: str
    make: Callable[[Path], object]
    error: str | None = None
    code: int = 1
    either: bool = False
    slow: bool = False
    unprivileged: bool = False

    @property
    def title(self) -> str:
        return f"{self.family}: {self.name} ({self.reader})"


def written(content: bytes | Callable[[], bytes], name: str = "input") -> Callable[[Path], Path]:
    """A `make` that writes `content`, which may be made when the row runs."""

    def make(folder: Path) -> Path:
        path = folder / name
        path.write_bytes(content() if callable(content) else content)
        return path

    return make
