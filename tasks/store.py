"""The values that several processes share, and the messages that they send."""

import logging
import os
import re
import socket
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from common.errors import UsageError, WorkError, listed

logger = logging.getLogger(__name__)

CHUNK = 8_000_000  # bytes of one value: Paddle 3 refuses 30 MB, and reading costs 40 ms per value
SLOTS = 2  # values of a channel: one is written while another is read
LENGTH = 8  # bytes of the length of a message, in front of it
POLL = 0.01  # seconds
START = 60.0  # seconds until all processes have started


class Store:
    """Values by their names. Paddle keeps them in the process of rank 0; all threads may use it.

    It opens when all `count` processes have started. All methods raise WorkError if rank 0 has
    ended, or cannot be reached.
    """

    def __init__(self, rank: int, count: int):
        from models import runtime

        runtime.prepare()
        from paddle.base import core

        self._lock, end, (host, port) = threading.Lock(), time.monotonic() + START, _address()
        if rank:
            _wait_for_port(host, port, end)
        else:
            _require_free(port)
        # Without their number: Paddle would wait for them and hold the interpreter meanwhile.
        self._store = core.TCPStore(host, port, rank == 0, 0)
        _send_at_once(port)
        self.add(f"started/{rank}", 1)
        self.add("started", 1)
        while self.add("started", 0) < count:
            if time.monotonic() > end:
                raise WorkError(_late(i for i in range(count) if not self.add(f"started/{i}", 0)))
            time.sleep(POLL)
        _send_at_once(port)  # in rank 0 the connections of the others are there now

    def set(self, key: str, data: bytes) -> None:
        """Give a value, which Paddle 3 limits to less than 30 MB."""
        self._call("set", key, data)

    def get(self, key: str) -> bytes:
        """A value that has been set."""
        return bytes(self._call("get", key))

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


class Channel:
    """Messages from one process to `readers` others, of any length, in their order.

    Few values are used again and again: what the store once had stays in its memory. So a sender
    waits for its readers.
    """

    def __init__(self, store: Store, name: str, readers: int):
        self._store, self._name, self._readers, self._place = store, name, readers, 0

    def send(self, data: bytes) -> None:
        for start in range(0, max(1, len(data)), CHUNK):
            part = data[start : start + CHUNK]
            turn, slot = divmod(self._place, SLOTS)
            self._wait_for(f"read/{slot}", turn * self._readers)
            self._store.set(f"{self._name}/{slot}", part if start else _length(data) + part)
            self._store.add(f"{self._name}/sent", 1)
            self._place += 1

    def receive(self) -> bytes:
        first = self._next()
        parts, missing = [first[LENGTH:]], int.from_bytes(first[:LENGTH], "big")
        while (missing := missing - len(parts[-1])) > 0:
            parts.append(self._next())
        return b"".join(parts)

    def _next(self) -> bytes:
        self._wait_for("sent", self._place + 1)
        slot = self._place % SLOTS
        part = self._store.get(f"{self._name}/{slot}")
        self._store.add(f"{self._name}/read/{slot}", 1)
        self._place += 1
        return part

    def _wait_for(self, counter: str, number: int) -> None:
        while self._store.add(f"{self._name}/{counter}", 0) < number:
            time.sleep(POLL)


def _length(data: bytes) -> bytes:
    return len(data).to_bytes(LENGTH, "big")


def _address() -> tuple[str, int]:
    """Host and port of the store, which Paddle's launcher gives to all processes."""
    names = "PADDLE_MASTER", "PADDLE_TRAINER_ENDPOINTS"
    text = next(filter(None, map(os.environ.get, names)), "").split(",")[0]
    host, _, port = text.rpartition(":")
    if not host or not re.fullmatch("[0-9]{1,5}", port):
        raise UsageError(
            f"PADDLE_MASTER is {text!r}, expected HOST:PORT of rank 0; "
            "python -m paddle.distributed.launch sets it"
        )
    return host, int(port)


def _require_free(port: int) -> None:
    """WorkError if another program uses the port: Paddle would end the process by a signal."""
    with socket.socket() as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind(("", port))
        except OSError as error:
            reason = error.strerror
            raise WorkError(f"port {port} cannot be used ({reason}); choose another") from error


def _wait_for_port(host: str, port: int, end: float) -> None:
    """Until rank 0 has opened its store: Paddle itself would wait for ever."""
    while True:
        try:
            socket.create_connection((host, port), timeout=POLL + 1).close()
            return
        except OSError as error:
            if time.monotonic() > end:
                raise WorkError(f"{_late([0])}, or {host}:{port} cannot be reached") from error
            time.sleep(10 * POLL)


def _send_at_once(port: int) -> None:
    """Set TCP_NODELAY for Paddle's connections (Linux): 44 ms less for each request.

    Paddle writes a request in small pieces. The system would hold each back until the one before is
    acknowledged, which the other side delays.
    """
    try:
        numbers = [int(path.name) for path in Path("/proc/self/fd").iterdir()]
    except OSError:
        return  # another system: slower, otherwise the same
    for number in numbers:
        with suppress(OSError), socket.socket(fileno=os.dup(number)) as connection:
            if connection.family not in (socket.AF_INET, socket.AF_INET6):
                continue
            if port in (connection.getsockname()[1], connection.getpeername()[1]):
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _late(ranks: Iterable[int]) -> str:
    return f"rank {listed(ranks)} has not started within {START:.0f} s"
