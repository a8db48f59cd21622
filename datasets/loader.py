"""Decodes ahead of the consumer: threads work while the network does (Pillow releases the
interpreter while it decodes and resizes)."""

import logging
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice

import numpy as np

from common.looks import Look, Looks
from common.timing import phase
from datasets.looks import look_of
from datasets.samples import Sample
from datasets.transforms import BadPictureError, Transform

DECODING = "decoding (threads' time)"  # the phase
AHEAD_BYTES = 2**27  # of decoded pictures that wait, beyond one batch

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Batch:
    """`images` float32 [B,3,H,W], normalised; `masks` bool [H,W] each, None where unknown;
    `looks` of the pictures, with the sizes of the originals."""

    samples: list[Sample]
    images: np.ndarray
    masks: list[np.ndarray | None]
    looks: list[Look]


class Loader:
    """Batches of `samples` in their order; iterate once.

    `workers` threads decode, or with 0 the calling thread; they begin at `start`, or else when the
    first batch is requested. A picture that does not decode raises BadPictureError; with `skip_bad`
    it is left out, logged, and its error added to `skipped`. At most three batches are decoded
    ahead, so that memory does not grow with the number of pictures. `looks`: of all batches so
    far; None before the first.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        transform: Transform,
        batch_size: int = 32,
        workers: int = 2,
        skip_bad: bool = False,
        masks: bool = False,
    ):
        self.samples = samples
        self.transform = transform
        self.batch_size = batch_size
        self.workers = workers
        self.skip_bad = skip_bad
        self.masks = masks
        self.skipped: list[BadPictureError] = []
        self.looks: Looks | None = None
        self._coming = iter(samples)
        self._pending: deque[Future] = deque()
        self._pool = None

    def start(self) -> "Loader":
        """Begin to decode the first batches, while the caller still prepares the network.

        A caller that may fail before it iterates uses the loader as a context manager instead.
        """
        if self.workers and self._pool is None:
            self._pool = ThreadPoolExecutor(self.workers, thread_name_prefix="decoder")
            for sample in islice(self._coming, self._ahead()):
                self._pending.append(self._pool.submit(self._decode, sample))
        return self

    def _ahead(self) -> int:
        """Pictures to decode ahead: three batches, or one where pictures are large."""
        height, width = self.transform.preprocessing.crop
        few, many = self.batch_size + self.workers, 3 * self.batch_size + self.workers
        return max(few, min(many, AHEAD_BYTES // (12 * height * width)))

    def __enter__(self) -> "Loader":
        return self.start()

    def __exit__(self, *_) -> None:
        """Cancel what is not decoded yet."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def __len__(self) -> int:
        return len(self.samples)

    def __iter__(self) -> Iterator[Batch]:
        items = []
        for item in self._decoded():
            items.append(item)
            if len(items) == self.batch_size:
                yield self._batch(items)
                items = []
        if items:
            yield self._batch(items)

    def _batch(self, items: list[tuple]) -> Batch:
        batch = _batch(items)
        for look in batch.looks:
            found = Looks.of(look)
            self.looks = found if self.looks is None else self.looks | found
        return batch

    def _decoded(self) -> Iterator[tuple]:
        if self.workers == 0:
            for sample in self.samples:
                yield from self._result(_done(self._decode, sample))
            return
        with self:  # the consumer may stop early, or a picture may be bad
            while self._pending:
                future = self._pending.popleft()
                for sample in islice(self._coming, 1):
                    self._pending.append(self._pool.submit(self._decode, sample))
                yield from self._result(future)

    def _decode(self, sample: Sample) -> tuple:
        start = time.perf_counter()
        picture, size = self.transform.sized_picture(sample.path)
        image, mask = self.transform.normalize(picture), self._mask(sample)
        look = look_of(picture, size)
        phase.add(DECODING, time.perf_counter() - start)
        return sample, image, mask, look

    def _mask(self, sample: Sample) -> np.ndarray | None:
        if not self.masks:
            return None
        if not sample.defective:
            return np.zeros(self.transform.preprocessing.crop, bool)
        return None if sample.mask is None else self.transform.mask(sample.mask)

    def _result(self, future: Future) -> Iterator[tuple]:
        with phase("waiting for decoding"):
            error = future.exception()
        if error is None:
            yield future.result()
        elif self.skip_bad and isinstance(error, BadPictureError):
            self.skipped.append(error)
            logger.warning("skipped: %s", error)
        else:
            raise error


def _done(function, argument) -> Future:
    """What `submit` would return, computed at once in this thread."""
    future = Future()
    try:
        future.set_result(function(argument))
    except BadPictureError as error:
        future.set_exception(error)
    return future


def _batch(items: list[tuple]) -> Batch:
    samples, images, masks, looks = zip(*items, strict=True)
    return Batch(list(samples), np.stack(images), list(masks), list(looks))
