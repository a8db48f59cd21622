"""Post-training quantisation to int8: the network of an exported graph, for oneDNN on a CPU.

Weights are quantised channel by channel, and activations by the largest value that some sample
pictures cause. Paddle quantises graphs of its older kind alone, `.pdmodel`; Paddle 3 writes those
when it is started with FLAGS_enable_pir_api=0.
"""

from pathlib import Path

import numpy as np
import paddle

from common.errors import WorkError
from common.logs import silent_stderr, stdout_to_stderr

# Without VNNI a processor adds products of 8-bit numbers two by two in 16 bits, which overflow to
# the largest number. Activations of half their range cannot: 2 · 127 · 127 < 2¹⁵.
HEADROOM = 2.0
BATCH = 8


def quantize(model: Path, params: Path, images: np.ndarray) -> None:
    """Quantise the graph in `model` and `params` in place.

    `images`: normalised pictures float32 [B,3,H,W], representative good ones. WorkError where the
    graph is of the newer kind, or Paddle fails.
    """
    if model.suffix != ".pdmodel":
        raise WorkError(
            f"{model.name}: Paddle quantises .pdmodel graphs only; it has to be started with "
            "FLAGS_enable_pir_api=0 in the environment"
        )
    paddle.enable_static()
    try:
        with silent_stderr(), stdout_to_stderr():
            _quantize(model, params, images)
    except (RuntimeError, ValueError, OSError) as error:
        raise WorkError(f"{model.name}: Paddle cannot quantise it ({error})") from error
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
        onnx_format=False,  # else one convolution stays float32
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
