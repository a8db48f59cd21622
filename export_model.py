"""Export a trained model for deployment: a static graph and its distribution file."""

from pathlib import Path

from common.errors import run
from common.logs import start_logging
from common.options import Parser, add_boolean, checked, side_or_size
from datasets.options import add_max_pixels
from models.options import DISTRIBUTION_DTYPES, add_backbone_options
from tasks.options import add_checkpoint_options


def parse_options():
    parser = Parser(__doc__)
    add_checkpoint_options(parser)
    parser.add_argument(
        "--save_dir",
        type=Path,
        default=Path("output"),
        help="folder for model.json (Paddle 2: model.pdmodel), model.pdiparams and distribution",
    )
    parser.add_argument(
        "--img_size",
        type=checked(side_or_size),
        help="checked against the model: must be its --img_size (default: not checked)",
    )
    add_backbone_options(parser, "the model's own")
    parser.add_argument(
        "--distribution_dtype",
        choices=DISTRIBUTION_DTYPES,
        default="float32",
        help="float16 halves the size of the distribution file; scoring always uses float32",
    )
    add_boolean(
        parser,
        "--fused",
        False,
        "also write fused.*, a graph from picture to anomaly map and score",
    )
    parser.add_argument(
        "--quantize",
        type=Path,
        metavar="DIR",
        help="write an int8 graph, which infer.py recognises (residual networks and "
        "EfficientNet-Lite); DIR: good sample pictures, at most 32 are used, evenly chosen",
    )
    add_max_pixels(parser)
    parser.add_argument(
        "--format",
        choices=("paddle", "onnx"),
        default="paddle",
        help="onnx: write .onnx graphs, checked with ONNX Runtime (needs requirements-onnx.txt)",
    )
    return parser.parse_args()


def main() -> int:
    options = parse_options()
    start_logging()
    from tasks.export import export_model

    return export_model(options)


if __name__ == "__main__":
    run(main)
