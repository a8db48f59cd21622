"""Runs static graphs with Paddle Inference.

On a CPU with oneDNN this is several times faster than dygraph (docs/benchmarks.md). On a GPU it
uses CUDA or TensorRT.
"""

import threading
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import numpy as np

from common.errors import UsageError, WorkError
from common.logs import silent_stderr
from models.device import cpu_threads
from models.engine import Engine

# Pictures in one run of a graph on a CPU: enough to be fast. More would need more memory. Decoding
# threads wait while a graph runs, because Paddle holds the interpreter.
AT_ONCE = 8
PIXELS_AT_ONCE = 4 * 2**20  # of these pictures together: at most 2.5 GB of activations


class Predictor:
    """A graph as a function: normalised pictures float32 [B,3,H,W] → list of its outputs.

    `run` accepts at most `at_once` pictures (None: any number), and computes in `precision`.
    `config` has the settings, as the methods of Paddle's Config: use_gpu(), ir_optim(),
    tensorrt_engine_enabled(), mkldnn_enabled() and cpu_math_library_num_threads(); it is None if
    the layers run one by one.
    """

    def __init__(
        self,
        run: Callable[[np.ndarray], list[np.ndarray]],
        at_once: int | None,
        config=None,
        precision: str = "fp32",
    ):
        self.run, self.at_once, self.config, self.precision = run, at_once, config, precision
        self._lock = threading.Lock()  # inputs and outputs of a graph are shared by all threads

    def __call__(self, images: np.ndarray) -> list[np.ndarray]:
        with self._lock:
            return self._run_parts(np.ascontiguousarray(images, np.float32))

    def _run_parts(self, images: np.ndarray) -> list[np.ndarray]:
        size = self.at_once
        if size is None or len(images) <= size:
            return self.run(images)
        parts = [self.run(images[start : start + size]) for start in range(0, len(images), size)]
        return [np.concatenate(outputs) for outputs in zip(*parts, strict=True)]


def layer_predictor(
    layer: Callable, size: tuple[int, int], engine: Engine, key: str | None = None
) -> Predictor:
    """A Predictor for the layer that `layer()` makes (pictures [B,3,H,W] → list of outputs).

    size : (H,W) of the pictures
    key : identifies the layer's graph in the user's cache (models.graph_cache)
    """
    if engine.precision == "int8":
        raise UsageError("int8 needs a graph that was exported as int8", "precision")
    if not engine.static:
        return _layer_by_layer(layer(), size, engine)
    from models.graph_cache import graph_files

    def write(prefix: Path) -> tuple[Path, Path]:
        from models.static_graph import save_graph

        return save_graph(layer(), size, prefix)

    with graph_files(write, key) as (model, params):
        return open_predictor(model, params, engine, size)


def open_predictor(model: Path, params: Path, engine: Engine, size: tuple[int, int]) -> Predictor:
    """The Paddle graph in `model` and `params`, ready to run pictures of `size`.

    `engine` must be resolved. Raises UsageError if Paddle does not support it, WorkError if the
    files are not a graph. Check the SHA-256 of files first: Paddle ends the process if a graph is
    damaged.
    """
    _require_graph(model, engine)
    from paddle import inference

    try:
        config = inference.Config(str(model), str(params))
        config.disable_glog_info()
        config.switch_ir_optim(engine.ir_optim)
        if engine.on_cpu:
            _on_cpu(config, engine)
        else:
            _on_gpu(config, engine, size)
        # For int8, Paddle prints thirty lines about its passes.
        with silent_stderr() if engine.precision == "int8" else nullcontext():
            predictor = inference.create_predictor(config)
        run = _runner(predictor)
    except (RuntimeError, ValueError, TypeError, OSError, SystemError, IndexError) as error:
        reason = str(error).strip().splitlines()[-1:] or [type(error).__name__]
        raise WorkError(
            f"{model}, {params}: this version of Paddle cannot run the graph ({reason[0].strip()})"
            "; export it again with export_model.py"
        ) from error
    return Predictor(run, at_once(size) if engine.on_cpu else None, config, engine.precision)


def at_once(size: tuple[int, int]) -> int:
    """Pictures of `size` in one run of a graph on a CPU: AT_ONCE, or fewer large ones."""
    return max(1, min(AT_ONCE, PIXELS_AT_ONCE // (size[0] * size[1])))


def _on_cpu(config, engine: Engine) -> None:
    config.disable_gpu()
    config.set_cpu_math_library_num_threads(engine.threads or cpu_threads())
    if engine.mkldnn:
        config.enable_mkldnn()
    else:
        config.disable_mkldnn()
    if engine.precision == "bf16":
        config.enable_mkldnn_bfloat16()
    if engine.precision == "int8":
        # Fused convolutions have another name. Without it in this set, they would run in float32.
        config.enable_mkldnn_int8({"conv2d", "fused_conv2d"})


def _on_gpu(config, engine: Engine, size: tuple[int, int]) -> None:
    from paddle import inference

    names = {"fp32": "Float32", "fp16": "Half", "bf16": "Bfloat16"}
    precision = getattr(inference.PrecisionType, names[engine.precision])
    number = int(engine.device.partition(":")[2])
    config.enable_use_gpu(engine.gpu_memory, number, precision)
    if engine.tensorrt_batch:
        config.enable_tensorrt_engine(
            workspace_size=1 << 30,
            max_batch_size=engine.tensorrt_batch,
            min_subgraph_size=3,
            precision_mode=precision,
            use_static=False,
            use_calib_mode=False,
        )
        shapes = ([batch, 3, *size] for batch in (1, engine.tensorrt_batch, engine.tensorrt_batch))
        config.set_trt_dynamic_shape_info(*({"image": shape} for shape in shapes))


def _require_graph(model: Path, engine: Engine) -> None:
    """Check the file format: Paddle ends the process if it does not match the file ending."""
    import paddle

    with model.open("rb") as file:
        head = file.read(1)
    if model.suffix == ".json" and paddle.__version__.startswith("2."):
        raise WorkError(
            f"{model}: a graph of Paddle 3, which Paddle {paddle.__version__} cannot read; "
            "export it again with export_model.py and this version of Paddle"
        )
    if head != {".json": b"{", ".pdmodel": b"\n"}.get(model.suffix):
        raise WorkError(f"{model}: this file is not a graph; export it again with export_model.py")
    if engine.tensorrt_batch:
        require_tensorrt(model.suffix)


def require_tensorrt(suffix: str) -> None:
    """UsageError if this version of Paddle cannot run graphs of this `suffix` with TensorRT."""
    from paddle import inference

    if suffix == ".json":
        raise UsageError(
            "Paddle can run only .pdmodel graphs with TensorRT, not .json; export with Paddle "
            "2.6, or run without TensorRT",
            "use_tensorrt",
        )
    if inference.get_trt_compile_version() == (0, 0, 0):
        raise UsageError("this build of Paddle has no TensorRT; run without it", "use_tensorrt")


def _layer_by_layer(layer, size: tuple[int, int], engine: Engine) -> Predictor:
    import paddle

    paddle.set_device(engine.device)
    if engine.on_cpu:
        paddle.base.core.set_num_threads(engine.threads or cpu_threads())

    def run(images):
        with paddle.no_grad():
            return [output.numpy() for output in layer(paddle.to_tensor(images))]

    return Predictor(run, at_once(size) if engine.on_cpu else None)


def _runner(predictor) -> Callable[[np.ndarray], list[np.ndarray]]:
    source = predictor.get_input_handle(predictor.get_input_names()[0])
    outputs = [predictor.get_output_handle(name) for name in predictor.get_output_names()]

    def run(images):
        source.copy_from_cpu(images)
        predictor.run()
        return [output.copy_to_cpu() for output in outputs]

    return run
