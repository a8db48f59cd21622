"""Long work in a thread: one at a time in this process, with progress, and it can be cancelled."""

import logging
import threading
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from common.errors import UsageError, WorkError
from common.progress import watched

logger = logging.getLogger(__name__)

SECONDS_BETWEEN_LOOKS = 0.2
# Paddle converts networks one after the other, and two fits at once would need twice the memory.
_turn = threading.Lock()


class CancelledError(Exception):
    """The visitor cancelled the work, or left."""


@dataclass
class Status:
    """Where work stands. `what`, `done`, `total`: of its present step; empty before the first."""

    what: str = ""
    done: int = 0
    total: int = 0
    waiting: bool = True
    outcome: Any = None
    error: Exception | None = None
    stop: threading.Event = field(default_factory=threading.Event)
    ended: threading.Event = field(default_factory=threading.Event)
    first: tuple[float, int] = (0.0, 0)

    def watch(self, what: str, done: int, total: int) -> None:
        """A watcher for common.progress.watched."""
        if self.stop.is_set():
            raise CancelledError
        if what != self.what:
            self.first = time.perf_counter(), done
        self.what, self.done, self.total = what, done, total

    @property
    def seconds_left(self) -> float | None:
        """Of the present step; None as long as its speed is not known."""
        start, before = self.first
        if self.done <= before:
            return None
        return (time.perf_counter() - start) / (self.done - before) * (self.total - self.done)


class Work:
    """Calls `task` in a thread. When nothing refers to this object any more, the work is cancelled.

    name : of what is done, for the page
    status : see Status; `outcome` is what `task` returned
    """

    def __init__(self, name: str, task: Callable[[], Any]):
        self.name, self.status = name, Status()
        weakref.finalize(self, self.status.stop.set)
        arguments = (task, self.status)
        self._thread = threading.Thread(target=_run, args=arguments, name=name, daemon=True)
        self._thread.start()

    def cancel(self) -> None:
        """Ask the work to end; it does at its next step."""
        self.status.stop.set()

    def join(self, seconds: float | None = None) -> bool:
        """Wait for the end of the work; whether it has ended."""
        return self.status.ended.wait(seconds)


def _run(task: Callable[[], Any], status: Status) -> None:
    try:
        while not _turn.acquire(timeout=SECONDS_BETWEEN_LOOKS):
            if status.stop.is_set():
                raise CancelledError
        try:
            status.waiting = False
            if status.stop.is_set():
                raise CancelledError
            with watched(status.watch):
                status.outcome = task()
        finally:
            _turn.release()
    except Exception as error:
        if not isinstance(error, CancelledError | UsageError | WorkError):
            logger.exception("unexpected error")
        status.error = error
    finally:
        status.ended.set()
