"""Scores the test pictures of a category: figures, curves, sheets, thresholds."""

import logging
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from common.errors import UsageError, WorkError
from common.files import writable_folder
from common.timing import phase
from datasets.samples import Category, check_masks, require_test
from evaluation.figures import Figures
from evaluation.scale import scale_for
from models import checkpoint
from models.checkpoint import ModelFile
from models.detector import Detector
from models.ensemble import EnsembleDetector, EnsembleRecord
from models.loading import check_record_memory, load_detector
from models.options import find_models
from models.record import Record
from tasks.categories import each_category
from tasks.owned import warn_of_results
from tasks.processes import processes
from tasks.results import Results, write_report
from tasks.runs import log_phases, tell_crop
from tasks.scoring import score
from tasks.settings import Validation
from tasks.sheets import draw_sheets

logger = logging.getLogger(__name__)


def validate_all(validation: Validation) -> int:
    """Validate the saved models of all categories; returns the exit code."""
    names = validation.data.names
    if len(names) > 1 and validation.model_path:
        raise UsageError(
            f"--model_path gives one model for {len(names)} categories; choose one with --category"
        )

    def work(name: str) -> Figures | None:
        return _validate_saved(validation, name)

    with processes().joined():
        return each_category(names, work, validation.save_path, validation.compare)


def _validate_saved(validation: Validation, name: str) -> Figures | None:
    paths = find_models(validation.model_path, validation.save_path, name)
    with ExitStack() as stack:
        files = [stack.enter_context(ModelFile(path)) for path in paths]
        return _validate_files(validation, name, files)


def _validate_files(validation: Validation, name: str, files: list[ModelFile]) -> Figures | None:
    record, open_detector, path = _openable(validation, files)
    processes().require_same("".join(record.digests), "models")
    if record.category != name:
        logger.warning("%s was trained on category %s, not %s", path, record.category, name)
    logger.info("%s", record.weights_line())
    category = validation.data.open(name)
    require_test(category, validation.data.where(name))
    loading = validation.loading
    check_masks(category.test, loading.skip_bad, loading.max_pixels)
    tell_crop(record.preprocessing, category.test[0].path, loading.max_pixels)

    model = files[0].identity
    return validate(validation, open_detector, record, category, path, model=model)


def _openable(
    validation: Validation, files: list[ModelFile]
) -> tuple[Record | EnsembleRecord, Callable[[], Detector | EnsembleDetector], Path | str]:
    """The record of one or several models, a function that opens them, and their name: a text for
    several."""
    batch_size, records = validation.loading.batch_size, [file.record for file in files]
    paths = [file.path for file in files]
    for path, record in zip(paths, records, strict=True):
        check_record_memory(record, path, batch_size)

    def open_members() -> list[Detector]:
        return [load_detector(file, validation.engine, batch_size) for file in files]

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
    model: tuple | None = None,
) -> Figures | None:
    """Score the test set of `category`; write and print its figures, and save its thresholds.

    Of several processes each scores a share; rank 0 does the rest, the others return None.
    Pictures are decoded while `open_detector()` prepares the model of `record`. `model_path` is a
    text where no file contains the model. `seconds`: of what was done before, for metrics.json.
    `model`: the identity (models.checkpoint) of the file; None: of the one that is there now.
    """
    start, in_file = time.perf_counter(), isinstance(model_path, Path)
    validation.wanted.require(record.calibration, model_path)
    folder = validation.save_path / category.name
    if processes().first:
        model = checkpoint.identity(model_path) if in_file and model is None else model
        warn_of_results(writable_folder(folder), model_path)
    detector, scored = score(validation, open_detector, record, category)
    if not processes().first:
        return None
    tested = scored.tested
    if not tested:
        where = validation.data.where(category.name)
        raise WorkError(f"{where}: none of the test pictures can be read")
    results = Results.of(validation, detector, tested, model_path)
    took = {"picture": (time.perf_counter() - start) / len(tested)}
    results.write(folder, category.name, scored.skipped, {**(seconds or {}), **took})
    draw_sheets(scored.pictures, tested, scale_for(results.rule, record.unit), folder / "pictures")
    write_report(validation, folder)
    if in_file:
        _keep_calibration(validation, detector, category.name, model_path, model)
    log_phases()
    if scored.skipped:
        logger.warning("%d pictures were skipped", scored.skipped)
    results.say(folder, category.name)
    _say_where(folder, bool(scored.pictures), validation.drawing.html)
    return results.figures


def _say_where(folder: Path, sheets: bool, html: bool) -> None:
    if sheets:
        logger.info("sheets: %s", folder / "pictures")
    if html:
        logger.info("report: %s", folder / "report.html")


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
