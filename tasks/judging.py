"""Judges pictures: one line per picture, and on request a sheet and a map."""

import json
import logging
from dataclasses import asdict
from itertools import chain, islice
from pathlib import Path

import numpy as np
from PIL import Image

from common.errors import UsageError, WorkError, message, printable, shortened
from common.files import whole_file, writable_folder
from common.progress import progress
from common.score_log import ScoreLog
from common.timing import phase
from datasets.samples import pictures_in
from evaluation.figure import target_names
from evaluation.pictures import Sheet
from evaluation.scale import scale_for
from inspection import Inspector, Judgement
from tasks.collecting import collecting
from tasks.runs import log_phases, warn_of_crop
from tasks.settings import Answers, Loading
from tasks.verdicts import describe

logger = logging.getLogger(__name__)


class Source:
    """The pictures at `path`, the value of option `setting`, without those in `output`."""

    def __init__(self, path: Path, setting: str, output: Path):
        if not path.exists():
            raise UsageError(
                f"{path}: no such file or folder; expected a picture or a folder of pictures",
                setting,
            )
        self.output, self.root, self.paths = output, path, [path]
        if not path.is_dir():
            self.root = path.parent
            return
        self.paths, ours = pictures_in(path, recursive=True), output.resolve()
        if ours != path.resolve():
            self.paths = [p for p in self.paths if ours not in p.resolve().parents]
        if not self.paths:
            raise UsageError(f"{path}: no pictures in this folder or its subfolders", setting)

    def targets(self, answers: Answers) -> dict[str, dict[Path, Path]]:
        """Paths of the sheet (`picture`), `map` and `mask` of each picture, if they are wanted.

        UsageError if a folder cannot be written or a picture to be judged would be overwritten.
        """
        targets = {}
        if answers.save_picture and self.output.suffix.lower() == ".png":
            if len(self.paths) > 1:
                raise UsageError(
                    f"{self.output}: one file name for {len(self.paths)} pictures; give a folder",
                    "save_path",
                )
            writable_folder(self.output.parent)
            targets["picture"] = {self.paths[0]: self.output}
        elif answers.save_picture:
            targets["picture"] = self._mirrored(writable_folder(self.output), ".png")
        if answers.save_map:
            folder = writable_folder(answers.save_map, "save_map")
            targets["map"] = self._mirrored(folder, ".npy")
        if answers.save_mask:
            folder = writable_folder(answers.save_mask, "save_mask")
            targets["mask"] = self._mirrored(folder, ".png")
        pictures = {path.resolve() for path in self.paths}
        for what, setting in (("picture", "save_path"), ("mask", "save_mask")):
            for target in targets.get(what, {}).values():
                if target.resolve() in pictures:
                    raise UsageError(
                        f"{target} would overwrite a picture to be judged; give another folder",
                        setting,
                    )
        return targets

    def _mirrored(self, folder: Path, suffix: str) -> dict[Path, Path]:
        """For each picture a path in `folder`, with the same subfolders as below the root."""
        relative = [path.relative_to(self.root) for path in self.paths]
        places = (folder / name for name in target_names(relative, suffix))
        return dict(zip(self.paths, places, strict=True))


def judge_all(
    inspector: Inspector,
    source: Source,
    answers: Answers,
    loading: Loading,
    category: str | None,
    timed=None,
) -> int:
    """Judge every picture of `source`; returns the exit code.

    It is 1 if a file was not written, or if a picture could not be judged and `loading` does not
    allow that. `category`: the category that the user expects.
    """
    targets = source.targets(answers)
    introduce(inspector, category)
    warn_of_crop(inspector.record.preprocessing, source.paths[0], loading.max_pixels)
    skipped = []
    with collecting(answers.stats, inspector) as stats:
        teller = Teller(inspector, answers, targets, stats)
        judgements = inspector.inspect(source.paths, skipped, timed)
        first = list(islice(judgements, 1))  # the model is opened now: progress counts from here
        judgements = chain(first, judgements)
        for judgement in progress(judgements, len(source.paths), "judge", size=lambda _: 1):
            teller(judgement)
    log_phases()
    if skipped:
        level = logging.WARNING if loading.skip_bad else logging.ERROR
        counts, first = (len(skipped), len(source.paths)), shortened(message(skipped[0]), 400)
        logger.log(level, "%d of %d pictures could not be read; the first: %s", *counts, first)
    if teller.failed:
        logger.error("%d files could not be written", teller.failed)
    return 1 if teller.failed or (skipped and not loading.skip_bad) else 0


def introduce(inspector: Inspector, category: str | None) -> None:
    """Log the weights and the rule; warn of a model of another category than expected."""
    record = inspector.record
    if category not in (None, record.category):
        trained = record.category
        logger.warning("%s was trained on category %s, not %s", inspector.path, trained, category)
    logger.info("%s", record.weights_line())
    if inspector.threshold is None:
        logger.warning(
            "the model has no threshold, so every verdict is unknown: train it with --calibrate "
            "True, validate it with val.py, or give --threshold"
        )
    else:
        logger.info("%s", describe(inspector.rule))


def judge_timed(
    inspector: Inspector,
    source: Source,
    answers: Answers,
    loading: Loading,
    category: str | None,
) -> int:
    """As `judge_all`, but one step after the other, with a report of the time of each step."""
    from benchmarks.autolog import Benchmark

    source.targets(answers)  # report wrong paths before the model is opened
    pictures = len(source.paths)
    with Benchmark(inspector.detector, loading.batch_size, pictures) as timed:
        code = judge_all(inspector, source, answers, loading, category, timed)
        timed.report(failed=code != 0)
        return code


class Teller:
    """Prints judgements, saves sheets and maps, collects scores; `failed` counts what failed."""

    def __init__(
        self, inspector: Inspector, answers: Answers, targets: dict, stats: ScoreLog | None
    ):
        self.json, self.targets, self.category = answers.json, targets, inspector.record.category
        self.failed, self.sheet, self.stats = 0, None, stats
        if answers.save_picture:
            self.sheet = Sheet(scale_for(inspector.rule, inspector.record.unit), truth=False)

    def __call__(self, judgement: Judgement) -> None:
        written = {}
        for what, places in self.targets.items():
            target = places[judgement.source]
            try:
                target.parent.mkdir(parents=True, exist_ok=True)
                self._save(what, target, judgement)
                written[what] = str(target)
            except (WorkError, OSError) as error:
                logger.error("%s", error)
                self.failed += 1
        self._collect(judgement)
        self._say(judgement, written)

    def _collect(self, judgement: Judgement) -> None:
        if self.stats is None:
            return
        try:
            path = printable(judgement.source)
            self.stats.add(path, judgement.score, judgement.p_value, judgement.verdict)
        except WorkError as error:
            logger.error("%s; the scores of the further pictures are not collected", error)
            self.failed, self.stats = self.failed + 1, None

    def _save(self, what: str, target: Path, judgement: Judgement) -> None:
        if what == "map":
            with whole_file(target) as temporary:
                np.save(temporary, judgement.map)
            return
        if what == "mask":
            with whole_file(target) as temporary:
                Image.fromarray(judgement.mask).save(temporary)
            return
        name = judgement.source.name
        with phase("drawing"):
            self.sheet.save(target, name, judgement.picture, judgement.score, judgement.map)

    def _say(self, judgement: Judgement, written: dict[str, str]) -> None:
        if not self.json:
            line = f"{printable(judgement.source)}\t{judgement.score:.6f}\t{judgement.verdict}"
            print(line, flush=True)
            return
        line = {
            "path": str(judgement.source),
            "score": judgement.score,
            "verdict": judgement.verdict,
            "threshold": judgement.threshold,
            "p_value": judgement.p_value,
            "normalised": judgement.normalised,
            "regions": [asdict(region) for region in judgement.regions],
            "category": self.category,
            **written,
        }
        print_json(line)


def print_json(line: dict) -> None:
    """Print `line` as one line of JSON."""
    # JSON itself escapes only the first 32 control characters.
    text = json.dumps(line, ensure_ascii=False)
    print("".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in text), flush=True)
