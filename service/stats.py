"""Appends what is judged to a file of scores (--stats), without delaying any answer."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from queue import SimpleQueue

from common.errors import UsageError, WorkError, message
from common.score_log import ScoreLog
from inspection import Inspector
from tasks.collecting import collecting

WAITING = 10_000  # answers whose pictures may wait
RETRY_SECONDS = 5.0  # after a failure, since to open a large file takes long

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Answer:
    """pictures : (name or None, score, p-value, verdict) of each"""

    inspector: Inspector
    time: datetime
    pictures: list[tuple[str | None, float, float, str]]


class Collector:
    """One thread that appends to the file `path`.

    count : called with `written`, `failed` or `dropped`, and the number of pictures
    """

    def __init__(self, path: Path, count: Callable[[str, int], None]):
        self.path, self.count = path, count
        self._waiting: SimpleQueue[_Answer | bool] = SimpleQueue()
        self._logs: dict[Inspector, ScoreLog] = {}
        self._failed, self._not_before = False, 0.0
        self._thread = threading.Thread(target=self._run, name="stats", daemon=True)
        self._thread.start()

    def add(self, inspector: Inspector, pictures: Sequence[dict]) -> None:
        """Append the pictures of an answer (service.answers.described), later.

        They are dropped if too many wait.
        """
        if self._waiting.qsize() >= WAITING:
            self.count("dropped", len(pictures))
            return
        found = [(p["name"], p["score"], p["p_value"], p["verdict"]) for p in pictures]
        self._waiting.put(_Answer(inspector, datetime.now(timezone.utc), found))

    def reopen(self) -> None:
        """Open the file anew after what waits: it may have been renamed, or models replaced."""
        self._waiting.put(True)

    def close(self, seconds: float) -> None:
        """Write what waits, for at most `seconds`."""
        self._waiting.put(False)
        self._thread.join(seconds)
        if self._thread.is_alive():
            logger.error("%s: not everything was written in time", self.path)

    def _run(self) -> None:
        while (one := self._waiting.get()) is not False:
            if isinstance(one, _Answer):
                self._append(one)
            else:
                self._close_files()
        self._close_files()

    def _append(self, answer: _Answer) -> None:
        written = 0
        try:
            if time.monotonic() >= self._not_before:
                log = self._log(answer.inspector)
                for name, score, p_value, verdict in answer.pictures:
                    log.add(name, score, p_value, verdict, answer.time)
                    written += 1
                self._went_well()
        except (UsageError, WorkError, OSError) as error:
            self._went_wrong(error)
        if written:
            self.count("written", written)
        if lost := len(answer.pictures) - written:
            self.count("failed", lost)

    def _log(self, inspector: Inspector) -> ScoreLog:
        if inspector not in self._logs:
            self._logs[inspector] = collecting(self.path, inspector)
        return self._logs[inspector]

    def _went_well(self) -> None:
        if self._failed:
            logger.info("%s: scores are written again", self.path)
            self._failed = False

    def _went_wrong(self, error: Exception) -> None:
        """The answers go on. A file that is opened again has its incomplete last line ended."""
        self._close_files()
        self._not_before = time.monotonic() + RETRY_SECONDS
        if not self._failed:
            logger.error("scores of judged pictures are lost until it succeeds: %s", message(error))
            self._failed = True

    def _close_files(self) -> None:
        while self._logs:
            self._logs.popitem()[1].close()
