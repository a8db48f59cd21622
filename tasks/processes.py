"""The processes of `python -m paddle.distributed.launch`: their shares, and what they exchange.

All processes take the same steps in the same order. What one has for the others goes through the
store that Paddle keeps in the process of rank 0: its collectives give up after 30 s, which a
slower process may need. Where no launcher has started the process, nothing of Paddle is imported.
"""

import functools
import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from common.errors import UsageError
from common.logs import OURS
from tasks.life import Life
from tasks.store import Channel, Store

if TYPE_CHECKING:  # NumPy is not for `--help`
    import numpy as np

    from models.heads import Head

T = TypeVar("T")


class Processes:
    """`count` processes, of which this one is number `rank`."""

    def __init__(self, rank: int, count: int):
        self.rank, self.count = rank, count
        self._store: Store | None = None
        self._channels: dict[tuple[int, int | None], Channel] = {}

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
        self._store = Store(self.rank, self.count)
        if not self.first:
            for name in OURS:
                logging.getLogger(name).setLevel(logging.WARNING)
        with Life(self._store, self.rank, self.count):
            yield

    def gathered(self, data: bytes) -> list[bytes]:
        """What each process gives, in the order of their ranks. WorkError if rank 0 has ended."""
        found = []
        for rank in range(self.count):  # one sends, all others receive
            if rank == self.rank:
                if self.count > 1:
                    self._channel(rank).send(data)
                found.append(data)
            else:
                found.append(self._channel(rank).receive())
        return found

    def collected(self, data: bytes) -> list[bytes]:
        """As `gathered` for rank 0; nothing for the others."""
        if self.first:
            others = range(1, self.count)
            return [data, *(self._channel(rank, 0).receive() for rank in others)]
        self._channel(self.rank, 0).send(data)
        return []

    def require_same(self, digest: str, what: str) -> None:
        """UsageError if the processes have different digests of `what`."""
        found = [one.decode() for one in self.gathered(digest.encode())]
        for rank, one in enumerate(found):
            if one != found[0]:
                raise UsageError(
                    f"rank {rank} has other {what} than rank 0; all processes need the same files "
                    "and options"
                )

    def merged(self, head: "Head", blank) -> "Head":
        """A head that has learned what those of all processes have, in the order of their ranks.

        They are merged in a tree; `blank()` makes an empty head.
        """
        distance = 1
        while distance < self.count:
            if self.rank % (2 * distance):
                self._channel(self.rank, self.rank - distance).send(packed(_state(head)))
                break
            if self.rank + distance < self.count:
                received = self._channel(self.rank + distance, self.rank).receive()
                other = _restored(blank(), received)
                if other.n:
                    head = _sum(head, other)
            distance *= 2
        if self.first:
            self._channel(0).send(packed(_state(head)))
            return head
        return _restored(blank(), self._channel(0).receive())

    def _channel(self, sender: int, receiver: int | None = None) -> Channel:
        """From one process to another; None: to all others."""
        if (sender, receiver) not in self._channels:
            readers = self.count - 1 if receiver is None else 1
            name = f"{sender} to {'all' if receiver is None else receiver}"
            self._channels[sender, receiver] = Channel(self._store, name, readers)
        return self._channels[sender, receiver]


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
    """Arrays of any dtypes and shapes as bytes, for `unpacked`."""
    import numpy as np
    from safetensors.numpy import save

    return save({name: np.ascontiguousarray(array) for name, array in arrays.items()})


def unpacked(data: bytes) -> "dict[str, np.ndarray]":
    """What `packed` got."""
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
