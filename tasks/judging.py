"""Judges pictures: one line per picture, and on request a sheet and a map."""

import json
import logging
from dataclasses import asdict
from itertools import chain, islice
from pathlib import Path

import numpy as np
from PIL import Image

from common.errors import WorkError, message, printable, shortened
from common.files import whole_file
from common.progress import progress
from common.score_log import ScoreLog
from common.timing import phase
from evaluation.pictures import Sheet
from evaluation.scale import scale_for
from inspection import Inspector, Judgement
from tasks.chosen import Chosen
from tasks.collecting import collecting
from tasks.runs import log_phases, tell_crop
from tasks.settings import Answers, Loading
from tasks.verdicts import describe

logger = logging.getLogger(__name__)


def judge_all(
    inspector: Inspector,
    source: Chosen,
    answers: Answers,
    loading: Loading,
    category: str | None,
    timed=None,
) -> int:
    """Judge every picture of `source`; returns the exit code.

    It is 1 if a file was not written, or if a picture could not be judged and `loading` does not
    allow that. `category`: the category that the user expects.
    """
    targets = source.targets_for(answers, inspector.path, inspector.record.digests)
    introduce(inspector, category)
    tell_crop(inspector.record.preprocessing, source.paths[0], loading.max_pixels)
    skipped = []
    with collecting(answers.stats, inspector) as stats:
        teller = Teller(inspector, answers, targets, stats)
        judgements = inspector.inspect(source.paths, skipped, timed)
        first = list(islice(judgements, 1))  # the model is opened now: progress counts from here
        judgements = chain(first, judgements)
        for judgement in progress(judgements, len(source.paths), "judge", size=lambda _: 1):
            teller(judgement)
    log_phases()
    teller.say_unlike(len(source.paths))
    source.say()
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
    source: Chosen,
    answers: Answers,
    loading: Loading,
    category: str | None,
) -> int:
    """As `judge_all`, but one step after the other, with a report of the time of each step."""
    from benchmarks.autolog import Benchmark

    # Report wrong paths before the model is opened.
    source.targets_for(answers, inspector.path, inspector.record.digests)
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
        self.unlike: dict[str, list] = {}  # kind → number, first picture, text of the first
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
        for kind, text in judgement.unlike.items():
            self.unlike.setdefault(kind, [0, judgement.source, text])[0] += 1
        self._collect(judgement)
        self._say(judgement, written)

    def say_unlike(self, pictures: int) -> None:
        """Warn once of each kind in which some of `pictures` are unlike the training pictures."""
        for kind, (count, first, text) in self.unlike.items():
            logger.warning(
                "%d of %d pictures: the %s is unlike that of the training pictures, so the verdict "
                "may mean nothing; the first: %s (%s)",
                *(count, pictures, kind, printable(first), text),
            )

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
            "warnings": judgement.warnings,
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
