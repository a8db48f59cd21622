"""Says whether judged pictures still look like training: `python -m evaluation.drift FILE`."""

import argparse
import json
import logging
from pathlib import Path

from common.calibration import FPR
from common.errors import UsageError, printable, run
from common.files import writable_folder
from common.logs import start_logging
from common.options import Parser, add_boolean, checked, number, whole

logger = logging.getLogger(__name__)

DRIFT = 3  # exit code of --fail


def main() -> int:
    options = _parse_options()
    start_logging()
    import numpy as np

    from evaluation.drift import telling
    from evaluation.drift.check import Drift, Question
    from evaluation.drift.drawing import draw_drift
    from evaluation.drift.selection import select, split

    target = _target(options)
    model, pictures = select(options.file, options.model_path or (), options.since, options.until)
    earlier, pictures = split(options.file, pictures, options.reference)
    question = Question(
        *(options.alpha, options.leave_out_defective, options.fpr, options.most_defective),
        options.seed,
    )
    scores = np.array([one.score for one in pictures])
    drift = Drift(model.normal, scores, question, earlier)
    drift.require_reference(options.file)
    if target is not None:
        title = f"{printable(model.category)}: {telling.finding(drift)}"
        draw_drift(drift, target, title, telling.period(pictures))
    if (remedy := telling.remedy(drift, model)) is not None:
        logger.warning("%s", remedy)
    if options.json:
        print(json.dumps(telling.record(drift, model, pictures)))
    else:
        print(telling.verdict(drift, model, pictures), *telling.details(drift), sep="\n")
    return DRIFT if options.fail and drift.alarm is not None else 0


def _parse_options() -> argparse.Namespace:
    from evaluation.drift.selection import moment, moment_after

    parser = Parser(
        "Compare the scores that predict.py --stats or infer.py --stats has collected with those "
        "of the good pictures of training."
    )
    parser.add_argument("file", type=Path, help="file of --stats")
    parser.add_argument(
        "--model_path",
        type=Path,
        nargs="+",
        metavar="MODEL",
        help="compare the pictures that this model judged: checkpoint, exported distribution, "
        "folder of one, or all models of an ensemble (default: model of the last picture)",
    )
    zone = "as 2026-01-31 or 2026-01-31T08:00, UTC if no zone is given"
    parser.add_argument(
        "--since", type=checked(moment), metavar="TIME", help=f"from when on, {zone} (default: all)"
    )
    parser.add_argument(
        "--until",
        type=checked(moment_after),
        metavar="TIME",
        help=f"until when, {zone}; a date includes its day (default: all)",
    )
    parser.add_argument(
        "--reference",
        type=checked(moment),
        metavar="TIME",
        help="compare the pictures judged from this time on with those judged before, instead of "
        "training (default: training)",
    )
    _add_test_options(parser.add_argument_group("test"))
    _add_result_options(parser.add_argument_group("results"))
    return parser.parse_args()


def _add_test_options(group) -> None:
    group.add_argument(
        "--alpha",
        type=checked(_share(1e-9, 0.5)),
        default=0.01,
        help="probability of an alarm without drift, over all looks at a growing file",
    )
    add_boolean(
        group,
        "--leave_out_defective",
        True,
        "compare only pictures that are not called defective, with such training pictures; False "
        "where all are known to be good",
    )
    group.add_argument(
        "--fpr",
        type=checked(_share(1e-9, 0.5)),
        default=FPR,
        help="false-alarm rate of the threshold from which pictures are left out",
    )
    group.add_argument(
        "--most_defective",
        type=checked(_share(0.0, 1.0)),
        default=0.2,
        help="a larger share of defective pictures is drift; 1: none is",
    )
    group.add_argument("--seed", type=whole(0), default=7, help="of the order of equal scores")


def _add_result_options(group) -> None:
    add_boolean(group, "--json", False, "print one JSON object instead of text")
    add_boolean(group, "--fail", False, f"end with exit code {DRIFT} if there is drift")
    add_boolean(group, "--save_picture", True, "draw scores, evidence and p-values")
    group.add_argument(
        "--save_path",
        type=Path,
        metavar="FILE.png",
        help="file of the drawing (default: drift.png in the folder of FILE)",
    )


def _target(options: argparse.Namespace) -> Path | None:
    """The file of the drawing; UsageError if it cannot be one."""
    if not options.save_picture:
        return None
    path = options.save_path or options.file.with_name("drift.png")
    if path.suffix.lower() != ".png":
        raise UsageError(f"{path}: expected a name that ends with .png", "save_path")
    if path.resolve() == options.file.resolve():
        raise UsageError(f"{path}: is the file of scores; give another name", "save_path")
    writable_folder(path.parent)
    return path


def _share(low: float, high: float):
    def convert(text: str) -> float:
        if low <= (found := number(text)) <= high:
            return found
        raise ValueError(f"expected a number from {low:g} to {high:g}, got {text!r}")

    return convert


if __name__ == "__main__":
    run(main)
