"""Judge pictures one by one: a line, and where asked for a sheet and a map, for each."""

import json
import logging
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from benchmarks.autolog import Benchmark
from common.errors import UsageError, WorkError, printable
from common.files import whole_file, writable_folder
from common.progress import progress
from common.timing import phase
from datasets.loader import Batch, Loader
from datasets.samples import Sample, pictures_in
from datasets.transforms import Preprocessing
from evaluation.figure import target_names
from evaluation.scale import scale_for, verdict
from tasks.runs import calibration_of, log_phases, log_weights, warn_of_crop

logger = logging.getLogger(__name__)


def judge_all(
    open_detector: Callable,
    preprocessing: Preprocessing,
    source: "Source",
    options,
    benchmark: bool = False,
) -> int:
    """Answer every picture of `source`; the exit code.

    The pictures decode while `open_detector()` prepares the network. 1 where a picture has no
    answer, unless `options` allow that. `benchmark` takes one step after the other, so that each
    has a time of its own, and reports the times.
    """
    targets = source.targets(options)
    with source.loader(preprocessing, options, 0 if benchmark else options.num_workers) as loader:
        detector = open_detector()
        judge = Judge(options, detector, preprocessing, targets)
        warn_of_crop(preprocessing, source.paths[0])
        if not benchmark:
            return _judge_batches(judge, loader, loader, options)
        with Benchmark(detector, options.precision, options.batch_size, len(loader)) as timed:
            judge.score = timed.score
            code = _judge_batches(judge, timed.batches(loader), loader, options)
            timed.report(failed=code != 0)
            return code


def _judge_batches(judge: "Judge", batches: Iterable[Batch], loader: Loader, options) -> int:
    """Judge the `batches` that `loader` decodes; the exit code."""
    for batch in progress(batches, len(loader), "judge", size=lambda batch: len(batch.samples)):
        judge(batch)
    log_phases()
    if loader.skipped:
        level = logging.WARNING if options.skip_bad else logging.ERROR
        logger.log(level, "%d of %d pictures did not decode", len(loader.skipped), len(loader))
    if judge.failed:
        logger.error("%d files could not be written", judge.failed)
    return 1 if judge.failed or (loader.skipped and not options.skip_bad) else 0


def source_for(
    options, path: Path, option: str, record: dict, model: Path, folder: str
) -> "Source":
    """What `path` names, for the model of `record`; says which category and weights that is."""
    category = record["category"]
    if options.category not in (None, category):
        logger.warning("%s was trained on category %s", model, category)
    source = Source(path, option, options.save_path or Path("output") / category / folder)
    log_weights(record)
    return source


class Source:
    """The pictures that `option` names by `path`, without those in our own `output` folder."""

    def __init__(self, path: Path, option: str, output: Path):
        if not path.exists():
            raise UsageError(f"{option} {path}: no such picture or folder")
        self.output, self.root, self.paths = output, path, [path]
        if path.is_file():
            self.root = path.parent
            return
        self.paths, ours = pictures_in(path, recursive=True), output.resolve()
        if ours != path.resolve():
            self.paths = [p for p in self.paths if ours not in p.resolve().parents]
        if not self.paths:
            raise UsageError(f"{option} {path}: no pictures in it or below it")

    def loader(self, preprocessing: Preprocessing, options, workers: int) -> Loader:
        """Decodes all that decode: the others are answered in any case."""
        samples = [Sample(path) for path in self.paths]
        return Loader(samples, preprocessing, options.batch_size, workers, skip_bad=True)

    def targets(self, options) -> dict[str, dict[Path, Path]]:
        """Where each picture's `picture` (sheet) and `map` go, as far as they were asked for.

        Proves that the folders can be written, and that no picture to be judged would be
        overwritten.
        """
        targets = {}
        if options.save_picture and self.output.suffix.lower() == ".png":
            if len(self.paths) > 1:
                raise UsageError(
                    f"--save_path {self.output}: one file for {len(self.paths)} pictures; "
                    "name a folder"
                )
            writable_folder(self.output.parent)
            targets["picture"] = {self.paths[0]: self.output}
        elif options.save_picture:
            targets["picture"] = self._mirrored(writable_folder(self.output), ".png")
        if options.save_map:
            folder = writable_folder(options.save_map, "save_map")
            targets["map"] = self._mirrored(folder, ".npy")
        pictures = {path.resolve() for path in self.paths}
        for target in targets.get("picture", {}).values():
            if target.resolve() in pictures:
                raise UsageError(
                    f"--save_path: {target} would overwrite a picture to be judged; name another"
                )
        return targets

    def _mirrored(self, folder: Path, suffix: str) -> dict[Path, Path]:
        """Each picture at its place relative to the root, below `folder`."""
        relative = [path.relative_to(self.root) for path in self.paths]
        places = (folder / name for name in target_names(relative, suffix))
        return dict(zip(self.paths, places, strict=True))


class Judge:
    """Scores batches and gives out what was asked for; `failed` counts files not written."""

    def __init__(self, options, detector, preprocessing: Preprocessing, targets: dict):
        self.json, self.detector, self.score = options.json, detector, detector.score
        self.preprocessing, self.targets = preprocessing, targets
        self.failed = 0
        scale = scale_for(calibration_of(detector.record), detector.score_scale, options.threshold)
        self.threshold = scale.threshold
        if self.threshold is None:
            logger.warning("no threshold: validate the model (val.py) or give --threshold")
        self.sheet = None
        if options.save_picture:
            from evaluation.pictures import Sheet  # imports more than judging alone needs

            self.sheet = Sheet(scale, truth=False)

    def __call__(self, batch: Batch) -> None:
        scores = self.score(batch.images)
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
        if not self.json:
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
