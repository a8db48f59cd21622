"""Scores good pictures that a model did not learn from, or as if it had not."""

import hashlib
import heapq
import logging
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from common.calibration import HELD_OUT, LEFT_OUT, Normal, NormalScores
from common.errors import UsageError
from common.progress import progress
from datasets.loader import Loader
from datasets.samples import Sample, pictures_in, require_folder
from evaluation.scale import usual_score
from models.detector import Detector, Scores
from models.kept import KeptMaps

logger = logging.getLogger(__name__)

SHOWN = 10  # most unusual pictures whose maps are kept


@dataclass
class NormalPictures:
    """Good pictures in their order, with what the detector says of them.

    image, peak, usual : of each picture the image score, the maximum and the median of its map
    unusual : (image score, index, map) of the SHOWN pictures with the highest scores
    """

    source: str
    samples: list[Sample] = field(default_factory=list)
    image: list[float] = field(default_factory=list)
    peak: list[float] = field(default_factory=list)
    usual: list[float] = field(default_factory=list)
    unusual: list[tuple[float, int, np.ndarray]] = field(default_factory=list)

    def add(self, samples: list[Sample], scores: Scores) -> None:
        self.peak += scores.map.max(axis=(1, 2)).tolist()
        self.usual += [usual_score(pixels) for pixels in scores.map]
        for sample, score, pixels in zip(samples, scores.image.tolist(), scores.map, strict=True):
            entry = (score, len(self.samples), pixels)
            keep = heapq.heappush if len(self.unusual) < SHOWN else heapq.heappushpop
            keep(self.unusual, entry)
            self.samples.append(sample)
            self.image.append(score)

    def normal(self) -> Normal | None:
        """What the model keeps; None, with a warning, if there are too few pictures."""
        finite = np.isfinite(self.image) & np.isfinite(self.peak)
        if not finite.all():
            logger.warning(
                "no false-alarm rate can be promised: without %d of the %d training pictures there "
                "is nothing to compare them with. Add good pictures, or give --calibration_dir",
                *(int((~finite).sum()), len(finite)),
            )
            return None
        names = "\n".join(Path(sample.path).name for sample in self.samples)
        return Normal(
            NormalScores.of(self.image),
            NormalScores.of(self.peak),
            float(np.median(self.usual)),
            self.source,
            hashlib.sha256(names.encode("utf-8", "surrogateescape")).hexdigest(),
        )


def left_out(
    detector: Detector, kept: KeptMaps, samples: list[Sample], rest: Loader
) -> NormalPictures:
    """The training pictures `samples`, each as if it had been left out of training.

    `kept` has the stage maps of the first ones; `rest` reads the others again.
    """
    found, total = NormalPictures(LEFT_OUT), len(samples)

    def batches() -> Iterable[tuple[list[Sample], list[np.ndarray]]]:
        start = 0
        for maps in kept:
            yield samples[start : start + len(maps[0])], maps
            start += len(maps[0])
        with rest:
            for batch in rest:
                yield batch.samples, detector.maps(batch.images)

    what = f"leave out, {detector.record.category}"
    for chosen, maps in progress(batches(), total, what, size=lambda item: len(item[0])):
        found.add(chosen, detector.left_out(maps, len(found.samples)))
    return found


def held_out(detector: Detector, loader: Loader) -> NormalPictures:
    """Good pictures that the detector has not learned from."""
    found, what = NormalPictures(HELD_OUT), f"calibrate {detector.record.category}"
    with loader:
        for batch in progress(loader, len(loader), what, size=lambda batch: len(batch.samples)):
            found.add(batch.samples, detector.score(batch.images))
    return found


def held_out_samples(folder: Path, category: str, several: bool) -> list[Sample]:
    """The pictures of `category` in --calibration_dir: in a folder of its name, or else, for one
    category, in `folder` itself. UsageError if there are fewer than two."""
    require_folder(folder, "calibration_dir")
    own = folder / category
    if several or own.is_dir():
        folder = own
        require_folder(folder, "calibration_dir")
    found = pictures_in(folder, recursive=True)
    if len(found) < 2:
        raise UsageError(
            f"{folder}: {len(found)} good pictures; calibration needs at least 2, better 100",
            "calibration_dir",
        )
    return [Sample(path) for path in found]
