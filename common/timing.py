"""Where the time of a run goes, phase by phase."""

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager


class Phases:
    """Seconds by phase, in the order in which phases first appear. Threads may share it."""

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
        """The seconds so far; counting starts again."""
        with self._lock:
            seconds, self.seconds = self.seconds, {}
        return seconds


phase = Phases()  # one for the process: phases are a property of the run, not of an object


def peak_memory() -> int | None:
    """The most bytes that this process ever held, None where the system does not tell."""
    try:
        import resource
    except ModuleNotFoundError:  # not a Unix
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
