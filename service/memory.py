"""Gives free memory back to the system."""

import asyncio
import ctypes
import time
from collections.abc import Callable

TRIM_SECONDS = 15.0  # it can take some 50 ms, for which pictures wait


def trimmer() -> Callable[[], None]:
    """A function that gives free memory back, if TRIM_SECONDS have passed since the last time.

    glibc keeps what is free between blocks in use; with batches of changing sizes, it becomes more
    for hours.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # another C library has none
    last = time.monotonic()

    def call() -> None:
        nonlocal last
        if trim is not None and time.monotonic() - last >= TRIM_SECONDS:
            trim(0)
            last = time.monotonic()

    return call


async def trim_often() -> None:
    """Give free memory back until the task is cancelled."""
    trim = trimmer()
    while True:
        await asyncio.sleep(TRIM_SECONDS)
        await asyncio.to_thread(trim)
