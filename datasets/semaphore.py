"""A semaphore whose holders take amounts: bounds what the threads of a process use together."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class WeightedSemaphore:
    """At most `capacity` in use at once. What needs more than that is used alone.

    Do not take a second amount while one is held: two threads could wait for each other.
    """

    def __init__(self, capacity: int):
        self.capacity = capacity
        self._free = capacity
        self._changed = threading.Condition()
        self._turn = threading.Lock()

    @contextmanager
    def taken(self, amount: int) -> Iterator[None]:
        """Wait until `amount` is free, and hold it."""
        amount = min(amount, self.capacity)
        # The one that waits keeps the turn, so that small amounts cannot delay a large one forever.
        with self._turn, self._changed:
            self._changed.wait_for(lambda: self._free >= amount)
            self._free -= amount
        try:
            yield
        finally:
            with self._changed:
                self._free += amount
                self._changed.notify()
