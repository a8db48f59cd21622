"""Keeps signal handlers that libraries in C++ would replace, also outside of the main thread."""

import ctypes
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

KEPT = (signal.SIGTERM, signal.SIGINT, signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGABRT)
STRUCT_BYTES = 1024  # more than any system's struct sigaction


@contextmanager
def kept_handlers() -> Iterator[None]:
    """After the block, signals have the handlers that they had before.

    Python can set handlers in its main thread only; the C library can in any. Systems without
    sigaction keep what the block installed.
    """
    libc = ctypes.CDLL(None) if os.name == "posix" else None
    before = {number: ctypes.create_string_buffer(STRUCT_BYTES) for number in KEPT}
    try:
        if libc is not None:
            for number, action in before.items():
                libc.sigaction(int(number), None, action)
        yield
    finally:
        if libc is not None:
            for number, action in before.items():
                libc.sigaction(int(number), action, None)
