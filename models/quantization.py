"""Post-training quantisation to int8 of an exported graph, for oneDNN on a CPU.

Weights are quantised per channel, activations by their largest value with the sample pictures.
Rounded weights change the mean of a convolution's output. The batch norm after it subtracts this
change, estimated from the mean of the input (Nagel et al. 2019, arXiv 1906.04721, section 4.2).

Paddle can quantise only graphs of its older format, `.pdmodel`. Paddle 3 writes this format if
FLAGS_enable_pir_api=0 is set when it starts.
"""

from pathlib import Path

import numpy as np
import paddle

from common.errors import WorkError
from common.logs import silent_stderr, stdout_to_stderr
from models.engine import has_vnni

# Factor of an activation's scale, where its own range is not enough. The two terms of a sum get the
# scale of the sum, but can be larger. Without VNNI, a processor adds pairs of products of 8-bit
# numbers in 16 bits: at full range the sums would be cut at the largest number; with half the range
# they fit: 2 · 127 · 127 < 2¹⁵.
HEADROOM = 2.0
BATCH = 8
OPERATORS = ("conv2d", "depthwise_conv2d")
QUANTIZE = "fake_quantize_range_abs_max"
LARGEST = 127  # of an 8-bit weight

# Of each convolution, by the name of its weights: the weights [O,I,k,k], and the mean of each
# channel of its input.
Convolutions = dict[str, tuple[np.ndarray, np.ndarray]]


def quantize(model: Path, params: Path, images: np.ndarray) -> None:
    """Quantise the graph in `model` and `params` in place.

    `images`: representative good pictures, normalised float32 [B,3,H,W]. WorkError if the graph has
    the newer format, or Paddle fails.
    """
    if model.suffix != ".pdmodel":
        raise WorkError(
            f"{model.name}: Paddle can quantise only .pdmodel graphs; set the environment variable "
            "FLAGS_enable_pir_api=0 before it starts"
        )
    paddle.enable_static()
    try:
        with silent_stderr(), stdout_to_stderr():
            _quantize(model, params, images)
    except (RuntimeError, ValueError, OSError) as error:
        raise WorkError(f"{model.name}: Paddle cannot quantise this graph ({error})") from error
    finally:
        paddle.disable_static()


def _quantize(model: Path, params: Path, images: np.ndarray) -> None:
    from paddle.static.quantization import PostTrainingQuantization

    executor = paddle.static.Executor(paddle.CPUPlace())
    program, feeds, _ = paddle.static.load_inference_model(str(model.with_suffix("")), executor)
    convolutions = _convolutions(program, executor, feeds[0], images)
    pictures = paddle.io.DataLoader(
        _Pictures(images),
        feed_list=[program.global_block().var(feeds[0])],
        places=paddle.CPUPlace(),
        batch_size=BATCH,
        return_list=False,
    )
    files = {"model_filename": model.name, "params_filename": params.name}
    quantization = PostTrainingQuantization(
        executor,
        model_dir=str(model.parent),
        **files,
        data_loader=pictures,
        batch_size=BATCH,
        batch_nums=-(-len(images) // BATCH),
        algo="abs_max",
        quantizable_op_type=list(OPERATORS),
        onnx_format=False,  # with True, one convolution stays in float32
    )
    quantized = quantization.quantize()
    _widen(quantized, sums_only=has_vnni())
    _correct(quantized, convolutions)
    quantization.save_quantized_model(str(model.parent), **files)


def _convolutions(program, executor, feed: str, images: np.ndarray) -> Convolutions:
    operators = [op for op in program.global_block().ops if op.type in OPERATORS]
    inputs = {op.input("Filter")[0]: op.input("Input")[0] for op in operators}
    names, sums = sorted(set(inputs.values())), {}
    for image in images:  # one by one: all inputs together are large
        found = executor.run(program, feed={feed: image[None]}, fetch_list=names)
        for name, x in zip(names, found, strict=True):
            sums[name] = sums.get(name, 0) + x.mean(axis=(0, 2, 3), dtype=np.float64)
    return {weights: (_value(weights), sums[x] / len(images)) for weights, x in inputs.items()}


def _widen(program, sums_only: bool) -> None:
    """Multiply the scales of activations, or of sums only, by HEADROOM."""
    operators = program.global_block().ops
    writers = {name: op for op in operators for name in op.output_arg_names}

    def is_sum(name: str) -> bool:
        op = writers[name]
        through = op.type in ("relu", "relu6") and is_sum(op.input("X")[0])
        return op.type == "elementwise_add" or through

    scales = {op.input("InScale")[0]: op.input("X")[0] for op in operators if op.type == QUANTIZE}
    for scale, activation in scales.items():
        if not sums_only or is_sum(activation):
            _set(scale, _value(scale) * HEADROOM)


def _correct(program, convolutions: Convolutions) -> None:
    """Add what rounding the weights adds to a convolution's mean output to the batch norm's mean.

    A convolution without batch norm (of a projection) stays as it is.
    """
    operators = program.global_block().ops
    readers = {name: op for op in operators for name in op.input_arg_names}
    for op in operators:
        if op.type not in OPERATORS:
            continue
        dequantize = readers[op.output("Output")[0]]
        norm = readers[dequantize.output("Out")[0]]
        if norm.type != "batch_norm":
            continue
        name = op.input("Filter")[0]
        weights, mean = convolutions[name]
        scales = _value(dequantize.input("Scales")[0]).reshape(-1, 1, 1, 1)
        error = (_value(name) * scales / LARGEST - weights).sum(axis=(2, 3))
        added = error[:, 0] * mean if op.type == "depthwise_conv2d" else error @ mean
        _set(norm.input("Mean")[0], _value(norm.input("Mean")[0]) + added)


def _value(name: str) -> np.ndarray:
    """A copy of a variable of the program."""
    return np.array(paddle.static.global_scope().find_var(name).get_tensor())


def _set(name: str, value: np.ndarray) -> None:
    tensor = paddle.static.global_scope().find_var(name).get_tensor()
    tensor.set(value.astype(np.float32), paddle.CPUPlace())


class _Pictures(paddle.io.Dataset):
    def __init__(self, images: np.ndarray):
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, i: int) -> tuple[np.ndarray]:
        return (self.images[i],)
