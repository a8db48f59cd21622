"""Judge pictures one by one: a line, a sheet and a map for each."""

import json
import logging
from collections import Counter
from pathlib import Path

import numpy as np

from common.errors import UsageError
from common.files import whole_file, writable_folder
from common.progress import progress
from common.timing import phase
from datasets.loader import Batch, Loader
from datasets.samples import Sample, pictures_in
from datasets.transforms import Preprocessing
from evaluation.pictures import Sheet, verdict
from evaluation.report import scale_for
from models import load_detector
from models.options import find_model
from tasks.runs import log_phases, log_weights

logger = logging.getLogger(__name__)


def predict_all(options) -> int:
    """Judge what --picture_path names; 1 where a picture did not decode, unless that is allowed."""
    paths, root = _find(options.picture_path)
    model = find_model(options.model_path, Path("output"), options.category)
    targets = Targets(options, paths, root)
    detector = load_detector(model, options.device)
    category = detector.record["category"]
    if options.category not in (None, category):
        logger.warning("%s was trained on category %s", model, category)
    log_weights(detector.record)
    targets.settle(category)

    judge = Judge(options, detector, targets)
    loader = Loader(
        [Sample(path) for path in paths],
        judge.preprocessing,
        options.batch_size,
        options.num_workers,
        skip_bad=True,  # the others are answered in any case
    )
    for batch in progress(loader, len(loader), "predict", size=lambda batch: len(batch.samples)):
        judge(batch)
    log_phases()
    if loader.skipped:
        logger.error("%d of %d pictures did not decode", len(loader.skipped), len(paths))
    return 1 if loader.skipped and not options.skip_bad else 0


class Targets:
    """Where the sheet and the map of each picture go."""

    def __init__(self, options, paths: list[Path], root: Path):
        self.options, self.paths, self.root = options, paths, root
        single = options.save_path is not None and options.save_path.suffix.lower() == ".png"
        if single and len(paths) > 1:
            raise UsageError(
                f"--save_path {options.save_path}: one file for {len(paths)} pictures; "
                "name a folder"
            )
        self.file = options.save_path if single else None
        stems = Counter(path.with_suffix("") for path in paths)
        self.doubled = {stem for stem, count in stems.items() if count > 1}

    def settle(self, category: str) -> None:
        """Prove that the folders can be written and that no picture would be overwritten."""
        options = self.options
        self.folder = options.save_path or Path("output") / category / "predictions"
        if options.save_picture:
            writable_folder(self.file.parent if self.file else self.folder)
            pictures = {path.resolve() for path in self.paths}
            for path in self.paths:
                if (target := self.sheet(path)).resolve() in pictures:
                    raise UsageError(
                        f"--save_path: {target} would overwrite a picture to be judged"
                    )
        if options.save_map:
            writable_folder(options.save_map, "--save_map")

    def sheet(self, path: Path) -> Path:
        return self.file or self._below(self.folder, path, ".png")

    def map(self, path: Path) -> Path:
        return self._below(self.options.save_map, path, ".npy")

    def _below(self, folder: Path, path: Path, suffix: str) -> Path:
        """The picture's place below its root, mirrored below `folder`."""
        relative = path.relative_to(self.root)
        if path.with_suffix("") in self.doubled:  # part.png and part.jpg in one folder
            return folder / relative.with_name(relative.name + suffix)
        return folder / relative.with_suffix(suffix)


class Judge:
    """Scores batches and gives out what was asked for."""

    def __init__(self, options, detector, targets: Targets):
        self.options, self.detector, self.targets = options, detector, targets
        self.preprocessing = Preprocessing.from_record(detector.record["preprocessing"])
        calibration = detector.record["calibration"]
        scale = scale_for(calibration, detector.score_scale, options.threshold)
        self.threshold = scale.threshold
        if self.threshold is None:
            logger.warning("no threshold: validate the model (val.py) or give --threshold")
        self.sheet = Sheet(scale, truth=False) if options.save_picture else None

    def __call__(self, batch: Batch) -> None:
        scores = self.detector.score(batch.images)
        if self.sheet:
            pictures = self.preprocessing.denormalize(batch.images)
        for i, sample in enumerate(batch.samples):
            score, path = float(scores.image[i]), sample.path
            written = {}
            if self.options.save_map:
                written["map"] = self._save_map(path, scores.map[i])
            if self.sheet:
                written["picture"] = self.targets.sheet(path)
                with phase("drawing"):
                    sheet, anomaly_map = written["picture"], scores.map[i]
                    self.sheet.save(sheet, path.name, pictures[i], score, anomaly_map)
            self._say(path, score, written)

    def _save_map(self, path: Path, anomaly_map: np.ndarray) -> Path:
        target = self.targets.map(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(target) as temporary:
            np.save(temporary, anomaly_map)
        return target

    def _say(self, path: Path, score: float, written: dict[str, Path]) -> None:
        judged = verdict(score, self.threshold)
        if not self.options.json:
            print(f"{path}\t{score:.6f}\t{judged}", flush=True)
            return
        line = {
            "path": str(path),
            "score": score,
            "verdict": judged,
            "threshold": self.threshold,
            "category": self.detector.record["category"],
            **{what: str(target) for what, target in written.items()},
        }
        print(json.dumps(line, ensure_ascii=False), flush=True)


def _find(path: Path) -> tuple[list[Path], Path]:
    """The pictures that --picture_path names, and the folder they lie below."""
    if path.is_file():
        return [path], path.parent
    if not path.is_dir():
        raise UsageError(f"--picture_path {path}: no such picture or folder")
    found = pictures_in(path, recursive=True)
    if not found:
        raise UsageError(f"--picture_path {path}: no pictures in it or below it")
    return found, path
