"""Score the test pictures of a category: figures, curves, sheets, thresholds."""

import logging
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np

from common.errors import UsageError, WorkError
from common.files import writable_folder
from common.progress import progress
from common.timing import phase
from datasets.loader import Batch, Loader
from datasets.options import open_category, source
from datasets.samples import Category, Sample, check_masks, require_test
from datasets.transforms import Preprocessing
from evaluation import report
from evaluation.figure import target_names
from evaluation.figures import Figures, measure
from evaluation.scale import Scale, scale_for
from evaluation.testing import ScoredPicture, score_all
from models import checkpoint, load_detector
from models.options import engine_from, find_model
from tasks.categories import each_category
from tasks.runs import log_phases, log_weights, read_record, warn_of_crop

logger = logging.getLogger(__name__)


def validate_all(options, names: list[str]) -> int:
    """Validate the saved models of the categories `names`; the exit code."""
    if len(names) > 1 and options.model_path:
        raise UsageError("--model_path names one model, --category several; name one category")
    return each_category(names, lambda name: _validate_saved(options, name))


def _validate_saved(options, name: str) -> Figures:
    path = find_model(options.model_path, options.save_path, name)
    record, preprocessing = read_record(path)
    if (known := record["category"]) != name:
        logger.warning("%s was trained on category %s, not %s", path, known, name)
    log_weights(record)
    category = open_category(options, name)
    require_test(category, source(options, name))
    check_masks(category.test, options.skip_bad)
    warn_of_crop(preprocessing, category.test[0].path)

    def open_detector():
        return load_detector(path, **engine_from(options))

    return validate(options, open_detector, preprocessing, category, path)


def validate(
    options,
    open_detector: Callable,
    preprocessing: Preprocessing,
    category: Category,
    model_path: Path,
) -> Figures:
    """Score the test set of `category`; write and print its figures, keep its thresholds.

    The pictures decode while `open_detector()` prepares the network.
    """
    model = checkpoint.identity(model_path)
    folder = writable_folder(options.save_path / category.name)
    loader = Loader(
        category.test,
        preprocessing,
        options.batch_size,
        options.num_workers,
        options.skip_bad,
        masks=True,
    )
    pictures, keep = _keeper(preprocessing, _chosen(category.test, options))
    what = f"validate {category.name}"
    with loader:
        detector = open_detector()
        batches = progress(loader, len(loader), what, size=lambda batch: len(batch.samples))
        tested = score_all(detector.score, batches, keep)
    if not tested:
        raise WorkError(f"{source(options, category.name)}: none of the test pictures decodes")
    figures = measure(tested)
    calibration = figures.calibration(tested)
    detector.record["calibration"] = calibration and asdict(calibration)
    more = {"skipped": len(loader.skipped), "model": _about(detector.record, model_path)}
    report.write_figures(folder, category.name, tested, figures, more)
    _draw(pictures, tested, scale_for(calibration, detector.score_scale), folder / "pictures")
    _keep_calibration(options, detector, category.name, model_path, model)
    log_phases()
    if loader.skipped:
        logger.warning("%d pictures were skipped", len(loader.skipped))
    said = f"{category.name}: {len(tested)} test pictures, results in {folder}"
    said += f"\n{report.table(figures)}"
    print(said)
    logger.info("%s", said, extra={"file_only": True})
    return figures


def _keep_calibration(options, detector, category: str, path: Path, model: tuple) -> None:
    """Thresholds into the model's file, if they are its own and it is still `model`."""
    wanted = options.calibrate
    if wanted is None:
        wanted = detector.record["category"] == category
    if not wanted or not detector.record["calibration"]:
        return
    if checkpoint.identity(path) != model:
        logger.warning("%s was written anew meanwhile: its thresholds stay as they are", path)
        return
    with phase("saving"):
        try:
            checkpoint.save(path, *detector.state())
        except WorkError as error:
            raise WorkError(f"{error}; to leave the model as it is: --no-calibrate") from error
    logger.info("thresholds for predict.py kept in %s", path)


def _keeper(preprocessing: Preprocessing, chosen: set[Path]) -> tuple[dict, Callable]:
    """A dict that fills with the pictures of `chosen`, uint8 [H,W,3], as batches pass."""
    pictures = {}

    def keep(batch: Batch) -> None:
        wanted = [i for i, sample in enumerate(batch.samples) if sample.path in chosen]
        kept = preprocessing.denormalize(batch.images[wanted])
        pictures.update(zip((batch.samples[i].path for i in wanted), kept, strict=True))

    return pictures, keep


def _chosen(samples: list[Sample], options) -> set[Path]:
    """Paths of the pictures to draw: all, or --num_pictures of them, in turn from each kind."""
    if not options.save_picture:
        return set()
    shuffled = np.random.default_rng(options.seed).permutation(len(samples))
    kinds: dict[str, list[Path]] = {}
    for i in shuffled:
        kinds.setdefault(samples[i].kind, []).append(samples[i].path)
    turns = [(turn, kind, path) for kind, paths in kinds.items() for turn, path in enumerate(paths)]
    return {path for _, _, path in sorted(turns)[: options.num_pictures]}


def _draw(
    pictures: dict[Path, np.ndarray], tested: list[ScoredPicture], scale: Scale, folder: Path
) -> None:
    """A sheet for each of `pictures`, all with the same colours."""
    if not pictures:
        return
    from evaluation.pictures import Sheet

    sheet = Sheet(scale, truth=True)
    drawn = [one for one in tested if one.path in pictures]
    names = [Path(f"{one.kind}_{one.path.name}") for one in drawn]
    folder.mkdir(exist_ok=True)
    for old in folder.glob("*.png"):
        old.unlink()  # an earlier run's sheets would pass for this one's
    with phase("drawing"):
        targets = zip(drawn, target_names(names, ".png"), strict=True)
        for one, target in progress(targets, len(drawn), "draw", size=lambda _: 1):
            name = f"{one.kind}/{one.path.name}"
            sheet.save(folder / target, name, pictures[one.path], one.score, one.map, one.mask)


def _about(record: dict, path: Path) -> dict:
    keys = ("method", "backbone", "layers", "weights", "variant", "reduction", "dims", "seed")
    keys += ("n", "image_size")
    return {"path": str(path), **{key: record[key] for key in keys if key in record}}
