"""Judge pictures one by one: a line, a sheet and a map for each."""

import json
import logging
from pathlib import Path

import numpy as np

from common.errors import UsageError, WorkError, printable
from common.files import whole_file, writable_folder
from common.progress import progress
from common.timing import phase
from datasets.loader import Batch, Loader
from datasets.samples import Sample, pictures_in
from datasets.transforms import Preprocessing
from evaluation.figure import target_names
from evaluation.pictures import Sheet, verdict
from evaluation.report import scale_for
from models.options import find_model
from tasks.runs import log_phases, log_weights, open_detector, warn_of_crop

logger = logging.getLogger(__name__)


def predict_all(options) -> int:
    """Judge what --picture_path names; 1 where a picture has no answer, unless that is allowed."""
    source = options.picture_path
    if not source.exists():
        raise UsageError(f"--picture_path {source}: no such picture or folder")
    model = find_model(options.model_path, Path("output"), options.category)
    detector, preprocessing = open_detector(model, options.device)
    category = detector.record["category"]
    if options.category not in (None, category):
        logger.warning("%s was trained on category %s", model, category)
    log_weights(detector.record)

    folder = options.save_path or Path("output") / category / "predictions"
    paths, root = _find(source, folder)
    warn_of_crop(preprocessing, paths[0])
    judge = Judge(options, detector, preprocessing, _targets(options, folder, paths, root))
    loader = Loader(
        [Sample(path) for path in paths],
        preprocessing,
        options.batch_size,
        options.num_workers,
        skip_bad=True,  # the others are answered in any case
    )
    for batch in progress(loader, len(loader), "predict", size=lambda batch: len(batch.samples)):
        judge(batch)
    log_phases()
    if loader.skipped:
        level = logging.WARNING if options.skip_bad else logging.ERROR
        logger.log(level, "%d of %d pictures did not decode", len(loader.skipped), len(paths))
    if judge.failed:
        logger.error("%d files could not be written", judge.failed)
    return 1 if judge.failed or (loader.skipped and not options.skip_bad) else 0


def _find(path: Path, output: Path) -> tuple[list[Path], Path]:
    """The pictures that --picture_path names, without our own `output`; the folder they are in."""
    if path.is_file():
        return [path], path.parent
    found, ours = pictures_in(path, recursive=True), output.resolve()
    if ours != path.resolve():
        found = [picture for picture in found if ours not in picture.resolve().parents]
    if not found:
        raise UsageError(f"--picture_path {path}: no pictures in it or below it")
    return found, path


def _targets(options, folder: Path, paths: list[Path], root: Path) -> dict[str, dict[Path, Path]]:
    """Where each picture's `picture` (sheet) and `map` go, as far as they were asked for.

    Proves that the folders can be written, and that no picture to be judged would be overwritten.
    """
    relative, targets = [path.relative_to(root) for path in paths], {}
    if options.save_picture and folder.suffix.lower() == ".png":
        if len(paths) > 1:
            raise UsageError(
                f"--save_path {folder}: one file for {len(paths)} pictures; name a folder"
            )
        writable_folder(folder.parent)
        targets["picture"] = {paths[0]: folder}
    elif options.save_picture:
        targets["picture"] = _mirrored(paths, relative, writable_folder(folder), ".png")
    if options.save_map:
        folder = writable_folder(options.save_map, "--save_map")
        targets["map"] = _mirrored(paths, relative, folder, ".npy")
    pictures = {path.resolve() for path in paths}
    for target in targets.get("picture", {}).values():
        if target.resolve() in pictures:
            raise UsageError(
                f"--save_path: {target} would overwrite a picture to be judged; name another"
            )
    return targets


def _mirrored(
    paths: list[Path], relative: list[Path], folder: Path, suffix: str
) -> dict[Path, Path]:
    """Each of `paths` at its `relative` place below `folder`."""
    places = (folder / name for name in target_names(relative, suffix))
    return dict(zip(paths, places, strict=True))


class Judge:
    """Scores batches and gives out what was asked for; `failed` counts files not written."""

    def __init__(self, options, detector, preprocessing: Preprocessing, targets: dict):
        self.options, self.detector = options, detector
        self.preprocessing, self.targets = preprocessing, targets
        self.failed = 0
        scale = scale_for(detector.record["calibration"], detector.score_scale, options.threshold)
        self.threshold = scale.threshold
        if self.threshold is None:
            logger.warning("no threshold: validate the model (val.py) or give --threshold")
        self.sheet = Sheet(scale, truth=False) if options.save_picture else None

    def __call__(self, batch: Batch) -> None:
        scores = self.detector.score(batch.images)
        pictures = self.preprocessing.denormalize(batch.images) if self.sheet else batch.images
        for i, sample in enumerate(batch.samples):
            score = float(scores.image[i])
            written = self._save(sample.path, pictures[i], score, scores.map[i])
            self._say(sample.path, score, written)

    def _save(self, path: Path, picture, score: float, anomaly_map) -> dict[str, str]:
        """Write sheet and map; what could not be written is logged and leaves the others be."""
        written = {}
        for what, places in self.targets.items():
            target = places[path]
            try:
                target.parent.mkdir(parents=True, exist_ok=True)
                if what == "map":
                    with whole_file(target) as temporary:
                        np.save(temporary, anomaly_map)
                else:
                    with phase("drawing"):
                        self.sheet.save(target, path.name, picture, score, anomaly_map)
                written[what] = str(target)
            except (WorkError, OSError) as error:
                logger.error("%s", error)
                self.failed += 1
        return written

    def _say(self, path: Path, score: float, written: dict[str, str]) -> None:
        judged = verdict(score, self.threshold)
        if not self.options.json:
            print(f"{printable(path)}\t{score:.6f}\t{judged}", flush=True)
            return
        line = {
            "path": str(path),
            "score": score,
            "verdict": judged,
            "threshold": self.threshold,
            "category": self.detector.record["category"],
            **written,
        }
        print(json.dumps(line, ensure_ascii=False), flush=True)
