"""Fits one model per category, and validates it on request."""

import logging
import platform
import time

from common.errors import UsageError, printable
from common.files import writable_folder
from common.logs import log_file
from common.progress import progress
from common.timing import phase
from datasets.loader import Loader
from datasets.samples import check_masks, require_test, require_training
from evaluation.figures import Figures
from models import checkpoint
from models.detector import Detector
from models.factory import Plan, announcement, build_detector, plan
from tasks.categories import each_category
from tasks.runs import loader_for, log_phases, unskipped, warn_of_crop
from tasks.settings import Training
from tasks.validation import validate

logger = logging.getLogger(__name__)


def train_all(training: Training) -> int:
    """Train all categories; returns the exit code."""

    def work(name: str) -> Figures | None:
        with log_file(training.log_dir, name):
            return train(training, name)

    return each_category(training.data.names, work)


def train(training: Training, name: str) -> Figures | None:
    """Fit and save the model of category `name`; returns its figures if it is validated."""
    category, where = training.data.open(name), training.data.where(name)
    require_training(category, where)
    if training.validation:
        require_test(category, where)
        check_masks(category.test, training.loading.skip_bad, training.loading.max_pixels)
    path = writable_folder(training.save_path / name) / "best.pdparams"
    warn_of_crop(training.preprocessing, category.train[0].path, training.loading.max_pixels)

    planned = plan(
        **vars(training.model),
        preprocessing=training.preprocessing,
        category=name,
        batch_size=training.loading.batch_size,
        pictures=len(category.train),
    )
    if line := announcement(planned, len(category.train)):
        logger.info("%s: %s", name, line)

    start = time.perf_counter()
    loader = loader_for(category.train, planned.preprocessing, training.loading)
    with loader, unskipped():
        detector = _fit(training, planned, loader)
    with phase("saving"):
        checkpoint.save(path, detector.arrays(), detector.record)
    seconds, learned = time.perf_counter() - start, detector.record.pictures
    logger.info("%s: fitted on %d pictures in %.1f s", path, learned, seconds)
    if loader.skipped:
        logger.warning("%d pictures were skipped", len(loader.skipped))
    log_phases()
    if training.validation is None:
        print(printable(path))
        return None
    return validate(training.validation, lambda: detector, detector.record, category, path)


def _fit(training: Training, planned: Plan, loader: Loader) -> Detector:
    """A detector fitted on the pictures of `loader`, which decodes them at the same time."""
    with phase("imports, weights"):
        detector = build_detector(planned, training.engine)
    _log_settings(training.described)
    logger.info("%s", detector.record.weights_line())
    name = planned.category
    batches = progress(loader, len(loader), f"fit {name}", size=lambda batch: len(batch.samples))
    try:
        detector.fit(batch.images for batch in batches)
    except UsageError as error:
        raise UsageError(f"{training.data.where(name)}: {error}") from error
    return detector


def _log_settings(described: str) -> None:
    """Write versions and options to the log file, so that the run can be repeated."""
    import paddle

    versions = f"Python {platform.python_version()}, Paddle {paddle.__version__}"
    logger.info("%s; options: %s", versions, described, extra={"file_only": True})
