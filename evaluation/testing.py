"""Test pictures with what the detector says of them."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True, eq=False)
class ScoredPicture:
    """One test picture: the truth and the detector's scores.

    kind : `good` or the kind of defect
    score : image score
    map : pixel scores, float32 [H,W]
    mask : true defect, bool [H,W]; None where it is unknown
    """

    path: Path
    kind: str
    defective: bool
    score: float
    map: np.ndarray
    mask: np.ndarray | None


def score_all(score: Callable, batches: Iterable, keep: Callable) -> list[ScoredPicture]:
    """Score every batch; `keep(batch)` is called with each before its pictures are freed."""
    tested = []
    for batch in batches:
        scores = score(batch.images)
        tested += [
            ScoredPicture(sample.path, sample.kind, sample.defective, image, pixels, mask)
            for sample, image, pixels, mask in zip(
                batch.samples, scores.image.tolist(), scores.map, batch.masks, strict=True
            )
        ]
        keep(batch)
    return tested
