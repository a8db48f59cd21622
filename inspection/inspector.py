"""Judges pictures. Independent of options, printing and result folders."""

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from common.calibration import FPR
from common.errors import UsageError
from common.files import writable_folder
from common.looks import Look
from common.transaction import current, settle
from datasets.loader import Loader
from datasets.looks import look_of
from datasets.samples import Sample
from datasets.transforms import MAX_PIXELS, BadPictureError, Source, Transform
from evaluation.scale import scale_for
from inspection.judgement import Judgement
from models import checkpoint
from models.checkpoint import ModelFile
from models.deployed import open_exported
from models.detector import Detector, Scores
from models.engine import Engine
from models.ensemble import EnsembleDetector, EnsembleRecord
from models.loading import check_record_memory, load_detector
from models.open_export import GRAPHS, ExportedFiles, OpenExport
from models.record import Record

CHECKPOINT_FILE, DISTRIBUTION_FILE = "best.pdparams", "distribution"
BATCH_SIZE = 8


@dataclass(frozen=True, eq=False)
class Decoded:
    """A picture, ready for the network.

    source : the picture as it was given
    image : float32 [3,H,W], normalised
    look : of the picture, with the size of the original
    """

    source: Source
    image: np.ndarray = field(repr=False)
    look: Look


class Inspector:
    """Judges pictures with a model; made by `open`, `open_checkpoint` or `open_exported`.

    The model's record is read and checked at once. The detector is opened when it is first needed
    (so that pictures can be decoded at the same time), or by `load`. Several threads may share an
    inspector; the network then runs for one of them after the other.

    Attributes
    ----------
    record : models.record.Record, or models.ensemble.EnsembleRecord for several models
    path : of the model, for messages
    rule : common.calibration.Rule, from which score on something is defective; may be changed, for
        example `inspector.rule = inspector.record.calibration.rule(fpr=0.001)`
    batch_size : pictures per batch
    workers : threads that decode pictures; 0 decodes between batches
    """

    def __init__(
        self,
        record: Record | EnsembleRecord,
        open_detector: Callable[[int], Detector | EnsembleDetector],
        path: Path | str,
        batch_size: int = BATCH_SIZE,
        workers: int = 2,
        max_pixels: int = MAX_PIXELS,
        fpr: float = FPR,
        threshold_from: str | None = None,
        threshold: float | None = None,
        min_area: int = 0,
    ):
        if batch_size < 1 or workers < 0:
            raise ValueError(f"batch_size {batch_size}, workers {workers}: expected 1, 0 or more")
        self.record, self._open_detector, self.path = record, open_detector, path
        self._detector, self._lock, self._opened = None, threading.Lock(), ExitStack()
        self.batch_size, self.workers = batch_size, workers
        self.transform = Transform(record.preprocessing, max_pixels)
        self.min_area = min_area
        try:
            self.rule = record.calibration.rule(fpr, threshold_from, threshold)
        except ValueError as error:
            raise UsageError(f"{path}: {error}", "threshold_from") from error

    @property
    def threshold(self) -> float | None:
        """Image score from which a picture is defective, or None; may be changed."""
        return self.rule.threshold

    @threshold.setter
    def threshold(self, value: float | None) -> None:
        origin = None if value is None else "given"
        self.rule = replace(self.rule, threshold=value, origin=origin, fpr=None, extrapolated=False)

    @staticmethod
    def is_model(folder: str | Path) -> bool:
        """Whether `open` finds a model in this folder."""
        names = CHECKPOINT_FILE, DISTRIBUTION_FILE
        settle(Path(folder))
        return any(current(Path(folder) / name) is not None for name in names)

    @classmethod
    def open(
        cls,
        path: str | Path | Sequence[str | Path],
        engine: Engine | None = None,
        **settings,
    ) -> "Inspector":
        """Open a checkpoint, its folder, an exported graph or its folder, or several of them as an
        ensemble (models.ensemble).

        If a folder has a checkpoint and an export, the checkpoint is used. Raises UsageError if
        there is no model or models do not belong together, WorkError if one is damaged. `settings`:

        batch_size, workers, max_pixels
        fpr, threshold_from, threshold : the rule for verdicts (common.calibration.Calibration.rule)
        min_area : regions with fewer pixels of the original picture are left out
        """
        if not isinstance(path, str | Path):
            if len(path) != 1:
                return cls._open_ensemble(path, engine, **settings)
            path = path[0]
        path = Path(path)
        if path.suffix in GRAPHS:
            return cls.open_exported(ExportedFiles.beside(path), engine, **settings)
        if not path.is_dir():
            return cls.open_checkpoint(path, engine, **settings)
        if (path / CHECKPOINT_FILE).exists():
            return cls.open_checkpoint(path / CHECKPOINT_FILE, engine, **settings)
        if current(path / DISTRIBUTION_FILE) is not None:
            return cls.open_exported(ExportedFiles.within(path), engine, **settings)
        raise UsageError(f"{path}: this folder has neither {CHECKPOINT_FILE} nor an exported model")

    @classmethod
    def _open_ensemble(
        cls, paths: Sequence[str | Path], engine: Engine | None, **settings
    ) -> "Inspector":
        size = {"batch_size": settings.get("batch_size", BATCH_SIZE)}
        members = [cls.open(path, engine, **size) for path in paths]
        record = EnsembleRecord.of([m.record for m in members], [m.path for m in members])

        def open_detector(batch_size: int) -> EnsembleDetector:
            return EnsembleDetector([member.detector for member in members], record)

        return cls(record, open_detector, record.name, **settings)

    @classmethod
    def open_checkpoint(
        cls, path: str | Path, engine: Engine | None = None, **settings
    ) -> "Inspector":
        """Open a file that `train.py` wrote; see `open`."""
        file = ModelFile(path)

        def open_detector(batch_size: int) -> Detector:
            return load_detector(file, engine, batch_size)

        return cls._open_one(file, open_detector, file.path, **settings)

    @classmethod
    def open_exported(
        cls, files: ExportedFiles, engine: Engine | None = None, **settings
    ) -> "Inspector":
        """Open files that `export_model.py` wrote; see `open`."""
        opened = OpenExport(files)

        def open_detector(batch_size: int) -> Detector:
            return open_exported(opened, engine, batch_size)

        return cls._open_one(opened, open_detector, files.distribution, **settings)

    @classmethod
    def _open_one(
        cls,
        opened: ModelFile | OpenExport,
        open_detector: Callable[[int], Detector],
        path: Path,
        batch_size: int = BATCH_SIZE,
        **settings,
    ) -> "Inspector":
        """`opened` is closed when the detector is open."""
        with ExitStack() as stack:
            stack.callback(opened.close)
            check_record_memory(opened.record, path, batch_size)
            inspector = cls(opened.record, open_detector, path, batch_size, **settings)
            inspector._opened = stack.pop_all()
            return inspector

    @property
    def detector(self) -> Detector | EnsembleDetector:
        """The detector, opened by the first thread that asks for it; raises as `open` does."""
        with self._lock:
            if self._detector is None:
                self._detector = self._open_detector(self.batch_size)
                self._opened.close()
            return self._detector

    def load(self) -> "Inspector":
        """Open the detector now; raises the same errors as `open`."""
        _ = self.detector
        return self

    def again(self, judgement: Judgement) -> Judgement:
        """`judgement` by the present rule; the network does not run again."""
        return replace(judgement, rule=self.rule, scale=scale_for(self.rule, self.record.unit))

    def save(self, path: str | Path) -> None:
        """Write the model of a checkpoint, or one just fitted, as a checkpoint."""
        checkpoint.save(Path(path), self.detector.arrays(), self.record)

    def export(self, folder: str | Path, **settings) -> list[Path]:
        """Write the files for deployment of a checkpoint's model, or one just fitted, to `folder`.

        `settings` of models.export.export. Returns the paths; WorkError if a graph is wrong.
        """
        detector = self.detector
        from models.export import export  # imports Paddle

        return export(detector, writable_folder(Path(folder), None), **settings)

    def inspect(
        self,
        pictures: Iterable[Source],
        skipped: list[BadPictureError] | None = None,
        timed=None,
    ) -> Iterator[Judgement]:
        """Judge any number of `pictures` in their order, batch by batch.

        With `workers`, up to three batches of pictures are taken from `pictures` and decoded ahead.

        A picture that cannot be read raises BadPictureError. With a list `skipped`, it is skipped
        and its error is added to the list. `timed` (benchmarks.autolog) measures the steps.
        """
        if isinstance(pictures, str | bytes | Path | np.ndarray):
            raise TypeError("expected several pictures: give a list, even of one picture")
        samples = (Sample(picture) for picture in pictures)
        loader = Loader(
            samples, self.transform, self.batch_size, self.workers, skip_bad=skipped is not None
        )
        if skipped is not None:
            loader.skipped = skipped
        with loader:
            score = self.detector.score if timed is None else timed.score
            for batch in loader if timed is None else timed.batches(loader):
                sources = [sample.path for sample in batch.samples]
                yield from self._judgements(sources, batch.images, batch.looks, score(batch.images))

    def decode(self, picture: Source) -> Decoded:
        """Prepare one picture for `judge`, in the calling thread; raises BadPictureError."""
        pixels, size = self.transform.sized_picture(picture)
        return Decoded(picture, self.transform.normalize(pixels), look_of(pixels, size))

    def judge(self, pictures: Sequence[Decoded]) -> list[Judgement]:
        """Judge one batch of decoded pictures, at least one."""
        images = np.stack([picture.image for picture in pictures])
        sources, looks = zip(*((p.source, p.look) for p in pictures), strict=True)
        return list(self._judgements(sources, images, looks, self.detector.score(images)))

    def _judgements(
        self, sources: Sequence, images: np.ndarray, looks: Sequence[Look], scores: Scores
    ) -> Iterator[Judgement]:
        rule, scale = self.rule, scale_for(self.rule, self.record.unit)
        for i, source in enumerate(sources):
            yield Judgement(
                source,
                float(scores.image[i]),
                scores.map[i],
                looks[i],
                *(rule, scale, self.min_area),
                images[i],
                self.transform,
                self.record.looks,
            )
