"""Collects the pictures of several requests into batches for the network."""

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from queue import Empty, SimpleQueue

from inspection import Decoded, Inspector, Judgement

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Waiting:
    picture: Decoded
    judged: asyncio.Future  # of a Judgement; belongs to the event loop


class Batcher:
    """One thread that judges the pictures of one model.

    Parameters
    ----------
    inspector : its `batch_size` is the largest batch
    window : seconds to wait for more pictures before a batch that is not full
    observe : called with the number of pictures of each batch
    ended : called when the thread ends
    """

    def __init__(
        self,
        inspector: Inspector,
        window: float,
        observe: Callable[[int], None],
        ended: Callable[[], None],
    ):
        self.inspector, self.window = inspector, window
        self.observe, self.ended = observe, ended
        self._waiting: SimpleQueue[_Waiting | None] = SimpleQueue()
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="batches", daemon=True)
        self._thread.start()

    async def judge(self, picture: Decoded) -> Judgement:
        """Cancelled, the picture is left out, unless its batch runs already."""
        judged = asyncio.get_running_loop().create_future()
        self._waiting.put(_Waiting(picture, judged))
        return await judged

    def stop(self) -> None:
        """End the thread after the pictures that wait."""
        self._waiting.put(None)

    def join(self, seconds: float) -> bool:
        """Wait for the end of the thread; whether it came in time."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while not self._stopped:
            batch = [one for one in self._next() if not one.judged.cancelled()]
            if batch:
                self.observe(len(batch))
                self._judge(batch)
        self.ended()

    def _next(self) -> list[_Waiting]:
        """The next batch; it waits for the first picture, and for more until the window ends."""
        batch, end = [], None
        while len(batch) < self.inspector.batch_size:
            try:
                left = None if end is None else max(0.0, end - time.monotonic())
                one = self._waiting.get(timeout=left)
            except Empty:
                break
            if one is None:
                self._stopped = True
                break
            batch.append(one)
            end = time.monotonic() + self.window if end is None else end
        return batch

    def _judge(self, batch: list[_Waiting]) -> None:
        loop = batch[0].judged.get_loop()
        try:
            results = self.inspector.judge([one.picture for one in batch])
        except Exception as error:  # of the model or the device: the thread must go on
            logger.exception("a batch of %d pictures failed", len(batch))
            results = [error] * len(batch)
        loop.call_soon_threadsafe(_settle, batch, results)


def _settle(batch: list[_Waiting], results: list[Judgement | Exception]) -> None:
    for one, result in zip(batch, results, strict=True):
        if one.judged.done():  # cancelled: the request ran out of time
            continue
        if isinstance(result, Exception):
            one.judged.set_exception(result)
        else:
            one.judged.set_result(result)
