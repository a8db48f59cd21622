"""Fits one model per category, and validates it on request."""

import logging
import platform
import time
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from common.calibration import Calibration
from common.errors import UsageError, printable
from common.files import writable_folder
from common.logs import log_file
from common.timing import phase
from datasets.exclusion import excluded
from datasets.loader import Loader
from datasets.samples import Category, Sample, check_masks, require_test, require_training
from datasets.transforms import BadPictureError, Transform, picture_size
from evaluation.figures import Figures
from evaluation.scale import scale_for
from inspection.audit import audit
from inspection.fitting import learn
from inspection.normal import NormalPictures, held_out, left_out
from models import checkpoint
from models.detector import Detector
from models.factory import Plan, announcement, build_detector, plan
from models.kept import KeptMaps
from tasks.audit import draw, forget, write_audit
from tasks.calibration import held_out_samples, require_readable
from tasks.categories import each_category
from tasks.folds import check_folds, require_folds
from tasks.processes import processes
from tasks.runs import loader_for, log_phases, tell_crop, unskipped, whole_of
from tasks.settings import Training
from tasks.shares import (
    join,
    left_out_together,
    looks_together,
    normal_together,
    own_share,
    sum_of,
)
from tasks.states import Resumable
from tasks.update_settings import Updating
from tasks.validation import validate
from tasks.verdicts import describe

logger = logging.getLogger(__name__)


def train_all(training: Training) -> int:
    """Train all categories; returns the exit code."""

    def work(name: str) -> Figures | None:
        with log_file(training.log_dir, name) if processes().first else nullcontext():
            return train(training, name)

    compare = training.validation is not None and training.validation.compare
    with processes().joined():
        return each_category(training.data.names, work, training.save_path, compare)


@dataclass(frozen=True)
class Prepared:
    """What training begins with. roi : region of interest, bool [H,W] of the crop, or None."""

    category: Category
    path: Path
    planned: Plan
    roi: np.ndarray | None


def prepare(training: Training, name: str) -> Prepared:
    """Check pictures and options of category `name` before the work; UsageError."""
    category, where = training.data.open(name), training.data.where(name)
    if training.exclude is not None:
        several = len(training.data.names) > 1
        kept = excluded(category.train, training.exclude, several)
        logger.info("%d training pictures are left out", len(category.train) - len(kept))
        category = replace(category, train=kept)
    require_training(category, where)
    calibrating = training.calibrating
    if calibrating.wanted and calibrating.folder is not None:
        held_out_samples(calibrating.folder, name, len(training.data.names) > 1)  # before the work
    if training.validation:
        require_test(category, where)
        check_masks(category.test, training.loading.skip_bad, training.loading.max_pixels)
    path = writable_folder(training.save_path / name) / "best.pdparams"
    preprocessing, first = training.preprocessing, category.train[0].path
    if training.whole:
        preprocessing = whole_of(preprocessing, first, training.loading.max_pixels)
    tell_crop(preprocessing, first, training.loading.max_pixels)
    planned = plan(
        **vars(training.model),
        preprocessing=preprocessing,
        category=name,
        batch_size=training.loading.batch_size,
        pictures=len(category.train),
    )
    if line := announcement(planned, len(category.train)):
        logger.info("%s: %s", name, line)
    return Prepared(category, path, planned, _roi(training, planned, category.train[0]))


def train(training: Training, name: str) -> Figures | None:
    """Fit and save the model of category `name`; returns its figures if it is validated."""
    prepared, calibrating = prepare(training, name), training.calibrating
    category, path, planned = prepared.category, prepared.path, prepared.planned
    train = own_share(category.train, "training pictures")
    if calibrating.folds is not None:
        require_folds(calibrating.folds, len(category.train), training.data.where(name))
    start = time.perf_counter()
    known = training.engine.precision, planned.method
    resumable = Resumable(path.parent, training.saving, train, *known)
    loader = loader_for(resumable.rest, planned.preprocessing, training.loading)
    with unskipped(), KeptMaps(path.parent) as kept:
        # A second pass over the maps needs those of the first pictures.
        keep = calibrating.wanted and calibrating.folder is None and not resumable.before
        with loader:
            detector, samples = _fit(training, prepared, loader, kept if keep else None, resumable)
        if processes().count > 1:
            looks = looks_together(detector.record.looks)
            detector.record = replace(detector.record, looks=looks)
        if calibrating.wanted:
            found = calibrate(training, detector, samples, kept)
        skipped = sum_of(len(loader.skipped))
        if processes().first:
            _save(detector, path, resumable)
        seconds, learned = time.perf_counter() - start, detector.record.pictures
        logger.info("%s: fitted on %d pictures in %.1f s", path, learned, seconds)
        if calibrating.folds is not None:
            wanted = calibrating.folds, training.verdicts.fpr
            check_folds(detector, kept, found, *wanted, path.parent)
    if skipped and processes().first:
        logger.warning("%d pictures were skipped", skipped)
    if processes().first and calibrating.wanted:
        report_calibration(training, detector, found, path.parent)
    log_phases()
    if training.validation is not None:
        checked = training.validation, lambda: detector, detector.record
        return validate(*checked, category, path, {"fit": seconds})
    if processes().first:
        print(printable(path))
    return None


def _save(detector: Detector, path: Path, resumable: Resumable) -> None:
    """Write the model, and delete what is left of others and of the state."""
    with phase("saving"):
        checkpoint.save(path, detector.arrays(), detector.record)
    forget(path.parent)
    resumable.end()


def _roi(training: Training, planned: Plan, sample: Sample) -> np.ndarray | None:
    """The region of interest, bool [H,W] of the crop; UsageError if it does not fit `sample`."""
    path, most = training.roi, training.loading.max_pixels
    if path is None:
        return None
    try:
        (width, height), wanted = picture_size(path, most), picture_size(sample.path, most)
        pixels = Transform(planned.preprocessing, most).mask(path)
    except BadPictureError as error:
        raise UsageError(error, "roi") from error
    if abs(width * wanted[1] - height * wanted[0]) > max(width, height, *wanted):
        raise UsageError(
            f"{path}: {width}×{height} pixels, but {sample.path} has {wanted[0]}×{wanted[1]}; the "
            "aspect ratios must be equal",
            "roi",
        )
    if not pixels.any():
        raise UsageError(f"{path}: no white pixel in the crop", "roi")
    logger.info("region of interest: %.0f %% of the crop", 100 * pixels.mean())
    return pixels


def _fit(
    training: Training,
    prepared: Prepared,
    loader: Loader,
    kept: KeptMaps | None,
    resumable: Resumable,
) -> tuple[Detector, list[Sample]]:
    """A detector fitted on the pictures of `loader`, which decodes them at the same time, and the
    pictures in the order of learning."""
    with phase("imports, weights"):
        detector = build_detector(prepared.planned, training.engine, prepared.roi)
    log_settings(training.described)
    logger.info("%s", detector.record.weights_line())
    head = resumable.head(detector)

    def after(samples: list[Sample]) -> None:
        resumable.after(detector, head, samples)

    try:
        return detector, resumable.before + learn(
            detector, loader, kept, head, after, join(detector)
        )
    except UsageError as error:
        raise UsageError(f"{training.data.where(prepared.planned.category)}: {error}") from error


def calibrate(
    run: Training | Updating, detector: Detector, samples: list[Sample], kept: KeptMaps
) -> NormalPictures:
    """Give the detector scores of good pictures, and return them.

    `samples`: the last pictures that it learned from, of which `kept` has maps.
    """
    loading, folder = run.loading, run.calibrating.folder
    preprocessing, category = detector.record.preprocessing, detector.record.category
    if folder is None:
        # All of them could be read before; to skip one now would give the others wrong numbers.
        again = replace(loading, skip_bad=False)
        rest = loader_for(samples[kept.pictures :], preprocessing, again)
        if processes().count > 1:
            found = left_out_together(detector, kept, samples, rest)
        else:
            first = detector.record.pictures - len(samples)
            found = left_out(detector, kept, samples, rest, first)
    else:
        several = run.data is not None and len(run.data.names) > 1
        others = held_out_samples(folder, category, several)
        own = own_share(others, "calibration pictures")
        found = normal_together(held_out(detector, loader_for(own, preprocessing, loading)))
        require_readable(len(found.samples), others)
    detector.record = replace(detector.record, calibration=Calibration(found.normal()))
    return found


def report_calibration(
    run: Training | Updating, detector: Detector, found: NormalPictures, folder: Path
) -> None:
    # The thresholds of best F1, which --threshold_from may ask for, come with the validation.
    rule = detector.record.calibration.rule(run.verdicts.fpr)
    logger.info("%s", describe(rule))
    if run.calibrating.folder is not None or detector.record.calibration.normal is None:
        return
    rows = audit(found)
    write_audit(rows, folder)
    if run.calibrating.audit:
        transform = Transform(detector.record.preprocessing, run.loading.max_pixels)
        scale = scale_for(rule, detector.record.unit)
        draw(rows, found, transform, scale, folder, detector.record.category)


def log_settings(described: str) -> None:
    """Write versions and options to the log file, so that the run can be repeated."""
    import paddle

    versions = f"Python {platform.python_version()}, Paddle {paddle.__version__}"
    logger.info("%s; options: %s", versions, described, extra={"file_only": True})
