"""Scores the test pictures of a category: figures, curves, sheets, thresholds."""

import logging
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from common.errors import UsageError, WorkError, printable
from common.files import writable_folder
from common.progress import progress
from common.timing import phase
from datasets.loader import Batch
from datasets.samples import Category, Sample, check_masks, require_test
from datasets.transforms import Transform
from evaluation import report
from evaluation.figure import target_names
from evaluation.figures import Figures, measure
from evaluation.pictures import Sheet
from evaluation.promise import Promise
from evaluation.scale import Scale, scale_for
from evaluation.testing import ScoredPicture, score_all
from models import checkpoint
from models.detector import Detector
from models.ensemble import EnsembleDetector, EnsembleRecord
from models.factory import check_record_memory, load_detector
from models.options import find_models
from models.record import Record
from tasks.categories import each_category
from tasks.runs import loader_for, log_phases, unskipped, warn_of_crop
from tasks.settings import Drawing, Validation
from tasks.verdicts import describe

logger = logging.getLogger(__name__)


def validate_all(validation: Validation) -> int:
    """Validate the saved models of all categories; returns the exit code."""
    names = validation.data.names
    if len(names) > 1 and validation.model_path:
        raise UsageError(
            f"--model_path gives one model for {len(names)} categories; choose one with --category"
        )

    def work(name: str) -> Figures:
        return _validate_saved(validation, name)

    return each_category(names, work, validation.save_path, validation.compare)


def _validate_saved(validation: Validation, name: str) -> Figures:
    paths = find_models(validation.model_path, validation.save_path, name)
    record, open_detector, path = _openable(validation, paths)
    if record.category != name:
        logger.warning("%s was trained on category %s, not %s", path, record.category, name)
    logger.info("%s", record.weights_line())
    category = validation.data.open(name)
    require_test(category, validation.data.where(name))
    loading = validation.loading
    check_masks(category.test, loading.skip_bad, loading.max_pixels)
    warn_of_crop(record.preprocessing, category.test[0].path, loading.max_pixels)

    return validate(validation, open_detector, record, category, path)


def _openable(
    validation: Validation, paths: list[Path]
) -> tuple[Record | EnsembleRecord, Callable[[], Detector | EnsembleDetector], Path | str]:
    """The record of one or several models, a function that opens them, and their name: a text for
    several."""
    batch_size, records = validation.loading.batch_size, []
    for path in paths:
        records.append(checkpoint.load_record(path))
        check_record_memory(records[-1], path, batch_size)

    def open_members() -> list[Detector]:
        return [load_detector(path, validation.engine, batch_size) for path in paths]

    if len(paths) == 1:
        return records[0], lambda: open_members()[0], paths[0]
    if validation.calibrate:
        raise UsageError("an ensemble cannot be saved; omit this option", "calibrate")
    record = EnsembleRecord.of(records, paths)
    return record, lambda: EnsembleDetector(open_members(), record), record.name


def validate(
    validation: Validation,
    open_detector: Callable[[], Detector | EnsembleDetector],
    record: Record | EnsembleRecord,
    category: Category,
    model_path: Path | str,
    seconds: dict[str, float] | None = None,
) -> Figures:
    """Score the test set of `category`; write and print its figures, and save its thresholds.

    Pictures are decoded while `open_detector()` prepares the model of `record`. `model_path` is a
    text where no file contains the model. `seconds`: of what was done before, for metrics.json.
    """
    start, in_file = time.perf_counter(), isinstance(model_path, Path)
    model = checkpoint.identity(model_path) if in_file else None
    validation.wanted.require(record.calibration, model_path)
    folder = writable_folder(validation.save_path / category.name)
    loader = loader_for(category.test, record.preprocessing, validation.loading, masks=True)
    chosen = _chosen(category.test, validation.drawing)
    pictures, keep = _keeper(loader.transform, chosen)
    what = f"validate {category.name}"
    with loader, unskipped():
        detector = open_detector()
        batches = progress(loader, len(loader), what, size=lambda batch: len(batch.samples))
        tested = score_all(detector.score, batches, keep)
    if not tested:
        where = validation.data.where(category.name)
        raise WorkError(f"{where}: none of the test pictures can be read")
    figures, record = measure(tested), detector.record
    calibration = replace(record.calibration, best_f1=figures.best_f1(tested))
    detector.record = record = replace(record, calibration=calibration)
    rule = validation.wanted.rule(calibration, model_path)
    took = {"picture": (time.perf_counter() - start) / len(tested)}
    more = {
        "seconds": {"fit": None, **(seconds or {}), **took},
        "skipped": len(loader.skipped),
        "model": {"path": str(model_path), **record.summary()},
    }
    report.write_figures(folder, category.name, tested, figures, rule, more)
    _draw(pictures, tested, scale_for(rule, record.unit), folder / "pictures")
    if in_file:
        _keep_calibration(validation, detector, category.name, model_path, model)
    log_phases()
    if loader.skipped:
        logger.warning("%d pictures were skipped", len(loader.skipped))
    said = f"{category.name}: {len(tested)} test pictures, results in {printable(folder)}"
    said += f"\n{report.table(figures)}\n{describe(rule)}"
    if (promise := Promise.of(rule, tested)) is not None:
        said += f"\n{promise.text()}"
    print(said)
    logger.info("%s", said, extra={"file_only": True, "lines": True})
    return figures


def _keep_calibration(
    validation: Validation, detector: Detector, category: str, path: Path, model: tuple
) -> None:
    """Save the thresholds in the model file if it is unchanged and of this category."""
    wanted = validation.calibrate
    if wanted is None:
        wanted = detector.record.category == category
    if not wanted or detector.record.calibration.best_f1 is None:
        return
    if checkpoint.identity(path) != model:
        logger.warning(
            "%s was changed by another process during validation: thresholds are not saved", path
        )
        return
    with phase("saving"):
        try:
            checkpoint.save(path, detector.arrays(), detector.record)
        except WorkError as error:
            raise WorkError(f"{error}; use --no-calibrate to leave the model unchanged") from error
    logger.info("thresholds of best F1 saved in %s", path)


def _keeper(transform: Transform, chosen: set[Path]) -> tuple[dict, Callable]:
    """A dict, and a function that adds a batch's pictures in `chosen` to it, uint8 [H,W,3]."""
    pictures = {}

    def keep(batch: Batch) -> None:
        wanted = [i for i, sample in enumerate(batch.samples) if sample.path in chosen]
        kept = transform.denormalize(batch.images[wanted])
        pictures.update(zip((batch.samples[i].path for i in wanted), kept, strict=True))

    return pictures, keep


def _chosen(samples: list[Sample], drawing: Drawing) -> set[Path]:
    """Paths of the pictures to draw: all, or a limited number, in turn from each kind."""
    if not drawing.wanted:
        return set()
    shuffled = np.random.default_rng(drawing.seed).permutation(len(samples))
    kinds: dict[str, list[Path]] = {}
    for i in shuffled:
        kinds.setdefault(samples[i].kind, []).append(samples[i].path)
    turns = [(turn, kind, path) for kind, paths in kinds.items() for turn, path in enumerate(paths)]
    return {path for _, _, path in sorted(turns)[: drawing.limit]}


def _draw(
    pictures: dict[Path, np.ndarray], tested: list[ScoredPicture], scale: Scale, folder: Path
) -> None:
    """A sheet for each of `pictures`, all with the same colours."""
    if not pictures:
        return
    sheet = Sheet(scale, truth=True)
    drawn = [one for one in tested if one.path in pictures]
    names = [Path(f"{one.kind}_{one.path.name}") for one in drawn]
    folder.mkdir(exist_ok=True)
    for old in folder.glob("*.png"):
        old.unlink()  # so that sheets of an earlier run are not mistaken for new ones
    with phase("drawing"):
        targets = zip(drawn, target_names(names, ".png"), strict=True)
        for one, target in progress(targets, len(drawn), "draw", size=lambda _: 1):
            name = f"{one.kind}/{one.path.name}"
            sheet.save(folder / target, name, pictures[one.path], one.score, one.map, one.mask)
