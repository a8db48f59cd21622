"""Adds pictures to a model, takes some out again, or gives it scores of good pictures."""

import logging
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from common.calibration import LEFT_OUT, Calibration
from common.errors import UsageError, printable
from common.files import writable_folder
from common.logs import log_file
from common.progress import progress
from common.timing import phase
from datasets.exclusion import excluded
from datasets.samples import (
    Category,
    Sample,
    check_masks,
    pictures_in,
    require_folder,
    require_test,
)
from evaluation.figures import Figures
from inspection.fitting import learn
from inspection.normal import NormalPictures, pictures_digest
from models import checkpoint
from models.detector import Detector, NotLearnedError
from models.kept import KeptMaps
from models.loading import load_detector
from models.memory import require_memory
from models.record import DEFAULT_CATEGORY, Record
from tasks.audit import forget as forget_audit
from tasks.calibration import held_out_samples
from tasks.categories import each_category
from tasks.runs import loader_for, log_phases, tell_crop, unskipped
from tasks.training import calibrate, log_settings, report_calibration
from tasks.update_settings import Updating
from tasks.validation import validate

logger = logging.getLogger(__name__)


def update(updating: Updating) -> int:
    """Change the model and save it in save_path; returns the exit code."""
    record = checkpoint.load_record(updating.path)
    name = _category(record, updating)

    def work(name: str) -> Figures | None:
        with log_file(updating.log_dir, name):
            return _update(updating, record, name)

    return each_category([name], work, updating.save_path, False)


def _category(record: Record, updating: Updating) -> str:
    """The model's; UsageError if the pictures are of another one."""
    data = updating.data
    if data is None or (data.root is None and data.names == [DEFAULT_CATEGORY]):
        return record.category
    if data.names != [record.category]:
        raise UsageError(
            f"{data.names[0]}, but {updating.path} is a model of {record.category}", "category"
        )
    return record.category


def _update(updating: Updating, record: Record, name: str) -> Figures | None:
    category = _pictures(updating, record, name)
    path = writable_folder(updating.save_path / name) / "best.pdparams"
    start = time.perf_counter()
    with phase("opening"):
        detector = load_detector(updating.path, updating.engine, updating.loading.batch_size)
    if detector.record != record:
        raise UsageError(f"{updating.path} was written again meanwhile; start again", "update")
    log_settings(updating.described)
    logger.info("%s", record.weights_line())
    with unskipped(), KeptMaps(path.parent) as kept:
        samples = _change(updating, detector, category, kept)
        found = _calibrated(updating, detector, samples, kept)
    with phase("saving"):
        checkpoint.save(path, detector.arrays(), detector.record)
    forget_audit(path.parent)
    seconds, now = time.perf_counter() - start, detector.record.pictures
    logger.info("%s: %d pictures, %d before, in %.1f s", path, now, record.pictures, seconds)
    if found is not None:
        report_calibration(updating, detector, found, path.parent)
    log_phases()
    if updating.validation is None:
        print(printable(path))
        return None
    spent = {"fit": seconds}
    return validate(updating.validation, lambda: detector, detector.record, category, path, spent)


def _pictures(updating: Updating, record: Record, name: str) -> Category:
    """The pictures to add (`train`) and to test with, checked before the work."""
    loading, folder = updating.loading, updating.calibrating.folder
    if updating.calibrating.wanted and folder is not None:
        held_out_samples(folder, name, False)
    if updating.data is None:
        return Category(name, [], [])
    category = updating.data.open(updating.data.names[0])
    if updating.exclude is not None:
        category = replace(category, train=excluded(category.train, updating.exclude, False))
    if not category.train:
        raise UsageError(f"{updating.data.where(name)}: no pictures to add")
    if updating.validation:
        require_test(category, updating.data.where(name))
        check_masks(category.test, loading.skip_bad, loading.max_pixels)
    tell_crop(record.preprocessing, category.train[0].path, loading.max_pixels)
    normal = record.calibration.normal
    names = pictures_digest(category.train)
    if normal and (normal.source, normal.pictures_sha256) == (LEFT_OUT, names):
        logger.warning(
            "the model learned from pictures of the same names. If these are the same pictures, "
            "they count twice"
        )
    features, total = record.features, record.pictures + len(category.train)
    network = features.backbone, features.layers, features.stages
    numbers = loading.batch_size, total
    require_memory(record.method, record.settings, *network, record.size, *numbers)
    return category


def _change(
    updating: Updating, detector: Detector, category: Category, kept: KeptMaps
) -> list[Sample]:
    """Add pictures or take some out; returns those that were added, in the order of learning."""
    if updating.forget is not None:
        _forget(updating, detector, updating.forget)
        return []
    if updating.data is None:
        return []
    loader = loader_for(category.train, detector.record.preprocessing, updating.loading)
    keep = updating.calibrating.wanted and updating.calibrating.folder is None
    with loader:
        samples = learn(detector, loader, kept if keep else None, detector.reopened())
    if loader.skipped:
        logger.warning("%d pictures were skipped", len(loader.skipped))
    return samples


def _forget(updating: Updating, detector: Detector, folder: Path) -> None:
    require_folder(folder, "forget")
    samples = [Sample(path) for path in pictures_in(folder, recursive=True)]
    if not samples:
        raise UsageError(f"{folder}: no pictures to take out", "forget")
    seen: list[Sample] = []  # --skip_bad may leave some out
    what = iter(("check", "take out"))

    def batches() -> Iterator[np.ndarray]:
        loader = loader_for(samples, detector.record.preprocessing, updating.loading)
        size = {"size": lambda batch: len(batch.samples)}
        with loader:
            for batch in progress(loader, len(samples), next(what), **size):
                seen.extend(batch.samples)
                yield batch.images

    try:
        detector.forget(batches)
    except NotLearnedError as error:
        raise UsageError(
            f"{seen[error.index].path}: the model did not learn from this picture; nothing was "
            "changed",
            "forget",
        ) from error


def _calibrated(
    updating: Updating, detector: Detector, samples: list[Sample], kept: KeptMaps
) -> NormalPictures | None:
    """Scores of good pictures by the new model: those of --calibration_dir, or of the pictures that
    were added, each left out. Scores of the model before are not kept."""
    detector.record = replace(detector.record, calibration=Calibration())
    calibrating = updating.calibrating
    if calibrating.wanted and (calibrating.folder is not None or samples):
        return calibrate(updating, detector, samples, kept)
    if calibrating.wanted:
        logger.warning(
            "the model has no scores of good pictures any more: those of the pictures that remain "
            "need the pictures. --calibration_dir DIR gives it some"
        )
    return None
