"""The processes of `python -m paddle.distributed.launch`: their shares, and what they exchange.

All processes take the same steps in the same order. What one has for the others goes through the
store that Paddle keeps in the process of rank 0: its collectives give up after 30 s, which a
slower process may need. A thread tells the others that the process lives. Where no launcher has
started the process, nothing of Paddle is imported.
"""

import functools
import logging
import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from common.errors import UsageError, WorkError
from common.logs import OURS

if TYPE_CHECKING:  # NumPy is not for `--help`
    import numpy as np

    from models.heads import Head

logger = logging.getLogger(__name__)

T = TypeVar("T")
CHUNK = 8_000_000  # bytes of one value: Paddle 3 refuses 30 MB, and reading costs 40 ms per value
BEAT, SILENCE = 2.0, 40.0  # seconds between two signs of life, and without one
POLL = 0.01  # seconds


class Processes:
    """`count` processes, of which this one is number `rank`."""

    def __init__(self, rank: int, count: int):
        self.rank, self.count = rank, count
        self._step, self._store, self._lock = 0, None, threading.Lock()
        self._ended = threading.Event()

    @property
    def first(self) -> bool:
        """Whether this process prints, writes results and logs."""
        return self.rank == 0

    def share(self, items: Sequence[T]) -> Sequence[T]:
        """The items of this process: neighbours, so that all shares in turn are the whole list.
        Their lengths differ by one at most."""
        bounds = [len(items) * rank // self.count for rank in (self.rank, self.rank + 1)]
        return items[slice(*bounds)]

    @contextmanager
    def joined(self) -> Iterator[None]:
        """The processes know each other during the block. One that dies ends the others."""
        if self.count == 1:
            yield
            return
        from models import runtime

        runtime.prepare()
        from paddle.base import core

        self._store = core.create_or_get_global_tcp_store()
        watcher = threading.Thread(target=self._watch, daemon=True, name="signs of life")
        watcher.start()
        if not self.first:
            for name in OURS:
                logging.getLogger(name).setLevel(logging.WARNING)
        try:
            yield
        finally:
            self._ended.set()
            watcher.join(BEAT)  # the process aborts if a thread is in the store at its end
        self._add(f"ended/{self.rank}", 1)
        if self.first:  # it has the store
            for rank in range(1, self.count):
                self._wait(f"ended/{rank}")

    def gathered(self, data: bytes) -> list[bytes]:
        """What each process gives, in the order of their ranks."""
        step = self._next()
        self._send(f"{step}/{self.rank}", data)
        return [
            data if rank == self.rank else self._receive(f"{step}/{rank}")
            for rank in range(self.count)
        ]

    def require_same(self, digest: str, what: str) -> None:
        """UsageError if the processes have different digests of `what`."""
        found = [one.decode() for one in self.gathered(digest.encode())]
        for rank, one in enumerate(found):
            if one != found[0]:
                raise UsageError(
                    f"rank {rank} has other {what} than rank 0; all processes need the same "
                    "pictures and options"
                )

    def merged(self, head: "Head", blank) -> "Head":
        """A head that has learned what those of all processes have, in the order of their ranks.

        They are merged in a tree; `blank()` makes an empty head.
        """
        step, distance = self._next(), 1
        while distance < self.count:
            if self.rank % (2 * distance):
                self._send(f"{step}/{self.rank}", packed(_state(head)))
                break
            if self.rank + distance < self.count:
                other = _restored(blank(), self._receive(f"{step}/{self.rank + distance}"))
                if other.n:
                    head = _sum(head, other)
            distance *= 2
        if self.first:
            self._send(f"{step}/whole", packed(_state(head)))
            return head
        return _restored(blank(), self._receive(f"{step}/whole"))

    def _next(self) -> int:
        self._step += 1
        return self._step

    def _send(self, key: str, data: bytes) -> None:
        count = -(-len(data) // CHUNK)
        for i in range(count):
            self._call("set", f"{key}/{i}", data[i * CHUNK : (i + 1) * CHUNK])
        self._add(f"{key}/sent", count + 1)

    def _receive(self, key: str) -> bytes:
        parts = []
        for i in range(self._wait(f"{key}/sent") - 1):
            parts.append(bytes(self._call("get", f"{key}/{i}")))
        return b"".join(parts)

    def _wait(self, key: str) -> int:
        while not (found := self._add(key, 0)):
            time.sleep(POLL)
        return found

    def _add(self, key: str, number: int) -> int:
        return self._call("add", key, number)

    def _call(self, method: str, *arguments):
        with self._lock:
            try:
                return getattr(self._store, method)(*arguments)
            except Exception as error:  # Paddle raises RuntimeError, ValueError or its own
                logger.debug("store: %s", error)
                raise WorkError("rank 0 has ended, or cannot be reached") from error

    def _watch(self) -> None:
        """Give signs of life, and end the process where another gives none."""
        others = [rank for rank in range(self.count) if rank != self.rank]
        seen = dict.fromkeys(others, (0, time.monotonic()))
        while not self._ended.wait(BEAT):
            try:
                self._add(f"beat/{self.rank}", 1)
                for rank in others:
                    beats = self._add(f"beat/{rank}", 0)
                    if beats != seen[rank][0] or self._add(f"ended/{rank}", 0):
                        seen[rank] = beats, time.monotonic()
            except WorkError as error:
                if not self._ended.is_set():
                    _end(str(error))
                return
            for rank, (_, last) in seen.items():
                if time.monotonic() - last > SILENCE:
                    _end(f"rank {rank} gave no sign of life for {SILENCE:.0f} s")
                    return


@functools.cache
def processes() -> Processes:
    """Those that Paddle's launcher started with this one; without it, one."""
    rank, count = (os.environ.get(f"PADDLE_TRAINER{name}", "") for name in ("_ID", "S_NUM"))
    if not (rank.isdigit() and count.isdigit()):
        return Processes(0, 1)
    return Processes(int(rank), int(count))


def require_one(setting: str | None, what: str) -> None:
    """UsageError if there are several processes."""
    if processes().count > 1:
        raise UsageError(
            f"{what} does not work in several processes; omit it, or paddle.distributed.launch",
            setting,
        )


def packed(arrays: "dict[str, np.ndarray]") -> bytes:
    import numpy as np
    from safetensors.numpy import save

    return save({name: np.ascontiguousarray(array) for name, array in arrays.items()})


def unpacked(data: bytes) -> "dict[str, np.ndarray]":
    from safetensors.numpy import load

    return load(data)


def _sum(head: "Head", other: "Head") -> "Head":
    if head.n == 0:
        return other
    head.merge(other)
    return head


def _state(head: "Head") -> "dict[str, np.ndarray]":
    """Some heads have no arrays before the first picture."""
    import numpy as np

    return {"n": np.array([head.n])} | (head.state() if head.n else {})


def _restored(head: "Head", data: bytes) -> "Head":
    arrays = unpacked(data)
    if n := int(arrays.pop("n")[0]):
        head.restore(arrays, n)
    return head


def _end(reason: str) -> None:
    logger.error("%s; this process ends, too", reason)
    os.kill(os.getpid(), signal.SIGTERM)
