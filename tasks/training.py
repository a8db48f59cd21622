"""Fit one model a category, and validate it if asked to."""

import logging
import platform
import time

from common.errors import UsageError
from common.files import writable_folder
from common.logs import log_file
from common.progress import progress
from common.timing import phase
from datasets.loader import Loader
from datasets.options import open_category, source
from datasets.samples import check_masks, require_test, require_training
from datasets.transforms import Preprocessing
from evaluation.figures import Figures
from models import build_detector, checkpoint
from models.options import engine_from
from tasks.categories import each_category
from tasks.runs import log_phases, log_weights, warn_of_crop
from tasks.validation import validate

logger = logging.getLogger(__name__)


def train_all(options, names: list[str], backbone: str, preprocessing: Preprocessing) -> int:
    """Train the categories `names`; the exit code."""
    if not options.val and (options.save_picture or options.num_pictures):
        logger.warning("--save_picture and --num_pictures have no effect without --val")

    def work(name: str) -> Figures | None:
        with log_file(options.log_dir, name):
            return train(options, name, backbone, preprocessing)

    return each_category(names, work)


def train(options, name: str, backbone: str, preprocessing: Preprocessing) -> Figures | None:
    """Fit and save the model of category `name`; its figures with --val, else None."""
    category = open_category(options, name)
    require_training(category, source(options, name))
    if options.val:
        require_test(category, source(options, name))
        check_masks(category.test, options.skip_bad)
    path = writable_folder(options.save_path / name) / "best.pdparams"
    warn_of_crop(preprocessing, category.train[0].path)

    start = time.perf_counter()
    loader = Loader(
        category.train, preprocessing, options.batch_size, options.num_workers, options.skip_bad
    )
    with loader:
        detector = _learn(options, name, backbone, preprocessing, loader)
    with phase("saving"):
        checkpoint.save(path, *detector.state())
    learned, seconds = len(loader) - len(loader.skipped), time.perf_counter() - start
    logger.info("%s: learned from %d pictures in %.1f s", path, learned, seconds)
    if loader.skipped:
        logger.warning("%d pictures were skipped", len(loader.skipped))
    log_phases()
    if not options.val:
        print(path)
        return None
    return validate(options, lambda: detector, preprocessing, category, path)


def _learn(options, name: str, backbone: str, preprocessing: Preprocessing, loader: Loader):
    """A detector that has learned the pictures of `loader`, which decode meanwhile."""
    with phase("imports, weights"):
        detector = build_detector(
            options.method,
            backbone=backbone,
            pretrained_backbone=options.pretrained_backbone,
            layers=options.layers,
            dims=options.dims,
            reduction=options.reduction,
            seed=options.seed,
            image_size=preprocessing.crop,
            **engine_from(options),
        )
    _log_settings(options)
    log_weights(detector.record)
    detector.record |= {"category": name, "preprocessing": preprocessing.record()}
    batches = progress(loader, len(loader), f"fit {name}", size=lambda batch: len(batch.samples))
    try:
        detector.fit(batch.images for batch in batches)
    except UsageError as error:
        raise UsageError(f"{source(options, name)}: {error}") from error
    return detector


def _log_settings(options) -> None:
    """What it takes to repeat this run, into the log file."""
    import paddle

    versions = f"Python {platform.python_version()}, Paddle {paddle.__version__}"
    settings = ", ".join(f"{key} {value}" for key, value in vars(options).items())
    logger.info("%s; options: %s", versions, settings, extra={"file_only": True})
