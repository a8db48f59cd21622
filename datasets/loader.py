"""Decodes ahead of whoever consumes: threads work while the network does (Pillow lets go of
the interpreter while it decodes and resizes)."""

import logging
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice

import numpy as np

from common.timing import phase
from datasets.samples import Sample
from datasets.transforms import BadPictureError, Preprocessing

DECODING = "decoding (threads' time)"  # the phase
AHEAD_BYTES = 2**27  # of pictures decoded ahead, more than a batch of them

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Batch:
    """`images` float32 [B,3,H,W], normalised; `masks` bool [H,W] each, None where unknown."""

    samples: list[Sample]
    images: np.ndarray
    masks: list[np.ndarray | None]


class Loader:
    """Batches of `samples` in their order; iterate once.

    `workers` threads decode (0: the caller's own), from `start` on or else from the first batch
    asked for. A picture that does not decode raises BadPictureError, or with `skip_bad` is left
    out, logged, and kept in `skipped`. No more than three batches are decoded ahead, so that memory
    does not grow with the number of pictures.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        preprocessing: Preprocessing,
        batch_size: int = 32,
        workers: int = 2,
        skip_bad: bool = False,
        masks: bool = False,
    ):
        self.samples = samples
        self.preprocessing = preprocessing
        self.batch_size = batch_size
        self.workers = workers
        self.skip_bad = skip_bad
        self.masks = masks
        self.skipped: list[BadPictureError] = []
        self._coming = iter(samples)
        self._pending: deque[Future] = deque()
        self._pool = None

    def start(self) -> "Loader":
        """Decode the first batches from now on, while the caller still prepares the network.

        A caller that may not come to iterate uses the loader as a context manager instead.
        """
        if self.workers and self._pool is None:
            self._pool = ThreadPoolExecutor(self.workers, thread_name_prefix="decoder")
            for sample in islice(self._coming, self._ahead()):
                self._pending.append(self._pool.submit(self._decode, sample))
        return self

    def _ahead(self) -> int:
        """Pictures to decode ahead: three batches, or of large pictures one."""
        height, width = self.preprocessing.crop
        few, many = self.batch_size + self.workers, 3 * self.batch_size + self.workers
        return max(few, min(many, AHEAD_BYTES // (12 * height * width)))

    def __enter__(self) -> "Loader":
        return self.start()

    def __exit__(self, *_) -> None:
        """What is not decoded yet stays so."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def __len__(self) -> int:
        return len(self.samples)

    def __iter__(self) -> Iterator[Batch]:
        items = []
        for sample, image, mask in self._decoded():
            items.append((sample, image, mask))
            if len(items) == self.batch_size:
                yield _batch(items)
                items = []
        if items:
            yield _batch(items)

    def _decoded(self) -> Iterator[tuple]:
        if self.workers == 0:
            for sample in self.samples:
                yield from self._result(_done(self._decode, sample))
            return
        with self:  # the consumer may leave early, or a picture be bad
            while self._pending:
                future = self._pending.popleft()
                for sample in islice(self._coming, 1):
                    self._pending.append(self._pool.submit(self._decode, sample))
                yield from self._result(future)

    def _decode(self, sample: Sample) -> tuple:
        start = time.perf_counter()
        image = self.preprocessing.normalize(self.preprocessing.picture(sample.path))
        mask = self._mask(sample)
        phase.add(DECODING, time.perf_counter() - start)
        return sample, image, mask

    def _mask(self, sample: Sample) -> np.ndarray | None:
        if not self.masks:
            return None
        if not sample.defective:
            return np.zeros(self.preprocessing.crop, bool)
        return self.preprocessing.mask(sample.mask) if sample.mask else None

    def _result(self, future: Future) -> Iterator[tuple]:
        with phase("waiting for decoding"):
            error = future.exception()
        if error is None:
            yield future.result()
        elif self.skip_bad and isinstance(error, BadPictureError):
            self.skipped.append(error)
            logger.warning("skipped: %s", error)
        elif isinstance(error, BadPictureError):
            raise BadPictureError(f"{error}, or go on without it by --skip_bad") from error
        else:
            raise error


def _done(function, argument) -> Future:
    """What `submit` would return, computed here and now."""
    future = Future()
    try:
        future.set_result(function(argument))
    except BadPictureError as error:
        future.set_exception(error)
    return future


def _batch(items: list[tuple]) -> Batch:
    samples, images, masks = zip(*items, strict=True)
    return Batch(list(samples), np.stack(images), list(masks))
