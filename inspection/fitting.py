"""Learns from good pictures in Python, without folders and options."""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from common.calibration import Calibration
from common.errors import UsageError
from common.preprocessing import Preprocessing
from common.progress import progress
from datasets import vips
from datasets.loader import Loader
from datasets.samples import Sample
from datasets.transforms import MAX_PIXELS, BadPictureError, Source, Transform
from inspection.audit import Audited, audit
from inspection.inspector import Inspector
from inspection.normal import NormalPictures, left_out
from models import checkpoint
from models.detector import Detector
from models.engine import Engine
from models.factory import build_detector, plan
from models.heads import Head
from models.kept import KeptMaps


@dataclass
class Fitted:
    """A detector and what it was fitted on.

    samples : the pictures, in the order of learning
    skipped : errors of pictures that could not be read
    normal : the pictures as if each had been left out; None without calibration
    """

    detector: Detector
    samples: list[Sample]
    skipped: list[BadPictureError]
    normal: NormalPictures | None

    def audit(self) -> list[Audited]:
        """The training pictures, the most unusual first; empty without calibration."""
        known = self.normal is not None and self.detector.record.calibration.normal is not None
        return audit(self.normal) if known else []

    def inspector(self, **settings) -> Inspector:
        """Judges pictures with the detector; `settings` of Inspector.open."""
        detector = self.detector
        return Inspector(detector.record, lambda _: detector, Path("the fitted model"), **settings)

    def save(self, path: str | Path) -> None:
        """Write a checkpoint, which all scripts accept."""
        checkpoint.save(Path(path), self.detector.arrays(), self.detector.record)


def fit(
    pictures: Sequence[Source],
    engine: Engine | None = None,
    roi: np.ndarray | None = None,
    calibrate: bool = True,
    batch_size: int = 32,
    workers: int = 2,
    max_pixels: int = MAX_PIXELS,
    skip_bad: bool = False,
    folder: str | Path | None = None,
    **settings,
) -> Fitted:
    """Fit a detector on good `pictures`.

    Parameters
    ----------
    pictures : paths, bytes or arrays; read twice where their features do not fit on the disk
    roi : region of interest, bool [H,W] of the crop
    calibrate : whether to score each picture as if it had been left out, for false-alarm rates
    skip_bad : whether to leave out pictures that cannot be read
    folder : where features are kept meanwhile, in a file without a name; None: the usual one
    settings : of models.factory.plan: method, backbone, preprocessing, category, …

    To follow the work or to end it, see common.progress.watched. Raises UsageError (too few
    pictures, settings that contradict each other), WorkError, BadPictureError.
    """
    pictures = list(pictures)
    if settings.get("preprocessing") is None:
        settings["preprocessing"] = Preprocessing(decoder=vips.best())
    planned = plan(**settings, batch_size=batch_size, pictures=len(pictures))
    transform, samples = Transform(planned.preprocessing, max_pixels), [*map(Sample, pictures)]
    loader = Loader(samples, transform, batch_size, workers, skip_bad)
    with KeptMaps(folder or Path(tempfile.gettempdir())) as kept:
        with loader:
            detector = build_detector(planned, engine, roi)
            samples = learn(detector, loader, kept if calibrate else None)
        normal = None
        if calibrate:
            # Without skip_bad: pictures keep their numbers.
            rest = Loader(samples[kept.pictures :], transform, batch_size, workers)
            normal = left_out(detector, kept, samples, rest)
            calibration = Calibration(normal.normal())
            detector.record = replace(detector.record, calibration=calibration)
    return Fitted(detector, samples, loader.skipped, normal)


def learn(
    detector: Detector,
    loader: Loader,
    kept: KeptMaps | None = None,
    head: Head | None = None,
    after: Callable[[list[Sample]], None] | None = None,
    join: Callable[[Head], Head] | None = None,
) -> list[Sample]:
    """Fit `detector` on the pictures of `loader`, which decodes them at the same time; returns them
    in the order of learning. Stage maps are added to `kept`.

    head : to learn on with (Detector.fit)
    after : called after each batch with the pictures learned so far
    join : adds what other processes learned (Detector.fit)
    """
    if not len(loader) and head is None and join is None:
        raise UsageError("there are no training pictures")
    # What is known of pictures learned before; nothing, though there were some, in an old model.
    before = detector.record.looks if head is not None else None
    unknown = head is not None and before is None and detector.record.pictures > 0
    what, samples = f"fit {detector.record.category}", []
    batches = progress(loader, len(loader), what, size=lambda batch: len(batch.samples))

    def images() -> Iterator[np.ndarray]:
        for batch in batches:
            samples.extend(batch.samples)
            yield batch.images
            if not unknown:
                looks = loader.looks if before is None else before | loader.looks
                detector.record = replace(detector.record, looks=looks)
            if after is not None:
                after(samples)

    detector.fit(images(), kept, head, join)
    return samples
