"""What a method adds to the features: one module per method, listed in `models.methods`."""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from models.grids import Grid

Stages = Sequence[tuple[int, Grid]]  # (channels, (h,w)) of each stage map, finest first
Maps = Sequence[np.ndarray]  # float32 [B,c,h,w] of each stage, finest first


class Head(Protocol):
    """Learns from the stage maps of good pictures, then scores those of others.

    The image score and the patch scores may have different units.

    Attributes
    ----------
    settings : the method's settings (`models.methods`), as used
    n : int, pictures learned from
    unit : float, a usual patch score of a good picture; colours begin near it
    """

    settings: Any
    n: int
    unit: float

    def __init__(self, settings, stages: Stages): ...

    @staticmethod
    def memory(settings, stages: Stages) -> int:
        """Bytes that learning and saving take at most, beside the features."""

    def update(self, maps: Maps) -> None:
        """Learn from one batch."""

    def merge(self, other: "Head") -> None:
        """Learn what `other` learned; both before `finish`."""

    def finish(self) -> None:
        """Turn what was learned into what `score` needs.

        UsageError where there were too few pictures, WorkError where their maps cannot be used.
        """

    def score(self, maps: Maps) -> tuple[np.ndarray | None, np.ndarray]:
        """Image scores [B] and patch scores [B,h,w]; None: the maximum of the anomaly map."""

    def leave_one_out(self, maps: Maps) -> tuple[np.ndarray | None, np.ndarray]:
        """What `score` would give for pictures learned from, had each been left out."""

    def arrays(self, dtype: str = "float32") -> dict[str, np.ndarray]:
        """What a file keeps; large arrays as `dtype` (float32 or float16)."""

    @classmethod
    def from_arrays(cls, arrays: dict, settings, stages: Stages, n: int) -> "Head":
        """The head of `arrays`, ready to score; KeyError or ValueError where they do not fit."""

    def layer(self):
        """A paddle Layer that computes `score` on tensors, or None where there is none."""
