"""Keeps what a training has learned so far, so that it can go on after a kill."""

import hashlib
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from common.errors import UsageError
from common.timing import phase
from datasets.samples import Sample
from models.detector import Detector
from models.heads import Head
from models.states import REMEDY, State, require_states, save_state
from tasks.settings import Saving

logger = logging.getLogger(__name__)

FILE = "training.state"


class Resumable:
    """The training on `train`, a list of pictures whose order is fixed.

    Attributes
    ----------
    before : pictures that were learned before a kill, in the order of learning
    rest : those that follow
    """

    def __init__(
        self, folder: Path, saving: Saving, train: Sequence[Sample], precision: str, method: str
    ):
        self.path, self.saving, self.train = folder / FILE, saving, list(train)
        self.precision, self.state = precision, None
        self.before, self.rest, self.saved = [], self.train, 0
        if saving.every is not None:
            require_states(method)
        if not saving.resume:
            return
        if not self.path.exists():
            logger.info("%s: there is nothing to resume; all pictures are read", self.path)
            return
        self._open()

    def _open(self) -> None:
        self.state = State(self.path)
        if self.state.data != self._digest():
            raise UsageError(
                f"{self.path}: was of other training pictures (names, sizes, times of change) or "
                f"another --precision; {REMEDY}",
                "resume",
            )
        learned = self.state.learned.tolist()
        if learned[-1] >= len(self.train):
            raise UsageError(f"{self.path}: was of more training pictures; {REMEDY}", "resume")
        self.before, self.rest = [self.train[i] for i in learned], self.train[learned[-1] + 1 :]
        self.saved = len(self.before)
        logger.info("%s: goes on after %d pictures", self.path, len(self.before))

    def head(self, detector: Detector) -> Head:
        """The head to learn on with; UsageError if options have changed."""
        state, self.state = self.state, None  # frees memory
        return detector.blank() if state is None else state.head(detector)

    def after(self, detector: Detector, head: Head, samples: list[Sample]) -> None:
        """Save the state of `head` if it is time; `samples`: those learned in this run."""
        learned = len(self.before) + len(samples)
        if self.saving.every is None or learned - self.saved < self.saving.every:
            return
        numbers = {sample.path: i for i, sample in enumerate(self.train)}
        found = [numbers[sample.path] for sample in (*self.before, *samples)]
        with phase("saving"):
            save_state(self.path, detector, head, np.array(found), self._digest())
        self.saved = learned

    def end(self) -> None:
        """The model is saved: the state is needed no more."""
        self.path.unlink(missing_ok=True)

    def _digest(self) -> bytes:
        """SHA-256 of what the features follow from beside the model: pictures and precision."""
        found = hashlib.sha256(self.precision.encode() + b"\n")
        for sample in self.train:
            status = Path(sample.path).stat()
            name = Path(sample.path).name.encode("utf-8", "surrogateescape")
            found.update(b"%s\0%d\0%d\n" % (name, status.st_size, status.st_mtime_ns))
        return found.digest()
