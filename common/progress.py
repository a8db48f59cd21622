"""Shows progress of long work: a bar on a terminal, plain lines in a log."""

import logging
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

logger = logging.getLogger(__name__)

T = TypeVar("T")
SECONDS_BETWEEN_LINES = 5.0
Watcher = Callable[[str, int, int], None]  # what, how many are done, of how many

_watcher: ContextVar[Watcher | None] = ContextVar("watcher", default=None)


@contextmanager
def watched(watcher: Watcher) -> Iterator[None]:
    """Calls `watcher` at each step of long work in this thread; what it raises ends the work."""
    token = _watcher.set(watcher)
    try:
        yield
    finally:
        _watcher.reset(token)


def progress(
    batches: Iterable[T], total: int, what: str, size=len, unit: str = "pictures"
) -> Iterator[T]:
    """Yield `batches`; show how many of `total` pictures are done, the speed and the time left.

    `size(batch)` is the number of pictures in a batch, or of what else `unit` names.
    """
    from tqdm import tqdm

    start = said = time.perf_counter()
    done = told = 0
    watcher = _watcher.get()

    def tell(at_end: bool = False):
        speed = done / (time.perf_counter() - start)
        line = f"%s: %d/%d {unit}, %.1f {unit}/s, %.0f s left"
        left = 0 if at_end else (total - done) / speed
        logger.info(line, what, done, total, speed, left, extra={"progress": True})

    with tqdm(total=total, desc=what, unit=f" {unit}", disable=not sys.stderr.isatty()) as bar:
        for batch in batches:
            yield batch
            done += size(batch)
            bar.update(size(batch))
            if watcher is not None:
                watcher(what, done, total)
            if time.perf_counter() - said >= SECONDS_BETWEEN_LINES:
                said, told = time.perf_counter(), done
                tell()
    if done > told:
        tell(at_end=True)
