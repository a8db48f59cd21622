"""Scores good pictures that a model did not learn from, or as if it had not."""

import hashlib
import heapq
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from common.calibration import HELD_OUT, LEFT_OUT, Normal, NormalScores, spread
from common.progress import progress
from datasets.loader import Loader
from datasets.samples import Sample
from evaluation.scale import usual_score
from models.detector import Detector, Scores
from models.kept import KeptMaps

logger = logging.getLogger(__name__)

SHOWN = 10  # most unusual pictures whose maps are kept


@dataclass
class NormalPictures:
    """Good pictures in their order, with what the detector says of them.

    image : of each picture the image score
    peak, usual : maximum and median of the maps of all or some of the pictures
    unusual : (image score, index, map) of the SHOWN pictures with the highest scores
    """

    source: str
    samples: list[Sample] = field(default_factory=list)
    image: list[float] = field(default_factory=list)
    peak: list[float] = field(default_factory=list)
    usual: list[float] = field(default_factory=list)
    unusual: list[tuple[float, int, np.ndarray]] = field(default_factory=list)

    def add(self, samples: list[Sample], scores: Scores) -> None:
        """Add the next pictures."""
        self.add_maps(scores.map)
        self.add_images(samples, scores.image, lambda row: scores.map[row].copy())

    def add_maps(self, maps: np.ndarray) -> None:
        """Add maps float32 [B,H,W] of some of the pictures."""
        self.peak += maps.max(axis=(1, 2)).tolist()
        self.usual += [usual_score(pixels) for pixels in maps]

    def add_images(self, samples: list[Sample], scores: np.ndarray, keep: Callable) -> None:
        """Add the next pictures and their image scores; `keep(row)` goes into `unusual`."""
        for row, (sample, score) in enumerate(zip(samples, scores.tolist(), strict=True)):
            if len(self.unusual) < SHOWN or score > self.unusual[0][0]:
                push = heapq.heappush if len(self.unusual) < SHOWN else heapq.heappushpop
                push(self.unusual, (score, len(self.samples), keep(row)))
            self.samples.append(sample)
            self.image.append(score)

    def join(self, other: "NormalPictures") -> None:
        """Add the pictures of `other` behind these."""
        start = len(self.samples)
        self.unusual += [(score, start + index, pixels) for score, index, pixels in other.unusual]
        self.unusual = sorted(self.unusual, key=lambda one: one[:2])[-SHOWN:]
        self.samples += other.samples
        for name in ("image", "peak", "usual"):
            getattr(self, name).extend(getattr(other, name))

    def normal(self) -> Normal | None:
        """What the model keeps; None, with a warning, if there are too few pictures."""
        if len(self.image) < 2:
            logger.warning("no false-alarm rate can be promised by one picture")
            return None
        lost = np.count_nonzero(~np.isfinite(self.image)) + np.count_nonzero(
            ~np.isfinite(self.peak)
        )
        if lost:
            logger.warning(
                "no false-alarm rate can be promised: without some of the %d training pictures "
                "there is nothing to compare them with. Add good pictures, or give "
                "--calibration_dir",
                len(self.image),
            )
            return None
        return Normal(
            NormalScores.of(self.image),
            NormalScores.of(self.peak),
            float(np.median(self.usual)),
            self.source,
            pictures_digest(self.samples),
        )


def pictures_digest(samples: list[Sample]) -> str:
    """SHA-256 of the pictures' names, or of those themselves that are no files."""
    found = hashlib.sha256()
    for source in (sample.path for sample in samples):
        if isinstance(source, str | Path):
            text = Path(source).name.encode("utf-8", "surrogateescape")
        elif isinstance(source, bytes):
            text = hashlib.sha256(source).digest()
        else:
            text = hashlib.sha256(np.ascontiguousarray(source)).digest()
        found.update(text + b"\n")
    return found.hexdigest()


def left_out(
    detector: Detector,
    kept: KeptMaps,
    samples: list[Sample],
    rest: Loader,
    first: int = 0,
    part: tuple[int, int] | None = None,
) -> NormalPictures:
    """The training pictures `samples`, each as if it had been left out of training.

    `kept` has the stage maps of the first ones; `rest` reads the others again. `first`: number of
    pictures that the detector learned from before these. `part`: where `samples` begin in a longer
    list, and its length, if other processes score the rest of it.
    """
    begin, total = part or (0, len(samples))
    found, few = NormalPictures(LEFT_OUT), getattr(detector.head, "few_maps", None)
    batches, what = (
        _stage_maps(detector, kept, samples, rest),
        f"leave out, {detector.record.category}",
    )
    batches = progress(batches, len(samples), what, size=lambda item: len(item[0]))
    if few is None or few >= total:
        for chosen, maps in batches:
            found.add(chosen, detector.left_out(maps, first + len(found.samples)))
        return found
    wanted = set(spread(total, few))
    for chosen, maps in batches:
        start = len(found.samples)
        for row in range(len(chosen)):
            if begin + start + row in wanted:
                found.add_maps(detector.left_out(_one(maps, row), first + start + row).map)
        scores = detector.left_out_image(maps, first + start)
        found.add_images(chosen, scores, lambda row, maps=maps: _one(maps, row))
    found.unusual = [
        (score, index, detector.left_out(maps, first + index).map[0])
        for score, index, maps in found.unusual
    ]
    return found


def _stage_maps(
    detector: Detector, kept: KeptMaps, samples: list[Sample], rest: Loader
) -> Iterator[tuple[list[Sample], list[np.ndarray]]]:
    """Batches of the training pictures with their stage maps."""
    start = 0
    for maps in kept:
        yield samples[start : start + len(maps[0])], maps
        start += len(maps[0])
    with rest:
        for batch in rest:
            yield batch.samples, detector.maps(batch.images)


def _one(maps: list[np.ndarray], row: int) -> list[np.ndarray]:
    """Copies of the maps of one picture; views would keep the batch."""
    return [stage[row : row + 1].copy() for stage in maps]


def held_out(detector: Detector, loader: Loader) -> NormalPictures:
    """Good pictures that the detector has not learned from; maybe those of one process."""
    found, what = NormalPictures(HELD_OUT), f"calibrate {detector.record.category}"
    with loader:
        for batch in progress(loader, len(loader), what, size=lambda batch: len(batch.samples)):
            found.add(batch.samples, detector.score(batch.images))
    return found
