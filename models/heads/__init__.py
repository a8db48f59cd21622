"""The heads of the methods: one module per method, listed in `models.methods`."""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

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
    """

    settings: Any
    n: int
    unit: float

    def __init__(self, settings, stages: Stages): ...

    @staticmethod
    def memory(settings, stages: Stages, pictures: int) -> int:
        """Largest number of bytes for learning and saving, without the features."""

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

        `first`: number of the first of them, in the order in which they were learned; those of a
        merged head follow the own ones.
        """

    def arrays(self, dtype: str = "float32") -> dict[str, np.ndarray]:
        """The arrays for a file; large arrays as `dtype` (float32 or float16)."""

    @classmethod
    def from_arrays(cls, arrays: dict, settings, stages: Stages, n: int) -> "Head":
        """The head from `arrays`, ready to score; KeyError or ValueError if they do not match."""

    def layer(self):
        """A paddle Layer that computes `score` on tensors, or None if the method has none."""
