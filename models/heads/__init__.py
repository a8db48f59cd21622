"""The heads of the methods: one module per method, listed in `models.methods`.

`stored` and `checked` are for the arrays of every head: on their way into a file and back.
"""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from common.errors import WorkError
from models.grids import Grid

HEAD = "head."  # prefix of the names of a head's arrays in a file
Stages = Sequence[tuple[int, Grid]]  # (channels, (h,w)) of each stage map, finest first
Maps = Sequence[np.ndarray]  # float32 [B,c,h,w] of each stage, finest first


class Head(Protocol):
    """Learns from the stage maps of good pictures, then scores stage maps of other pictures.

    The image score and the patch scores may have different units.

    Attributes
    ----------
    settings : the method's settings (`models.methods`), with the values used
    n : int, number of training pictures
    unit : float, a usual patch score of a good picture; colours begin near it
    few_maps : int or None, not in all heads: of how many training pictures the left-out patch
        scores are enough, where they take long; `leave_image_out` gives the image scores of all
    """

    settings: Any
    n: int
    unit: float

    def __init__(self, settings, stages: Stages): ...

    @staticmethod
    def memory(settings, stages: Stages, pictures: int) -> int:
        """Largest number of bytes for learning and saving, without the features."""

    @staticmethod
    def stored_memory(settings, stages: Stages, pictures: int) -> int:
        """Largest number of bytes for a model from a file, without the features, on a CPU: for its
        arrays, `from_arrays`, `score` of one picture, and saving again.

        No file with such arrays is larger, and `from_arrays` refuses arrays that need more.
        """

    # A head whose `finish` can take long may have a static method
    # announcement(settings, stages: Stages, pictures: int) -> str | None: one line on what it
    # will make, how long this takes here, and which settings make it faster; None if it is short.

    def update(self, maps: Maps) -> None:
        """Learn from one batch."""

    def merge(self, other: "Head") -> None:
        """Add what `other` learned; call it before `finish` of both."""

    def finish(self) -> None:
        """End learning and prepare `score`.

        UsageError if there were too few pictures, WorkError if their maps cannot be used.
        """

    def score(self, maps: Maps) -> tuple[np.ndarray | None, np.ndarray]:
        """Image scores [B] and patch scores [B,h,w]; None: the maximum of the anomaly map."""

    def leave_one_out(self, maps: Maps, first: int = 0) -> tuple[np.ndarray | None, np.ndarray]:
        """The scores of training pictures if each one were left out of training.

        The maps are those of the pictures `first`, `first` + 1, …, counted from 0 in the order in
        which they were learned; the pictures of a merged head follow those that were there.
        """

    def arrays(self, dtype: str = "float32") -> dict[str, np.ndarray]:
        """The arrays for a file; large arrays as `dtype` (float32 or float16)."""

    @classmethod
    def from_arrays(cls, arrays: dict, settings, stages: Stages, n: int) -> "Head":
        """The head from `arrays`, ready to score; KeyError or ValueError if they do not match."""

    def layer(self):
        """A paddle Layer that computes `score` on tensors, or None if the method has none.

        Its tensors are on Paddle's current device. It must honour all settings, as `score` does.
        """


def stored(array: np.ndarray, dtype: str) -> np.ndarray:
    """`array` as `dtype`; WorkError if its values are too large for it."""
    with np.errstate(over="ignore"):
        found = array.astype(dtype, copy=False)
    if not np.isfinite(found).all():
        raise WorkError(f"the values are too large for {dtype}; use float32")
    return found


def checked(arrays: dict[str, np.ndarray], name: str, shape: tuple[int, ...]) -> np.ndarray:
    """The array as float32; KeyError or ValueError if it is missing or of another shape or kind."""
    array = arrays[name]
    if array.shape != shape or array.dtype.kind != "f":
        raise ValueError(f"{name} is {array.dtype} {array.shape}, expected float {shape}")
    return array.astype(np.float32, copy=False)
