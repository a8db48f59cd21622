"""Repeats training and validation with other random channels; the network runs only once."""

import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from common.calibration import Calibration
from common.errors import UsageError, WorkError, printable
from common.files import writable_folder
from common.logs import log_file
from common.looks import Looks
from common.progress import progress
from common.timing import phase
from datasets.loader import Batch, Loader
from datasets.samples import Sample
from evaluation.figures import Figures
from evaluation.scale import scale_for
from evaluation.seeds import Seeds, row_of
from evaluation.testing import score_all
from inspection.normal import NormalPictures
from models import checkpoint
from models.backbones import catalogue
from models.backbones.shapes import expected_stages
from models.detector import Detector
from models.factory import SEED, Plan, build_detector
from models.kept import KeptMaps
from models.whole import ReducedMaps, whole_detector
from tasks.audit import forget
from tasks.categories import each_category
from tasks.results import Results, write_report
from tasks.runs import loader_for, log_phases, unskipped
from tasks.settings import Training
from tasks.sheets import chosen_pictures, draw_sheets, keeper
from tasks.training import calibrate, log_settings, prepare, report_calibration

logger = logging.getLogger(__name__)


def train_all_seeds(training: Training) -> int:
    """Train all categories, each with all seeds; returns the exit code."""

    def work(name: str) -> Figures:
        with log_file(training.log_dir, name):
            return Repetition(training, name).run()

    compare = training.validation.compare
    return each_category(training.data.names, work, training.save_path, compare)


@dataclass(frozen=True, eq=False)
class Extracted:
    """What the network gives once for all seeds.

    learn, judge : stage maps of the training and of the test pictures, with all channels
    samples, batches : the training pictures, and the test batches without their pixels
    pictures : of the test pictures that are drawn, uint8 [H,W,3]
    skipped : number of test pictures that could not be read
    looks : of the training pictures
    fit, test : seconds for the training and for the test pictures
    """

    learn: KeptMaps
    judge: KeptMaps
    samples: list[Sample]
    batches: list[Batch]
    pictures: dict[Path, np.ndarray]
    skipped: int
    looks: Looks
    fit: float
    test: float


@dataclass(frozen=True, eq=False)
class Fitted:
    """The model of one seed: fitted, calibrated, and tested.

    normal : its scores of good pictures, if it was calibrated
    fit, test : seconds, those of the network included
    """

    detector: Detector
    normal: NormalPictures | None
    results: Results
    fit: float
    test: float


class Repetition:
    """All seeds of one category. The model of the seed `saved` is kept, and its results."""

    def __init__(self, training: Training, name: str):
        self.training, self.name = training, name
        seeds, wanted = training.seeds, training.model.seed
        default = SEED if SEED in seeds else seeds[0]
        self.saved = default if wanted is None else wanted
        chosen = replace(training, model=replace(training.model, seed=self.saved))
        self.prepared = prepare(chosen, name)
        _require_drawn(self.prepared.planned)
        self.folder = writable_folder(training.validation.save_path / name)

    def run(self) -> Figures:
        """Print the table of all seeds and the results of the saved one; returns its figures."""
        folder, category = self.prepared.path.parent, self.prepared.category
        counts, each = (len(category.train), len(category.test)), _bytes(self.prepared.planned)
        _require_room(folder, each, sum(counts))
        logger.info(
            "all channels of %d pictures are kept on the disk: %.2f GB",
            *(sum(counts), each * sum(counts) / 1e9),
        )
        learn, judge = (KeptMaps(folder, each * count) for count in counts)
        with unskipped(), learn, judge:
            extracted, rows = self._extract(learn, judge), {}
            for seed in self.training.seeds:
                fitted = self._fit(seed, extracted)
                rows[seed] = row_of(fitted.results.figures, fitted.results.promise)
                if seed == self.saved:
                    self._save(fitted, extracted)
                    kept = fitted.results
        log_phases()
        self._say(rows, kept)
        return kept.figures

    def _extract(self, learn: KeptMaps, judge: KeptMaps) -> Extracted:
        """Run the network on all pictures."""
        loading, preprocessing = self.training.loading, self.prepared.planned.preprocessing
        category, start = self.prepared.category, time.perf_counter()
        train = loader_for(category.train, preprocessing, loading)
        test = loader_for(category.test, preprocessing, loading, masks=True)
        chosen = chosen_pictures(category.test, self.training.validation.drawing)
        pictures, keep = keeper(test.transform, chosen)
        samples, batches = [], []
        with train:
            first = self._detector(self.training.seeds[0])
            log_settings(self.training.described)
            logger.info("%s", first.record.weights_line())
            whole = whole_detector(first)
            for batch in _kept(train, whole, learn, f"features {self.name}, training"):
                samples += batch.samples
        between = time.perf_counter()
        with test:
            for batch in _kept(test, whole, judge, f"features {self.name}, test"):
                keep(batch)
                batches.append(replace(batch, images=np.empty(0)))
        if not batches:
            where = self.training.data.where(self.name)
            raise WorkError(f"{where}: none of the test pictures can be read")
        skipped, end = len(test.skipped), time.perf_counter()
        if skipped or train.skipped:
            logger.warning("%d pictures were skipped", skipped + len(train.skipped))
        known = learn, judge, samples, batches, pictures, skipped, train.looks
        return Extracted(*known, between - start, end - between)

    def _detector(self, seed: int) -> Detector:
        planned = replace(self.prepared.planned, seed=seed)
        with phase("imports, weights"):
            return build_detector(planned, self.training.engine, self.prepared.roi)

    def _fit(self, seed: int, extracted: Extracted) -> Fitted:
        """Fit, calibrate and test the model of `seed`."""
        start, training, normal = time.perf_counter(), self.training, None
        detector = self._detector(seed)
        learned, judged = (
            ReducedMaps(maps, detector.features.reduction)
            for maps in (extracted.learn, extracted.judge)
        )
        what, samples = f"fit {self.name}, seed {seed}", extracted.samples
        detector.record = replace(detector.record, looks=extracted.looks)
        try:
            detector.learn(progress(learned, len(samples), what, size=lambda maps: len(maps[0])))
        except UsageError as error:
            raise UsageError(f"{training.data.where(self.name)}: {error}") from error
        if training.calibrating.wanted:
            normal = calibrate(training, detector, samples, learned)
        between = time.perf_counter()
        pairs = zip(extracted.batches, judged, strict=True)
        batches = (replace(batch, images=maps) for batch, maps in pairs)
        tested = score_all(detector.judge, batches, lambda batch: None)
        results = Results.of(training.validation, detector, tested, self.prepared.path)
        fit, test = between - start, time.perf_counter() - between
        return Fitted(detector, normal, results, extracted.fit + fit, extracted.test + test)

    def _save(self, fitted: Fitted, extracted: Extracted) -> None:
        """Write the model, its results, and its sheets."""
        detector, path, results = fitted.detector, self.prepared.path, fitted.results
        record = detector.record
        if not self.training.validation.calibrate:
            record = replace(record, calibration=Calibration(record.calibration.normal))
        with phase("saving"):
            checkpoint.save(path, detector.arrays(), record)
        forget(path.parent)
        logger.info("%s: the model of seed %d", path, self.saved)
        if fitted.normal is not None:
            report_calibration(self.training, detector, fitted.normal, path.parent)
        seconds = {"fit": fitted.fit, "picture": fitted.test / len(results.tested)}
        results.write(self.folder, self.name, extracted.skipped, seconds)
        scale = scale_for(results.rule, record.unit)
        draw_sheets(extracted.pictures, results.tested, scale, self.folder / "pictures")
        write_report(self.training.validation, self.folder)

    def _say(self, rows: dict[int, dict], kept: Results) -> None:
        seeds, path = Seeds(rows, self.saved), self.folder / "seeds.json"
        seeds.write(path)
        kept.say(self.folder, self.name)
        heading = f"{self.name}: {len(rows)} seeds, seed {self.saved} is saved; {printable(path)}"
        said = f"{heading}\n{seeds.text()}"
        print(said)
        logger.info("%s", said, extra={"file_only": True, "lines": True})


def _kept(loader: Loader, detector: Detector, kept: KeptMaps, what: str) -> Iterator[Batch]:
    """The batches of `loader`, whose stage maps are added to `kept`."""
    for batch in progress(loader, len(loader), what, size=lambda batch: len(batch.samples)):
        maps = detector.maps(batch.images)
        with phase("keeping"):
            kept.add(maps)
        if kept.full:
            raise WorkError(f"{kept.folder}: no space left for the features; free some")
        yield batch


def _bytes(planned: Plan) -> int:
    """Bytes of all channels of one picture."""
    total = sum(catalogue.channels(planned.backbone, layer) for layer in planned.layers)
    known = planned.backbone, planned.layers, total, False, planned.preprocessing.crop
    return 4 * sum(channels * h * w for channels, (h, w) in expected_stages(*known))


def _require_drawn(planned: Plan) -> None:
    if planned.reduction == "none":
        raise UsageError(
            f"all {planned.dims} channels are kept, so nothing is drawn at random; with --dims "
            f"below {planned.dims}, or --reduction semi_orthogonal, channels depend on the seed",
            "seeds",
        )


def _require_room(folder: Path, each: int, pictures: int) -> None:
    needed, room = each * pictures, KeptMaps(folder).room
    if needed > room:
        raise UsageError(
            f"all channels of {pictures} pictures need {needed / 1e9:.1f} GB, but {folder} has "
            f"room for {room / 1e9:.1f} GB of features; choose fewer --layers, smaller pictures "
            "(--img_size), or another --save_path",
            "seeds",
        )
