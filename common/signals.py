"""Ends the process on SIGTERM and SIGINT; keeps handlers that libraries in C++ would replace."""

import _thread
import ctypes
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

KEPT = (signal.SIGTERM, signal.SIGINT, signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGABRT)
STRUCT_BYTES = 1024  # more than any system's struct sigaction
ENDINGS = {signal.SIGTERM: (143, "terminated"), signal.SIGINT: (130, "interrupted")}
HELD_SECONDS, CLEAN_SECONDS = 1.0, 0.7  # a signal waits for files and for clean-up so long at most

_safe = threading.RLock()
_ending = threading.Event()  # a signal came: no thread enters `held` any more
_own = threading.local()  # within: blocks of `held` that this thread is in
_actions: dict[object, Callable[[str], None]] = {}
_answer: Callable[[int], None] | None = None


def watch() -> bool:
    """From now on SIGTERM and SIGINT end the process with exit code 143 and 130 within 2 s.

    A thread waits for them, so that neither a long call into a library nor an import is in the way.
    All other threads hold them back: the handler that Paddle installs is never called. Before it
    ends the process, the thread calls what `at_end` has, and waits for the end of `held`.

    Call it in the main thread, before there are others. False where the system cannot do it.
    """
    if not hasattr(signal, "pthread_sigmask") or not _in_main_thread():
        return False
    numbers = {n for n in ENDINGS if signal.getsignal(n) is not signal.SIG_IGN}  # nohup ignores it
    signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    messages = None if sys.stderr is None else os.dup(2)
    watcher = threading.Thread(target=_wait, args=(numbers, messages), daemon=True, name="signals")
    watcher.start()

    def handle(number, frame) -> None:
        """In the main thread: of a thread that does not hold signals back, as multiprocessing makes
        them, or of `_end`, so that the main thread does not keep the interpreter any more."""
        if _ending.is_set():
            _wait_for_the_end()
        signal.pthread_kill(watcher.ident, number)

    for number in numbers:
        signal.signal(number, handle)
    return True


@contextmanager
def at_end(action: Callable[[str], None]) -> Iterator[None]:
    """During the block, a signal calls `action` (with `terminated` or `interrupted`) in another
    thread before it ends the process; `end` does, with `ended`."""
    key = object()
    with held():
        _actions[key] = action
    try:
        yield
    finally:
        _actions.pop(key, None)


@contextmanager
def held() -> Iterator[None]:
    """A signal ends the process before or after the block, which must take less than a second."""
    within = getattr(_own, "within", 0)
    if _ending.is_set() and not within:
        _wait_for_the_end()
    with _safe:
        _own.within = within + 1
        try:
            yield
        finally:
            _own.within = within


@contextmanager
def answering(answer: Callable[[int], None]) -> Iterator[None]:
    """During the block, SIGTERM and SIGINT call `answer` (number of the signal) instead.

    After `watch` it is called in another thread, otherwise in the main thread, by a handler.
    """
    global _answer
    if any(thread.name == "signals" for thread in threading.enumerate()):
        before, _answer = _answer, answer
        try:
            yield
        finally:
            _answer = before
        return
    former = {number: signal.signal(number, lambda got, _: answer(got)) for number in ENDINGS}
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


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


def end() -> None:
    """End the process as a signal does, but with exit code 1; from any thread but the main one.

    The error has been logged.
    """
    _finish(1, signal.SIGTERM, "ended", None)


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


def _wait_for_the_end() -> None:
    threading.Event().wait()


def _wait(numbers: set[signal.Signals], messages: int | None) -> None:
    while True:
        number = signal.sigwait(numbers)
        if _answer is None:
            _end(number, messages)
        _answer(number)


def _end(number: int, messages: int | None) -> None:
    code, text = ENDINGS[number]
    _finish(code, number, text, messages)


def _finish(code: int, number: int, text: str, messages: int | None) -> None:
    _ending.set()
    _safe.acquire(timeout=HELD_SECONDS)  # for good
    _thread.interrupt_main(number)
    # In another thread: the main thread may be in a call that never returns, with a lock.
    cleaning = threading.Thread(target=_clean, args=(text, messages), daemon=True)
    cleaning.start()
    cleaning.join(CLEAN_SECONDS)
    os._exit(code)


def _clean(text: str, messages: int | None) -> None:
    if messages is not None:
        with suppress(OSError):
            os.write(messages, ("\n" * os.isatty(messages) + f"error: {text}\n").encode())
    for action in reversed(list(_actions.values())):
        with suppress(Exception):  # the process ends; what is left is swept by the next run
            action(text)
    if sys.stdout is not None:
        with suppress(Exception):  # its reader may have ended
            sys.stdout.flush()
