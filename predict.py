"""Judge new pictures with a trained model: a score, a verdict and a heat map for each."""

from pathlib import Path

from common.errors import run
from common.logs import start_logging
from common.options import Parser, add_boolean, checked, folder_name, positive
from datasets.options import add_loading_options
from models.options import add_engine_options


def parse_options():
    parser = Parser(__doc__)
    parser.add_argument(
        "--picture_path",
        type=Path,
        required=True,
        help="a picture, or a folder: every picture in it and below it",
    )
    parser.add_argument(
        "--model_path",
        type=Path,
        help="checkpoint, or its folder (default: output/<category>/best.pdparams)",
    )
    parser.add_argument(
        "--category",
        type=checked(folder_name),
        help="which model below ./output (default: the only one)",
    )
    parser.add_argument(
        "--save_path",
        type=Path,
        help="FILE.png for one picture, else a folder (default: output/<category>/predictions)",
    )
    add_boolean(parser, "--save_picture", True, "save a sheet for each picture")
    parser.add_argument(
        "--threshold",
        type=checked(positive),
        help="image score from which a picture is defective (default: the one that validation "
        "kept in the model; where there is none, the verdict is `unknown`)",
    )
    add_boolean(parser, "--json", False, "print JSON lines in place of text")
    parser.add_argument("--save_map", type=Path, metavar="DIR", help="save raw maps there, .npy")
    add_loading_options(parser)
    add_engine_options(parser)
    return parser.parse_args()


def main() -> int:
    options = parse_options()
    start_logging()
    from tasks.prediction import predict_all

    return predict_all(options)


if __name__ == "__main__":
    run(main)
