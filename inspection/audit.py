"""The training pictures that are least like the others: defective ones spoil a model."""

from dataclasses import dataclass

from common.tail import steady_tail
from datasets.sources import Source
from inspection.normal import NormalPictures


@dataclass(frozen=True)
class Audited:
    """A training picture. `p_value`: of its score among the others; `beyond`: less than 1/n."""

    index: int
    source: Source
    score: float
    p_value: float
    beyond: bool


def audit(found: NormalPictures) -> list[Audited]:
    """All training pictures, the most unusual first.

    The p-value is from the tail that the rest of the scores shows; below the tail it is the share
    of scores at least as high.
    """
    n = len(found.image)
    order = sorted(range(n), key=lambda i: -found.image[i])
    tail = steady_tail([found.image[i] for i in reversed(order)])
    rows = []
    for rank, i in enumerate(order):
        score = found.image[i]
        p = tail.exceeded(score) if score > tail.start else (rank + 1) / n
        rows.append(Audited(i, found.samples[i].path, score, p, p < 1 / n))
    return rows
