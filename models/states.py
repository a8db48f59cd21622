"""What a head has learned so far, in a file: a training that is killed can go on from there."""

import dataclasses
from pathlib import Path

import numpy as np

from common.errors import UsageError
from models import checkpoint
from models.checkpoint import Kind
from models.detector import Detector
from models.heads import HEAD, Head
from models.loading import HEADER_BYTES
from models.methods import METHODS
from models.record import Record
from models.same import difference

REMEDY = "start again without --resume"
STATE = Kind("training state", 1, "resume", "train.py --save_every N writes one", REMEDY)
DIGEST = 32  # bytes


def require_states(method: str) -> None:
    """UsageError if what a head of `method` has learned cannot be kept."""
    if not hasattr(METHODS[method].head_class(), "state"):
        raise UsageError(f"a model of {method} cannot be kept while it learns", "save_every")


def save_state(
    path: Path, detector: Detector, head: Head, learned: np.ndarray, data: bytes
) -> None:
    """Write what `head`, with the detector's features, learned so far.

    learned : int64 [n], which pictures of the data set; data : SHA-256 of the data set
    """
    arrays = {f"{HEAD}{name}": array for name, array in head.state().items()}
    arrays |= detector.roi_arrays() | {
        "learned": np.asarray(learned, np.int64),
        "data": np.frombuffer(data, np.uint8),
    }
    checkpoint.save(path, arrays, dataclasses.replace(detector.record, pictures=head.n), STATE)


class State:
    """The contents of such a file. WorkError if it is damaged, UsageError if there is none.

    learned : int64 [n]
    data : SHA-256 of the data set
    """

    def __init__(self, path: Path):
        def most(record: Record) -> int:
            of_head = METHODS[record.method].head_class().memory
            found = of_head(record.settings, record.features.stages, record.pictures)
            return found + record.size[0] * record.size[1] + 8 * record.pictures + HEADER_BYTES

        self.path = path
        self.arrays, self.record = checkpoint.load(path, STATE, most)
        with checkpoint.reading(path, STATE):
            self.learned, data = self.arrays["learned"], self.arrays["data"]
            rising = self.learned.ndim == 1 and (np.diff(self.learned, prepend=-1) > 0).all()
            if not rising or len(self.learned) != self.record.pictures:
                raise ValueError("learned: expected one number per picture, ascending")
            if data.dtype != np.uint8 or data.shape != (DIGEST,):
                raise ValueError("data: expected a SHA-256")
        self.data = data.tobytes()

    def head(self, detector: Detector) -> Head:
        """The head, to go on with; UsageError if the detector is not the one that learned.

        The detector learns what the pictures looked like.
        """
        if found := difference(self.record, detector.record):
            name, theirs, ours = found
            raise UsageError(f"{self.path}: was of {name} {theirs}, not {ours}; {REMEDY}", "resume")
        for name, array in detector.roi_arrays().items():
            if not np.array_equal(array, self.arrays.get(name)):
                raise UsageError(f"{self.path}: was of another {name}; {REMEDY}", "resume")
        head = detector.blank()
        own = {k.removeprefix(HEAD): v for k, v in self.arrays.items() if k.startswith(HEAD)}
        with checkpoint.reading(self.path, STATE):
            head.restore(own, self.record.pictures)
        detector.record = dataclasses.replace(detector.record, looks=self.record.looks)
        return head
