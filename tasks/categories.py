"""Runs training or validation for one category after the other."""

import logging
from collections.abc import Callable

from common.errors import UsageError, WorkError, message, shortened
from common.timing import phase
from evaluation.figures import Figures
from evaluation.report import closing_lines
from evaluation.summary import mean, summary

logger = logging.getLogger(__name__)


def each_category(names: list[str], work: Callable[[str], Figures | None]) -> int:
    """Do `work` for each name and print the closing lines; returns the exit code.

    If one of several categories fails, the others still run. The last line has the mean of all
    categories with figures, as category `all`.
    """
    if len(names) == 1:
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
            logger.error("%s: %s", name, shortened(message(error)))
            failed.append(name)
            continue
        if figures is not None:
            results[name] = figures
            print(closing_lines(name, *_aurocs(figures)), flush=True)
    if results:
        print(summary({name: figures.record() for name, figures in results.items()}))
        columns = zip(*map(_aurocs, results.values()), strict=True)
        print(closing_lines("all", *map(mean, columns)))
    if failed:
        logger.error("failed categories: %s", ", ".join(failed))
    return 1 if failed else 0


def _aurocs(figures: Figures) -> list[float | None]:
    return [level.auroc if level else None for level in (figures.image, figures.pixel)]
