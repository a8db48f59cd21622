"""The values that several processes share, and the signs of life that they give each other."""

import logging
import threading
import time

from common import signals
from common.errors import WorkError, message, printable, shortened

logger = logging.getLogger(__name__)

CHUNK = 8_000_000  # bytes of one value: Paddle 3 refuses 30 MB, and reading costs 40 ms per value
POLL = 0.01  # seconds
BEAT, SILENCE = 2.0, 40.0  # seconds between two signs of life, and without one


class Store:
    """Values by their names. Paddle keeps them in the process of rank 0; all threads may use it."""

    def __init__(self):
        from models import runtime

        runtime.prepare()
        from paddle.base import core

        self._store, self._lock = core.create_or_get_global_tcp_store(), threading.Lock()

    def send(self, key: str, data: bytes) -> None:
        """Make `data` of any length available as `key`."""
        count = -(-len(data) // CHUNK)
        for i in range(count):
            self._call("set", f"{key}/{i}", data[i * CHUNK : (i + 1) * CHUNK])
        self.add(f"{key}/sent", count + 1)

    def receive(self, key: str, last: bool = False) -> bytes:
        """Wait for `key`. `last`: no other process reads it, so the store need not keep it."""
        parts = []
        while not (sent := self.add(f"{key}/sent", 0)):
            time.sleep(POLL)
        for i in range(sent - 1):
            parts.append(bytes(self._call("get", f"{key}/{i}")))
            if last:
                self._call("set", f"{key}/{i}", b"")
        return b"".join(parts)

    def add(self, key: str, number: int) -> int:
        """Add to a counter, which begins with 0; returns what it is then."""
        return self._call("add", key, number)

    def _call(self, method: str, *arguments):
        with self._lock:
            try:
                return getattr(self._store, method)(*arguments)
            except Exception as error:  # Paddle raises RuntimeError, ValueError or its own
                logger.debug("store: %s", error)
                raise WorkError("rank 0 has ended, or cannot be reached") from error


class Life:
    """Tells the other processes that this one lives; ends it, with exit code 1, if one of them
    fails or gives no sign of life.

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
                self._fail(f"rank {self._rank} failed: {shortened(printable(text), 400)}")
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
        """Tell the other processes why they have to end."""
        self._store.send("reason", reason.encode())

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
        if self._store.add("reason/sent", 0):
            return self._store.receive("reason").decode()
        if self._rank or not (silent := self._silent()):
            return None
        reason = f"rank {silent[0]} gave no sign of life for {SILENCE:.0f} s"
        self._fail(reason)
        time.sleep(2 * BEAT)  # the others read it
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
                _end(f"rank 0 gave no sign of life for {SILENCE:.0f} s")


def _end(reason: str) -> None:
    logger.error("%s; this process ends, too", reason)
    signals.end()
