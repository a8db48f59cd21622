"""Handlers of signals survive libraries that replace them, also in threads."""

import ctypes
import os
import signal
import threading

import pytest

from common.signals import kept_handlers

pytestmark = [pytest.mark.once, pytest.mark.skipif(os.name != "posix", reason="no sigaction")]


def replaced_by_a_library(keep: bool) -> bool:
    """Whether our handler of SIGTERM is lost after a thread let C ignore the signal."""
    ignore = ctypes.c_void_p(1)  # SIG_IGN
    libc = ctypes.CDLL(None)
    libc.signal.argtypes = [ctypes.c_int, ctypes.c_void_p]
    caught = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: caught.append(number))

    def library():
        if keep:
            with kept_handlers():
                libc.signal(int(signal.SIGTERM), ignore)
        else:
            libc.signal(int(signal.SIGTERM), ignore)

    try:
        thread = threading.Thread(target=library)
        thread.start()
        thread.join()
        os.kill(os.getpid(), signal.SIGTERM)
        return not caught
    finally:
        signal.signal(signal.SIGTERM, before)


def test_handlers_are_kept():
    assert replaced_by_a_library(keep=False)
    assert not replaced_by_a_library(keep=True)
