"""Runs rows in child processes that are watched: their time, their memory, how they end."""

import json
import os
import re
import resource
import select
import shutil
import signal
import tempfile
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from common.errors import UsageError, WorkError, message
from models.record import RecordError
from tests.corpus.rows import SCRIPTS, Row

SECONDS, BYTES = 10, 2**31  # that a row may take
NOBODY = 65534
TRACEBACK = -1  # in place of an exit code
TOGETHER = 50  # rows that one child runs, one after the other


@dataclass(frozen=True)
class Outcome:
    """How a row ended.

    code : 0, 1, 2, or TRACEBACK; None if a signal or the watch ended the child
    text : the error, or the traceback
    seconds, peak : of the row; bytes
    ended : what went wrong with the child itself, or None
    """

    code: int | None
    text: str
    seconds: float
    peak: int
    ended: str | None = None

    def problem(self, row: Row) -> str | None:
        """What is wrong with this outcome of `row`; None if it is as documented."""
        if self.ended is not None:
            return self.ended
        if self.code == TRACEBACK or "Traceback" in self.text:
            return f"traceback: {self.text}"
        if self.peak > BYTES or "MemoryError" in self.text:
            return f"took {self.peak >> 20} MiB: {self.text}"
        if self.code == 0:
            ok = row.error is None or row.either
            return None if ok else f"worked in place of an error {row.error!r}"
        if row.error is None:
            return f"failed: {self.text}"
        if self.code != row.code:
            return f"exit code {self.code} in place of {row.code}: {self.text}"
        if not re.search(row.error, self.text):
            return f"says {self.text!r} in place of {row.error!r}"
        return None


def watched(rows: Sequence[Row]) -> Iterator[Outcome]:
    """The outcome of each row. Rows that do not change their process share a child."""
    rest = list(rows)
    while rest:
        together = [rest[0]]
        for row in rest[1:TOGETHER]:
            if _alone(row) or _alone(rest[0]):
                break
            together.append(row)
        for outcome in _of_one_child(together):
            yield outcome
            del rest[0]


def _alone(row: Row) -> bool:
    return row.unprivileged or row.slow


def _of_one_child(rows: list[Row]) -> Iterator[Outcome]:
    """The outcomes of the first rows: of those after a crash there is none."""
    folder = Path(tempfile.mkdtemp(prefix="corpus-"))
    answer, question = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(answer)
        _be_child(rows, folder, question)
    os.close(question)
    try:
        for _, (line, late) in zip(rows, _lines(answer), strict=False):
            if not line:
                yield Outcome(None, "", SECONDS, 0, _end(child, late))
                return
            yield Outcome(*json.loads(line))
        os.waitpid(child, 0)
    finally:
        os.close(answer)
        shutil.rmtree(folder, ignore_errors=True)


def _end(child: int, late: bool) -> str:
    """How a child ended that did not answer; it is killed if it goes on."""
    if late:
        os.kill(child, signal.SIGKILL)
    status = os.waitpid(child, 0)[1]
    if late:
        return f"took more than {SECONDS} s"
    if os.WIFSIGNALED(status):
        return f"crashed: {signal.Signals(os.WTERMSIG(status)).name}"
    return f"ended with {os.WEXITSTATUS(status)} and no answer"


def _lines(answer: int) -> Iterator[tuple[bytes, bool]]:
    """The lines of a child; an empty one if it ended, or (True) if there was none in time."""
    rest, end = b"", time.monotonic() + SECONDS
    while True:
        left = end - time.monotonic()
        if left <= 0 or not select.select([answer], [], [], left)[0]:
            yield b"", True
        elif not (piece := os.read(answer, 2**16)):
            yield b"", False
        else:
            *whole, rest = (rest + piece).split(b"\n")
            for line in whole:
                yield line, False
                end = time.monotonic() + SECONDS


def _be_child(rows: list[Row], folder: Path, question: int) -> None:
    """Everything that the child does; it ends here."""
    with suppress(BaseException):
        for number, row in enumerate(rows):
            place = folder / str(number)
            place.mkdir()
            _forget_peak()
            start, (code, text) = time.monotonic(), _caught(row, place)
            outcome = code, text, time.monotonic() - start, _peak()
            os.write(question, json.dumps(outcome).encode() + b"\n")
            shutil.rmtree(place, ignore_errors=True)
    os._exit(0)


def _caught(row: Row, folder: Path) -> tuple[int, str]:
    try:
        return _script(row, folder) if row.reader in SCRIPTS else _reader(row, folder)
    except BaseException:
        return TRACEBACK, traceback.format_exc()[-4000:]


def _reader(row: Row, folder: Path) -> tuple[int, str]:
    from tests.corpus.readers import READERS

    made = row.make(folder)
    _give_up_rights(row, folder)
    resource.setrlimit(resource.RLIMIT_AS, (BYTES, BYTES))
    try:
        READERS[row.reader](made)
    except UsageError as error:
        return 2, message(error)
    except (WorkError, RecordError) as error:
        return 1, message(error)
    return 0, ""


def _script(row: Row, folder: Path) -> tuple[int, str]:
    """Paddle maps far more memory than it uses: the peak is measured, not limited."""
    from tests.conftest import call

    arguments = row.make(folder)
    _give_up_rights(row, folder)
    result = call(row.reader, *arguments)
    errors = [line for line in result.err.splitlines() if line.startswith("error: ")]
    if "Traceback" in result.err or (result.code != 0 and len(errors) != 1):
        return TRACEBACK, f"{len(errors)} errors: {result.err[-4000:]}"
    return result.code, errors[0].removeprefix("error: ") if errors else ""


def _give_up_rights(row: Row, folder: Path) -> None:
    """Permissions do not bind root."""
    if row.unprivileged and os.getuid() == 0:
        for path in (folder, folder.parent):
            path.chmod(0o755)
        os.setgid(NOBODY)
        os.setuid(NOBODY)


def _forget_peak() -> None:
    """Let the kernel's peak of memory begin anew."""
    Path("/proc/self/clear_refs").write_text("5")


def _peak() -> int:
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(found[1]) * 1024
