"""Post-training quantisation to int8 of an exported graph, for oneDNN on a CPU.

Weights are quantised per channel, activations by their largest value with the sample pictures.
Paddle can quantise only graphs of its older format, `.pdmodel`. Paddle 3 writes this format if
FLAGS_enable_pir_api=0 is set when it starts.
"""

from pathlib import Path

import numpy as np
import paddle

from common.errors import WorkError
from common.logs import silent_stderr, stdout_to_stderr

# Without VNNI, a processor adds pairs of products of 8-bit numbers in 16 bits. At full range the
# sums would be cut at the largest number; with half the range they fit: 2 · 127 · 127 < 2¹⁵.
HEADROOM = 2.0
BATCH = 8


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
        quantizable_op_type=["conv2d"],
        onnx_format=False,  # with True, one convolution stays in float32
    )
    _widen(quantization.quantize())
    quantization.save_quantized_model(str(model.parent), **files)


def _widen(program) -> None:
    """Multiply the activations' scales by HEADROOM."""
    operators = program.global_block().ops
    names = {op.input("InScale")[0] for op in operators if "InScale" in op.input_names}
    for name in names:
        scale = paddle.static.global_scope().find_var(name).get_tensor()
        scale.set(np.array(scale) * np.float32(HEADROOM), paddle.CPUPlace())


class _Pictures(paddle.io.Dataset):
    def __init__(self, images: np.ndarray):
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, i: int) -> tuple[np.ndarray]:
        return (self.images[i],)
