"""Scores the test pictures of a category; several processes each score a share of them."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from common.progress import progress
from datasets.samples import Category
from evaluation.testing import ScoredPicture, score_all
from models.detector import Detector
from models.ensemble import EnsembleDetector, EnsembleRecord
from models.record import Record
from tasks.processes import processes
from tasks.runs import loader_for, unskipped
from tasks.settings import Validation
from tasks.shares import own_share, pictures_together, sum_of, tested_together
from tasks.sheets import chosen_pictures, keeper


@dataclass(frozen=True, eq=False)
class Scored:
    """Of all processes for rank 0; the others have nothing.

    pictures : those to draw, uint8 [H,W,3]
    skipped : number of test pictures that could not be read
    """

    tested: list[ScoredPicture]
    pictures: dict[Path, np.ndarray]
    skipped: int


def score(
    validation: Validation,
    open_detector: Callable[[], Detector | EnsembleDetector],
    record: Record | EnsembleRecord,
    category: Category,
) -> tuple[Detector | EnsembleDetector, Scored]:
    """Score the test pictures of `category` with the detector that `open_detector` opens."""
    samples = own_share(category.test, "test pictures")
    loader = loader_for(samples, record.preprocessing, validation.loading, masks=True)
    pictures, keep = keeper(loader.transform, _chosen(validation, category))
    what = f"validate {category.name}"
    with loader, unskipped():
        detector = open_detector()
        batches = progress(loader, len(loader), what, size=lambda batch: len(batch.samples))
        own = score_all(detector.score, batches, keep)
    tested = tested_together(own, category.test)
    pictures = pictures_together(pictures, category.test)
    return detector, Scored(tested, pictures, sum_of(len(loader.skipped)))


def _chosen(validation: Validation, category: Category) -> set[Path]:
    """The pictures to draw: those that rank 0 chooses, since the choice may be a random one."""
    chosen = chosen_pictures(category.test, validation.drawing)
    if processes().count == 1:
        return chosen
    own = [i for i, sample in enumerate(category.test) if sample.path in chosen]
    first = processes().gathered(msgspec.json.encode(own))[0]
    return {category.test[i].path for i in msgspec.json.decode(first, type=list[int])}
