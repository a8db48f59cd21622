"""The networks of all models, in a process of their own.

Paddle keeps the interpreter while a graph runs. In its own process it does not stop the one that
receives and decodes pictures meanwhile, and a crash of it does not end the service.
"""

import atexit
import logging
import math
import multiprocessing
import signal
import threading
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

from common.errors import UsageError, WorkError, message
from common.logs import start_logging
from common.signals import at_end
from inspection import Inspector
from models.detector import Scores
from models.engine import Engine
from models.predictor import AT_ONCE
from models.record import Record
from service.memory import trimmer

CONTEXT = multiprocessing.get_context("spawn")
END_SECONDS = 10.0
START_SECONDS = 600.0  # to open all models
BATCH_SECONDS, PICTURE_SECONDS = 60.0, 10.0  # for a batch, and more for each of its pictures

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Shared:
    """Memory that both processes see: pictures of a batch, their maps and image scores."""

    pictures: object
    maps: object
    scores: object

    @classmethod
    def of(cls, batch_size: int, pixels: int) -> "Shared":
        """For `batch_size` pictures of at most so many `pixels`."""
        sizes = 3 * pixels, pixels, 1
        return cls(*(CONTEXT.RawArray("f", batch_size * size) for size in sizes))

    def view(self, name: str, *shape: int) -> np.ndarray:
        """The first numbers of an array as float32 of `shape`."""
        count = int(np.prod(shape))
        return np.frombuffer(getattr(self, name), np.float32, count).reshape(shape)


class Networks:
    """The process that has the networks of several models: their folders and records."""

    def __init__(self, models: Sequence[tuple[Path, Record]], engine: Engine, batch_size: int):
        self.models, self.engine, self.batch_size = list(models), engine, batch_size
        pixels = max(math.prod(record.size) for _, record in self.models)
        self._shared, self._lock = Shared.of(batch_size, pixels), threading.Lock()
        self._process, self._closed = None, False
        self._ending = ExitStack()

    def start(self) -> "Networks":
        """Open all models and let each judge a test picture; raises as `Inspector.load`."""
        self._connection, theirs = CONTEXT.Pipe()
        what = (theirs, self._shared, self.models, self.engine, self.batch_size)
        self._process = CONTEXT.Process(target=_run, args=what, name="networks", daemon=True)
        self._process.start()
        atexit.register(self._process.kill)  # it ignores SIGTERM, with which Python would end it
        self._ending.close()
        self._ending.enter_context(at_end(lambda _: self._process.kill()))
        theirs.close()
        self._answer(START_SECONDS)
        return self

    def score(self, index: int, images: np.ndarray) -> Scores:
        """Scores of pictures float32 [B,3,H,W] by the model `models[index]`.

        WorkError if the process fails; the next call starts another one.
        """
        count, _, *size = images.shape
        with self._lock:
            if self._closed:
                raise WorkError("the networks are closed")
            if not self._process.is_alive():
                self.start()
            self._shared.view("pictures", *images.shape)[:] = images
            self._ask((index, images.shape), BATCH_SECONDS + count * PICTURE_SECONDS)
            maps = self._shared.view("maps", count, *size).copy()
            return Scores(self._shared.view("scores", count).copy(), maps)

    def close(self) -> None:
        with self._lock:
            self._closed = True
            self._connection.close()  # which ends the process
            self._process.join(END_SECONDS)
            self._process.kill()  # if it has not ended
            atexit.unregister(self._process.kill)
            self._ending.close()

    def _ask(self, question: tuple, seconds: float) -> None:
        try:
            self._connection.send(question)
        except OSError as error:
            raise WorkError("the process of the networks has ended") from error
        self._answer(seconds)

    def _answer(self, seconds: float) -> None:
        try:
            if not self._connection.poll(seconds):
                self._process.kill()
                self._process.join(END_SECONDS)
                raise WorkError(f"the process of the networks did not answer for {seconds:.0f} s")
            error = self._connection.recv()
        except (EOFError, OSError) as failure:
            self._process.join(END_SECONDS)
            code = self._process.exitcode
            raise WorkError(f"the process of the networks has ended ({code})") from failure
        if error is not None:
            raise error


class NetworkDetector:
    """What `Inspector` needs of a detector, with its network in the process of `networks`."""

    def __init__(self, record, networks: Networks, index: int):
        self.record, self._networks, self._index = record, networks, index

    def score(self, images: np.ndarray) -> Scores:
        return self._networks.score(self._index, images)


def _run(
    connection: Connection,
    shared: Shared,
    models: list[tuple[Path, Record]],
    engine: Engine,
    batch_size: int,
) -> None:
    """The process: answers None, or the error, to each question, until the connection ends."""
    for number in (signal.SIGINT, signal.SIGTERM, getattr(signal, "SIGHUP", None)):
        if number is not None:
            signal.signal(number, signal.SIG_IGN)  # the service ends this process itself
    start_logging()
    try:
        detectors = [_opened(*model, engine, batch_size) for model in models]
    except (UsageError, WorkError) as error:
        connection.send(error)
        return
    connection.send(None)
    trim = trimmer()
    while True:
        trim()
        try:
            index, shape = connection.recv()
        except (EOFError, OSError):
            return
        try:
            found = detectors[index].score(shared.view("pictures", *shape))
            shared.view("maps", *found.map.shape)[:] = found.map
            shared.view("scores", len(found.image))[:] = found.image
            connection.send(None)
        except Exception as error:  # of the model or the device: the service says it
            logger.exception("a batch of %d pictures failed", shape[0])
            connection.send(WorkError(message(error)))


def _opened(folder: Path, record: Record, engine: Engine, batch_size: int):
    """The detector in `folder`, which has judged test pictures; WorkError if it is another."""
    inspector = Inspector.open(folder, engine, batch_size=batch_size)
    if inspector.record.arrays_sha256 != record.arrays_sha256:
        raise WorkError(f"{folder}: changed since it was opened; reload the models")
    picture = inspector.decode(noise(inspector))
    for size in range(min(batch_size, AT_ONCE), 0, -1):
        inspector.judge([picture] * size)  # the first batch of a size needs time and memory
    return inspector.detector


def noise(inspector: Inspector) -> np.ndarray:
    """A test picture, uint8 [H,W,3]."""
    return np.random.default_rng(0).integers(0, 256, (*inspector.record.size, 3), np.uint8)
