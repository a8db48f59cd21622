"""Checks the scores of left-out pictures by models that were fitted without these pictures."""

import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from common.errors import UsageError
from common.progress import progress
from evaluation.folds import FoldCheck
from inspection.normal import NormalPictures
from models.detector import Detector
from models.kept import KeptMaps

logger = logging.getLogger(__name__)


def require_folds(folds: int, pictures: int, where: str) -> None:
    """UsageError if so many training pictures cannot be divided into so many parts."""
    if pictures < max(folds, 4):
        raise UsageError(
            f"{where}: {pictures} training pictures; {folds} folds need {max(folds, 4)}", "folds"
        )


def check_folds(
    detector: Detector, kept: KeptMaps, found: NormalPictures, folds: int, fpr: float, folder: Path
) -> None:
    """Compare the left-out scores of `found` with those of `folds` parts; write folds.png and
    folds.json into `folder`.

    `kept` has the stage maps of the first training pictures. Only these are divided.
    """
    if kept.pictures < len(found.image):
        logger.warning(
            "the check of folds is limited to the first %d of %d training pictures, whose features "
            "fit on the disk",
            *(kept.pictures, len(found.image)),
        )
    left_out = np.array(found.image[: kept.pictures])
    if kept.pictures < max(folds, 4) or not np.isfinite(left_out).all():
        logger.warning("no check of folds: too few training pictures have a score to compare")
        return
    k_fold = _scores(detector, kept, folds)
    check = FoldCheck(folds, fpr, left_out, k_fold)
    check.write(folder, detector.record.category)
    logger.info("%s", check.text())


def _scores(detector: Detector, kept: KeptMaps, folds: int) -> np.ndarray:
    """The image score [n] of each kept picture, by a model fitted without its part.

    Part k has every K-th picture: neighbours in a folder are often alike, and would leave a part
    with pictures that the others do not explain.
    """
    scores = np.empty(kept.pictures)

    def parts() -> Iterator[int]:
        for k in range(folds):
            known = detector.features, detector.head, detector.record, detector.name
            other = Detector(*known, detector.roi, detector.device)
            other.learn(maps for _, maps in _chosen(kept, folds, k, inside=False))
            for index, maps in _chosen(kept, folds, k, inside=True):
                scores[index] = other.judge(maps).image
                yield len(index)

    for _ in progress(parts(), len(scores), f"{folds} folds", size=lambda count: count):
        pass
    return scores


def _chosen(
    kept: KeptMaps, folds: int, k: int, inside: bool
) -> Iterator[tuple[np.ndarray, list[np.ndarray]]]:
    """Numbers and stage maps of the pictures in part k, or of all others, batch by batch."""
    start = 0
    for maps in kept:
        index = np.arange(start, start + len(maps[0]))
        start += len(index)
        chosen = (index % folds == k) == inside
        if chosen.any():
            yield index[chosen], [stage[chosen] for stage in maps]
