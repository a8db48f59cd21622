"""Shows progress of long work: a bar on a terminal, plain lines in a log."""

import logging
import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

logger = logging.getLogger(__name__)

T = TypeVar("T")
SECONDS_BETWEEN_LINES = 5.0


def progress(
    batches: Iterable[T], total: int, what: str, size=len, unit: str = "pictures"
) -> Iterator[T]:
    """Yield `batches`; show how many of `total` pictures are done, the speed and the time left.

    `size(batch)` is the number of pictures in a batch, or of what else `unit` names.
    """
    from tqdm import tqdm

    start = said = time.perf_counter()
    done = told = 0

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
            if time.perf_counter() - said >= SECONDS_BETWEEN_LINES:
                said, told = time.perf_counter(), done
                tell()
    if done > told:
        tell(at_end=True)
