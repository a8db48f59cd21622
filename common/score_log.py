"""The file of scores that judging programs collect (`--stats`): one JSON object per line.

A line of kind `model` holds what is known of good pictures; the lines of kind `picture` refer to
it. So the file can be read without the model, even after the model was replaced. Each line is
appended by one write, so that several programs can append to one file at the same time.
"""

import hashlib
import logging
import os
import stat
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Annotated

import msgspec

from common.calibration import Normal, NormalScores
from common.errors import UsageError, WorkError, shortened
from common.files import is_file

logger = logging.getLogger(__name__)

LONGEST = 2**20  # bytes of a line
BEGIN = b'{"line":"model",'


class ModelLine(msgspec.Struct, frozen=True, tag_field="line", tag="model"):
    """A model. `model`: identifies the line; `scores`: as in NormalScores.values."""

    model: str
    category: str
    arrays_sha256: tuple[str, ...]
    source: str
    pictures: int
    scores: tuple[float, ...]

    def __post_init__(self):
        _ = self.normal  # ValueError if the scores make no sense

    @classmethod
    def of(cls, category: str, arrays_sha256: tuple[str, ...], normal: Normal) -> "ModelLine":
        """`arrays_sha256`: of each file of the model; several for an ensemble."""
        known = category, arrays_sha256, normal.source, normal.pictures, normal.image.values
        return cls(hashlib.sha256(msgspec.json.encode(known)).hexdigest()[:16], *known)

    @property
    def normal(self) -> NormalScores:
        return NormalScores(self.scores, self.pictures)


class PictureLine(msgspec.Struct, frozen=True, tag_field="line", tag="picture"):
    """A judged picture. `path`: None if it did not come from a file; `model`: of its ModelLine."""

    time: Annotated[datetime, msgspec.Meta(tz=True)]
    model: str
    path: str | None
    score: float
    p_value: float
    verdict: str


@dataclass(frozen=True)
class Collected:
    """The contents of a file.

    models : by their `model`
    pictures : by time
    damaged : numbers of the lines that are not complete, from 1
    """

    models: dict[str, ModelLine]
    pictures: list[PictureLine]
    damaged: list[int]


class ScoreLog:
    """Appends judgements of `model` to the file `path`; a context manager. Threads may share it.

    UsageError with `setting` if the file cannot be written or is no file of scores.
    """

    def __init__(self, path: Path, model: ModelLine, setting: str | None = "stats"):
        self.path, self.model = path, model
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # Without O_NONBLOCK, opening a named pipe would wait for its other end.
            flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | getattr(os, "O_NONBLOCK", 0)
            self._file = os.open(path, flags, 0o666)
        except OSError as error:
            reason = error.strerror or error
            text = f"{path}: cannot be written ({reason}); choose a file with write permission"
            raise UsageError(text, setting) from error
        try:
            self._begin(setting)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> "ScoreLog":
        return self

    def __exit__(self, *error) -> None:
        self.close()

    def close(self) -> None:
        os.close(self._file)

    def add(
        self,
        path: str | None,
        score: float,
        p_value: float,
        verdict: str,
        time: datetime | None = None,
    ) -> None:
        """Append one picture, judged at `time` (None: now); WorkError if that fails."""
        time = time or datetime.now(timezone.utc)
        self._append(PictureLine(time, self.model.model, path, score, p_value, verdict))

    def _begin(self, setting: str | None) -> None:
        """Check what is in the file; append the model if it is not there."""
        status = os.fstat(self._file)
        if not stat.S_ISREG(status.st_mode):
            raise UsageError(f"{self.path}: expected a regular file or a new name", setting)
        if status.st_size:
            with self.path.open("rb") as file:
                if file.read(len(BEGIN)) != BEGIN:
                    text = "not a file of scores, and would be changed; give a new name"
                    raise UsageError(f"{self.path}: {text}", setting)
                file.seek(-1, os.SEEK_END)
                if file.read(1) != b"\n":  # a program was killed while it wrote
                    self._write(b"\n")
                file.seek(0)
                if any(line.startswith(self._start) for line in file):
                    return
        self._append(self.model)

    @property
    def _start(self) -> bytes:
        return BEGIN + b'"model":"%b"' % self.model.model.encode()

    def _append(self, line: ModelLine | PictureLine) -> None:
        self._write(msgspec.json.encode(line) + b"\n")

    def _write(self, data: bytes) -> None:
        try:
            written = os.write(self._file, data)
        except OSError as error:
            raise WorkError(f"{self.path}: cannot be written: {error.strerror or error}") from error
        if written != len(data):
            raise WorkError(f"{self.path}: cannot be written: the disk is full")


def read(path: str | Path) -> Collected:
    """Read a file of scores; incomplete lines, as a killed program leaves them, are left out.

    UsageError if there is no such file, WorkError if it is no file of scores.
    """
    path = Path(path)
    if not is_file(path):
        raise UsageError(f"{path}: no such file; predict.py --stats FILE writes one")
    decoder, found = msgspec.json.Decoder(ModelLine | PictureLine), Collected({}, [], [])
    try:
        with path.open("rb") as file:
            if file.read(len(BEGIN)) != BEGIN:
                raise WorkError(f"{path}: not a file of scores; predict.py --stats FILE writes one")
            file.seek(0)
            number = 0
            while line := file.readline(LONGEST + 1):
                number += 1
                _add(found, path, number, line, decoder)
    except OSError as error:
        raise WorkError(f"{path}: cannot be read: {error.strerror or error}") from error
    found.pictures.sort(key=lambda picture: picture.time)
    return found


def _add(found: Collected, path: Path, number: int, line: bytes, decoder) -> None:
    where = f"{path}, line {number}"
    if len(line) > LONGEST:
        raise WorkError(f"{where}: longer than {LONGEST} bytes; remove the line")
    try:
        one = decoder.decode(line)
    except (msgspec.ValidationError, RecursionError) as error:
        reason = shortened(str(error), 200)
        raise WorkError(f"{where}: not a line of scores ({reason}); remove it") from error
    except (msgspec.DecodeError, UnicodeDecodeError):
        found.damaged.append(number)
        return
    if isinstance(one, ModelLine):
        found.models[one.model] = one
    elif one.model not in found.models:
        raise WorkError(f"{where}: its model {one.model[:80]!r} is not in the file; remove it")
    else:
        found.pictures.append(one)
