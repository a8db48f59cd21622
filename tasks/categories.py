"""Runs training or validation for one category after the other."""

import logging
from collections.abc import Callable
from pathlib import Path

from common.errors import UsageError, WorkError, message, shortened
from common.timing import phase
from evaluation.figures import Figures
from evaluation.report import closing_lines
from evaluation.summary import Summary, read
from evaluation.table import mean
from tasks.processes import processes

logger = logging.getLogger(__name__)


def each_category(
    names: list[str], work: Callable[[str], Figures | None], save_path: Path, compare: bool
) -> int:
    """Do `work` for each name and print the closing lines; returns the exit code.

    If one of several categories fails, the others still run, but in several processes all end. The
    last line has the mean of all
    categories with figures, as category `all`; the table of these categories is printed before and
    written into `save_path`, if `compare` with published figures.
    """
    if len(names) == 1:
        if compare:
            logger.warning("--compare has no effect with one category")
        phase.take()
        if (figures := work(names[0])) is not None:
            print(closing_lines(names[0], *_aurocs(figures)))
        return 0
    results, failed = {}, []
    for name in names:
        phase.take()
        try:
            figures = work(name)
        except (UsageError, WorkError, OSError) as error:
            if processes().count > 1:
                raise  # the other processes would wait for this one
            logger.error("%s: %s", name, shortened(message(error)))
            failed.append(name)
            continue
        if figures is not None:
            results[name] = _aurocs(figures)
            print(closing_lines(name, *results[name]), flush=True)
    if failed:
        logger.error("failed categories: %s", ", ".join(failed))
    if results:
        summary = Summary(read(save_path, results), compare)
        print(summary.text())
        print(closing_lines("all", *map(mean, zip(*results.values(), strict=True))), flush=True)
        summary.write(save_path)
        summary.draw(save_path)
        logger.info("table and ROC curves of all categories: %s", save_path / "summary.md")
    return 1 if failed else 0


def _aurocs(figures: Figures) -> list[float | None]:
    return [level.auroc if level else None for level in (figures.image, figures.pixel)]
