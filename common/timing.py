"""Measures the time of each phase of a run."""

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager


class Phases:
    """Seconds per phase, in the order in which phases first appear. Threads can share it."""

    def __init__(self):
        self.seconds: dict[str, float] = {}
        self._lock = threading.Lock()

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            self.add(name, time.perf_counter() - start)

    def add(self, name: str, seconds: float) -> None:
        with self._lock:
            self.seconds[name] = self.seconds.get(name, 0.0) + seconds

    def take(self) -> dict[str, float]:
        """The seconds until now; counting starts again at 0."""
        with self._lock:
            seconds, self.seconds = self.seconds, {}
        return seconds


phase = Phases()  # one for the process: phases belong to the run, not to an object


def peak_memory() -> int | None:
    """Peak memory of this process in bytes; None if the system does not report it."""
    try:
        import resource
    except ModuleNotFoundError:  # not a Unix
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
