"""Validate trained models: metrics, curves and sheets for the test pictures of each category."""

from pathlib import Path

from common.errors import run
from common.logs import start_logging
from common.options import Parser, add_boolean, whole
from datasets.options import add_data_options
from evaluation.options import add_compare, add_picture_options
from models.options import add_engine_options
from tasks.options import add_model_path
from tasks.settings import validation_from
from tasks.verdicts import add_verdict_options


def parse_options():
    parser = Parser(__doc__)
    add_data_options(parser, training=False)
    add_picture_options(parser, save_picture=True)
    add_compare(parser)
    add_model_path(parser, "<save_path>", several=True)
    parser.add_argument(
        "--save_path",
        type=Path,
        default=Path("output"),
        help="results are saved in <save_path>/<category>",
    )
    add_boolean(
        parser,
        "--calibrate",
        None,
        "save the thresholds of best F1 in the model (default: only for the category it was "
        "trained on)",
    )
    parser.add_argument(
        "--seed", type=whole(0), default=7, help="seed of the choice of --num_pictures"
    )
    add_verdict_options(parser)
    add_engine_options(parser)
    return parser.parse_args()


def main() -> int:
    options = parse_options()
    start_logging()
    validation = validation_from(options)
    from tasks.validation import validate_all

    return validate_all(validation)


if __name__ == "__main__":
    run(main)
