"""Signs of life that several processes give each other; one that fails ends the others."""

import logging
import threading
import time

from common import signals
from common.errors import WorkError, message, printable, shortened
from tasks.store import POLL, Store

logger = logging.getLogger(__name__)

BEAT, SILENCE = 2.0, 40.0  # seconds between two signs of life, and without one


class Life:
    """Tells the other processes that this one lives, and ends this process with exit code 1 if one
    of them fails or gives no sign of life.

    Used as a context manager. At its end it waits, in rank 0, which has the store, for the ends of
    the others.
    """

    def __init__(self, store: Store, rank: int, count: int):
        self._store, self._rank, self._count = store, rank, count
        self._over = threading.Event()
        self._answered = time.monotonic()  # by the store
        self._beats = dict.fromkeys(range(1, count), (0, self._answered))
        threads = (self._watch, "signs of life"), (self._wait_for_answers, "answers of rank 0")
        self._threads = [
            threading.Thread(target=target, daemon=True, name=name) for target, name in threads
        ]

    def __enter__(self) -> None:
        for thread in self._threads:
            thread.start()

    def __exit__(self, kind, error, trace) -> None:
        try:
            if error is not None:
                text = message(error) or type(error).__name__
                self._over.set()  # so that the reason does not end this process, too
                self._fail(f"rank {self._rank} failed: {shortened(printable(text), 400)}")
                self._wait_for_readers()
            else:
                self._store.add(f"ended/{self._rank}", 1)
                while self._rank == 0 and not all(map(self._has_ended, self._beats)):
                    time.sleep(POLL)
        except WorkError:
            if error is None:
                raise
        finally:
            self._over.set()
            for thread in self._threads:
                thread.join(BEAT)  # the process aborts if a thread is in the store at its end

    def _has_ended(self, rank: int) -> bool:
        return self._store.add(f"ended/{rank}", 0) > 0

    def _fail(self, reason: str) -> None:
        """Tell the other processes why they have to end; the first reason counts."""
        if self._store.add("failed", 1) == 1:
            self._store.set("reason", reason.encode())
            self._store.add("reason known", 1)

    def _wait_for_readers(self) -> None:
        """In rank 0, with which the store ends: until the others have read the reason, or have one
        of their own."""
        end = time.monotonic() + 2 * BEAT
        while self._rank == 0 and time.monotonic() < end:
            if self._store.add("failed", 0) >= self._count:
                return
            time.sleep(POLL)

    def _watch(self) -> None:
        while not self._over.wait(BEAT):
            try:
                reason = self._reason()
            except WorkError as error:
                reason = str(error)
            if reason and not self._over.is_set():
                _end(reason)

    def _reason(self) -> str | None:
        """Give a sign of life; returns why this process has to end, if it has to."""
        self._store.add(f"beat/{self._rank}", 1)
        self._answered = time.monotonic()
        if self._rank == 0 and (silent := self._silent()):
            self._fail(f"rank {silent[0]} gave no sign of life for {SILENCE:.0f} s")
        if not self._store.add("reason known", 0):
            return None
        reason = self._store.get("reason").decode()
        self._wait_for_readers()
        return reason

    def _silent(self) -> list[int]:
        """For rank 0: the ranks that gave no sign of life."""
        for rank, (before, _) in self._beats.items():
            beats = self._store.add(f"beat/{rank}", 0)
            if beats != before or self._has_ended(rank):
                self._beats[rank] = beats, time.monotonic()
        now = time.monotonic()
        return [rank for rank, (_, last) in self._beats.items() if now - last > SILENCE]

    def _wait_for_answers(self) -> None:
        """A machine that is switched off does not close its connections."""
        while not self._over.wait(BEAT):
            if time.monotonic() - self._answered > SILENCE:
                _end(f"the store of rank 0 did not answer for {SILENCE:.0f} s")


def _end(reason: str) -> None:
    logger.error("%s; this process ends, too", reason)
    signals.end()
