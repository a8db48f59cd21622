"""Judge new pictures with a trained model: score, verdict and heat map of each picture."""

from common.errors import run
from common.logs import start_logging
from common.options import Parser, whole
from datasets.options import add_loading_options
from models.options import add_engine_options
from tasks.options import add_ensemble_options, add_judging_options, add_source_options


def parse_options():
    parser = Parser(__doc__)
    add_source_options(parser, "--picture_path")
    add_ensemble_options(parser)
    add_judging_options(parser, "predictions", save_picture=True)
    add_loading_options(parser)
    add_engine_options(parser)
    parser.add_argument(
        "--seed",
        type=whole(0),
        default=7,
        help="accepted for compatibility, but has no effect: the model stores its channels",
    )
    return parser.parse_args()


def main() -> int:
    options = parse_options()
    start_logging()
    from tasks.prediction import predict_all

    return predict_all(options)


if __name__ == "__main__":
    run(main)
