"""Judges pictures as they arrive in a folder, until SIGTERM or SIGINT."""

import logging
import threading
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from common.errors import UsageError, message, printable, shortened
from common.names import target_names
from common.signals import answering
from common.timing import phase
from datasets.arrivals import Arrivals
from datasets.samples import require_folder
from inspection import Inspector
from tasks.collecting import collecting
from tasks.judging import Teller, introduce, print_json
from tasks.owned import owned_folder
from tasks.settings import Answers, Watching

REST = 4.0  # looking at the folder takes at most 1/(1 + REST) of the time

logger = logging.getLogger(__name__)


class Mirrored:
    """For each picture below `root` a path in `folder`: its own path and name, and `suffix`."""

    def __init__(self, root: Path, folder: Path, suffix: str):
        self.root, self.folder, self.suffix = root, folder, suffix

    def __getitem__(self, path: Path) -> Path:
        relative = path.relative_to(self.root)
        (name,) = target_names([relative.with_name(relative.name + self.suffix)], self.suffix)
        return self.folder / name


def watch(inspector: Inspector, watching: Watching, answers: Answers, category: str | None) -> int:
    """Judge the pictures that arrive in `watching.folder`; a line of JSON each.

    Sheets are saved where `answers` has a folder for them. `category`: that the user expects.
    Returns the exit code: 1 if a file could not be written. A picture that cannot be read has a
    line with `error`; one that is being written is waited for.
    """
    require_folder(watching.folder, "watch")
    answers = replace(answers, json=True, save_picture=answers.save_path is not None)
    targets = _targets(watching.folder, answers, inspector)
    introduce(inspector, category)
    logging.getLogger("datasets.loader").setLevel(logging.ERROR)  # the lines have the errors
    stop = threading.Event()
    with answering(lambda number: stop.set()), collecting(answers.stats, inspector) as stats:
        inspector.load()
        teller = Teller(inspector, answers, targets, stats)
        logger.info("watching %s; end with Ctrl-C or SIGTERM", watching.folder)
        watcher = Watcher(inspector, Arrivals(watching.folder, watching.present), teller)
        watcher.run(stop, watching.interval)
    teller.say_unlike(watcher.judged)
    logger.info("ended: %d pictures judged, %d unreadable", watcher.judged, watcher.unreadable)
    return 1 if teller.failed else 0


class Watcher:
    """Judges what arrives; counts what was `judged` and what was `unreadable`."""

    def __init__(self, inspector: Inspector, arrivals: Arrivals, teller: Teller):
        self.inspector, self.arrivals, self.teller = inspector, arrivals, teller
        self.judged = self.unreadable = 0

    def run(self, stop: threading.Event, interval: float) -> None:
        """Until `stop`: look every `interval` seconds; judge what has arrived."""
        while not stop.is_set():
            start = time.monotonic()
            arrived = self.arrivals.take()
            looked = time.monotonic() - start
            size = self.inspector.batch_size
            for first in range(0, len(arrived), size):
                if stop.is_set():
                    return
                self._judge(arrived[first : first + size])
            phase.take()  # nobody asks for the times of a process without an end
            stop.wait(max(interval, REST * looked))

    def _judge(self, paths: list[Path]) -> None:
        unread, errors = dict.fromkeys(paths), []
        with closing(self.inspector.inspect(paths, errors)) as judgements:
            for judgement in judgements:
                del unread[judgement.source]
                self.teller(judgement)
                self.judged += 1
        for path, error in zip(unread, errors, strict=True):
            if self.arrivals.postpone(path):
                continue
            if not path.exists():
                logger.info("%s: left before it was read", printable(path))
                continue
            self.unreadable += 1
            print_json({"path": str(path), "error": shortened(message(error), 400)})


def _targets(folder: Path, answers: Answers, inspector: Inspector) -> dict[str, Mirrored]:
    """Where the sheet, the map and the mask of a picture go; UsageError where nothing can go."""
    wanted = (
        ("picture", answers.save_path, ".png", "save_path"),
        ("map", answers.save_map, ".npy", "save_map"),
        ("mask", answers.save_mask, ".png", "save_mask"),
    )
    targets = {}
    for what, place, suffix, setting in wanted:
        if not place:
            continue
        place = place.resolve()
        if folder.resolve() in (place, *place.parents):
            raise UsageError(
                f"{place}: pictures saved here would arrive as new ones; give a folder outside "
                f"{folder}",
                setting,
            )
        owned_folder(place, setting, inspector.path, inspector.record.digests)
        targets[what] = Mirrored(folder, place, suffix)
    return targets
