"""Fit one model per category in one pass over its good pictures."""

import logging
from pathlib import Path

from common.errors import run
from common.logs import start_logging
from common.options import Parser, add_boolean, given
from datasets.options import add_data_options, add_size_options
from evaluation.options import add_compare, add_picture_options
from models.options import add_model_options
from tasks.options import (
    add_calibration_options,
    add_seeds,
    add_state_options,
    add_update_options,
)
from tasks.processes import require_one
from tasks.settings import training_from
from tasks.update_settings import updating_from

logger = logging.getLogger(__name__)


def parse_options():
    parser = Parser(__doc__)
    add_data_options(parser, training=True)
    add_size_options(parser)
    add_model_options(parser)
    add_boolean(parser, "--val", False, "validate each model on its test pictures afterwards")
    add_seeds(parser)
    add_calibration_options(parser)
    add_state_options(parser)
    add_update_options(parser)
    add_picture_options(parser, save_picture=False)
    add_compare(parser)
    parser.add_argument(
        "--save_path",
        type=Path,
        default=Path("output"),
        help="models are saved as <save_path>/<category>/best.pdparams",
    )
    parser.add_argument(
        "--log_dir",
        type=Path,
        default=Path("logs"),
        help="each run appends its messages to <log_dir>/<category>.log",
    )
    return parser.parse_args(), given(parser)


def main() -> int:
    options, named = parse_options()
    start_logging()
    for name in ("update", "seeds", "folds", "resume", "save_every"):
        if getattr(options, name):
            require_one(name, "this option")
    if options.update is not None:
        updating = updating_from(options, named)
        from tasks.update import update

        return update(updating)
    training = training_from(options)
    if not options.val and (options.save_picture or options.num_pictures or options.compare):
        logger.warning("--save_picture, --num_pictures and --compare have no effect without --val")
    if training.seeds:
        from tasks.seeds import train_all_seeds

        return train_all_seeds(training)
    from tasks.training import train_all

    return train_all(training)


if __name__ == "__main__":
    run(main)
