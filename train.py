"""Learn what good pictures look like: one pass over them, one model a category."""

from pathlib import Path

from common.errors import run
from common.logs import start_logging
from common.options import Parser, add_boolean
from datasets.options import (
    add_data_options,
    add_size_options,
    category_names,
    preprocessing_from,
)
from evaluation.options import add_picture_options
from models.options import add_model_options, backbone_from, layers_from


def parse_options():
    parser = Parser(__doc__)
    add_data_options(parser, training=True)
    add_size_options(parser)
    add_model_options(parser)
    add_boolean(parser, "--val", False, "validate each model on its test pictures afterwards")
    add_boolean(parser, "--calibrate", True, "with --val, keep the thresholds found in the model")
    add_picture_options(parser, save_picture=False)
    parser.add_argument(
        "--save_path",
        type=Path,
        default=Path("output"),
        help="models go to <save_path>/<category>/best.pdparams",
    )
    parser.add_argument(
        "--log_dir",
        type=Path,
        default=Path("logs"),
        help="each run adds to <log_dir>/<category>.log",
    )
    return parser.parse_args()


def main() -> int:
    options = parse_options()
    start_logging()
    settings = category_names(options), backbone_from(options), preprocessing_from(options)
    options.layers = layers_from(options, settings[1])
    from tasks.training import train_all

    return train_all(options, *settings)


if __name__ == "__main__":
    run(main)
