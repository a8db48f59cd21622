"""Judge pictures with exported files, using Paddle Inference on a CPU or a GPU."""

from pathlib import Path

from common.errors import run
from common.logs import start_logging
from common.options import Parser, add_boolean, checked, folder_name, whole
from datasets.options import add_loading_options
from models.options import add_precision_options
from tasks.options import add_judging_options, add_source_options


def parse_options():
    parser = Parser(__doc__)
    add_source_options(parser, "-i", "--input_file")
    _add_file_options(parser.add_argument_group("exported files"))
    group = parser.add_argument_group("results")
    group.add_argument(
        "--category",
        type=checked(folder_name),
        help="category of the pictures; warns if the model was trained on another category",
    )
    add_judging_options(group, "inference", save_picture=None)
    group = parser.add_argument_group("engine")
    add_loading_options(group, batch_size=8)
    add_boolean(group, "--use_gpu", False, "run on the GPU")
    group.add_argument("--gpu_mem", type=whole(1), default=1000, help="initial GPU memory in MB")
    add_precision_options(group, int8=True)
    add_boolean(group, "--ir_optim", True, "let Paddle Inference optimise the graph")
    add_boolean(
        group,
        "--use_tensorrt",
        False,
        "use TensorRT for the parts of the graph that it supports (GPU only)",
    )
    add_boolean(group, "--enable_mkldnn", True, "use oneDNN on a CPU")
    add_boolean(
        group,
        "--enable_benchmark",
        False,
        "report times and memory in the format of AutoLog (for TIPC)",
    )
    group.add_argument(
        "--seed",
        type=whole(0),
        default=7,
        help="accepted for compatibility, but has no effect: the graph stores its channels",
    )
    return parser.parse_args()


def _add_file_options(group) -> None:
    group.add_argument(
        "--model_dir",
        type=Path,
        default=Path("output"),
        help="folder of the exported files, used if --model_file is not given",
    )
    group.add_argument(
        "--model_file",
        type=Path,
        help="graph: .json, .pdmodel or .onnx, also a fused one "
        "(default: <model_dir>/model.json, model.pdmodel or model.onnx)",
    )
    group.add_argument(
        "--params_file",
        type=Path,
        help="parameters (default: file with the ending .pdiparams next to the graph)",
    )
    group.add_argument(
        "--distribution", type=Path, help="(default: `distribution` next to the graph)"
    )


def main() -> int:
    options = parse_options()
    start_logging()
    from tasks.inference import infer_all

    return infer_all(options)


if __name__ == "__main__":
    run(main)
