"""Runs frozen graphs: the one place that knows how.

Paddle Inference runs them on a CPU with oneDNN, several times faster than dygraph
(docs/benchmarks.md), and on a GPU with CUDA or TensorRT. ONNX Runtime runs exported `.onnx` files.
"""

import tempfile
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from common.errors import UsageError, WorkError, raise_on_termination
from common.logs import silent_stderr
from models.device import choose_device, cpu_threads

# Pictures in one run of a graph on a CPU: enough to be fast; more would only need more memory,
# and Paddle holds the interpreter while it runs, for which the decoding threads have to wait.
AT_ONCE = 8


@dataclass(frozen=True)
class Engine:
    """How a graph is run.

    device : auto, cpu, gpu or gpu:N
    precision : one of models.device.PRECISIONS: bf16 where the processor has it, fp16 on a GPU;
        or int8, of quantised graphs on a CPU
    threads : of the CPU; None for as many as there are processors
    gpu_memory : megabytes to begin with
    tensorrt_batch : the largest batch that TensorRT prepares for; 0 leaves TensorRT out
    static : False runs the layers one by one (dygraph), much slower, to compare with
    """

    device: str = "auto"
    precision: str = "fp32"
    threads: int | None = None
    gpu_memory: int = 1000
    ir_optim: bool = True
    mkldnn: bool = True
    tensorrt_batch: int = 0
    static: bool = True

    def resolved(self) -> "Engine":
        """Itself with the device found; UsageError where something asked for is not there."""
        device = choose_device(self.device)
        if not self.static and self.precision != "fp32":
            raise UsageError(
                f"--to_static False computes in fp32, not {self.precision}; leave out one of both"
            )
        if device == "cpu":
            self._check_cpu()
        elif self.precision == "int8":
            raise UsageError("--precision int8 runs on a CPU; on a GPU use fp16 or fp32")
        return replace(self, device=device)

    def _check_cpu(self) -> None:
        if self.tensorrt_batch:
            raise UsageError("--use_tensorrt needs a GPU; leave it out, or give --use_gpu True")
        if self.precision == "fp16":
            raise UsageError("--precision fp16 needs a GPU; on a CPU use bf16 or fp32")
        if self.precision == "bf16" and not has_bfloat16():
            raise UsageError(
                "--precision bf16: this processor has no bfloat16 arithmetic (AVX512_BF16); "
                "use fp32"
            )
        if self.precision == "bf16" and not self.mkldnn:
            raise UsageError("--precision bf16 needs oneDNN; leave --enable_mkldnn True")
        if self.precision == "int8" and not (self.mkldnn and has_int8()):
            raise UsageError("--precision int8 needs oneDNN and a processor with AVX2; use fp32")


class Extractor:
    """`layer` (a paddle Layer: pictures [B,3,H,W] → list of maps), run for pictures of `size`."""

    def __init__(self, layer, size: tuple[int, int], engine: Engine):
        if not engine.static:
            self._run = _layer_by_layer(layer, engine.resolved())
            return
        from models.graph import save_graph

        with tempfile.TemporaryDirectory() as folder:
            model, params = save_graph(layer, size, Path(folder) / "network")
            self._run = open_graph(model, params, engine, size)

    def __call__(self, images: np.ndarray) -> list[np.ndarray]:
        """Normalised pictures float32 [B,3,H,W] → maps, float32."""
        return self._run(images)


class Graph:
    """A frozen graph: call it with normalised pictures float32 [B,3,H,W], get its outputs, float32.

    `run` takes `at_once` pictures at most (None: any number). `config` says how, in the words of
    Paddle's Config: use_gpu(), ir_optim(), tensorrt_engine_enabled(), mkldnn_enabled() and
    cpu_math_library_num_threads().
    """

    def __init__(
        self, run: Callable[[np.ndarray], list[np.ndarray]], at_once: int | None, config=None
    ):
        self.run, self.at_once, self.config = run, at_once, config

    def __call__(self, images: np.ndarray) -> list[np.ndarray]:
        images = np.ascontiguousarray(images, np.float32)
        size = self.at_once
        if size is None or len(images) <= size:
            return self.run(images)
        parts = [self.run(images[start : start + size]) for start in range(0, len(images), size)]
        return [np.concatenate(outputs) for outputs in zip(*parts, strict=True)]


def open_graph(model: Path, params: Path | None, engine: Engine, size: tuple[int, int]) -> Graph:
    """The graph in `model` and `params`, ready to run pictures of `size`.

    Raises UsageError where `engine` asks for what is not there, WorkError where the files are no
    graph.
    """
    if model.suffix == ".onnx":
        return _open_onnx(model, engine)
    engine = engine.resolved()
    _require_graph(model, engine)
    from paddle import inference

    # Paddle's own handler of SIGTERM writes a C++ dump to stdout, among our results.
    raise_on_termination()
    try:
        config = inference.Config(str(model), str(params))
        config.disable_glog_info()
        config.switch_ir_optim(engine.ir_optim)
        if engine.device == "cpu":
            _on_cpu(config, engine)
        else:
            _on_gpu(config, engine, size)
        # Of int8 Paddle tells thirty lines about its own passes.
        with silent_stderr() if engine.precision == "int8" else nullcontext():
            predictor = inference.create_predictor(config)
        run = _runner(predictor)
    except (RuntimeError, ValueError, TypeError, OSError, SystemError, IndexError) as error:
        reason = str(error).strip().splitlines()[-1:] or [type(error).__name__]
        raise WorkError(
            f"{model}, {params}: no graph that this Paddle can run ({reason[0].strip()}); "
            "export it again with export_model.py"
        ) from error
    return Graph(run, AT_ONCE if engine.device == "cpu" else None, config)


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
        # Fused convolutions have a name of their own: unnamed, they would run in float32.
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
    """Paddle ends the process where a file is not what its name says."""
    import paddle

    with model.open("rb") as file:
        head = file.read(1)
    if model.suffix == ".json" and paddle.__version__.startswith("2."):
        raise WorkError(
            f"{model}: a graph of Paddle 3, which Paddle {paddle.__version__} cannot read; "
            "export it again with export_model.py"
        )
    if head != {".json": b"{", ".pdmodel": b"\n"}.get(model.suffix):
        raise WorkError(f"{model}: not a graph; export it again with export_model.py")
    if engine.tensorrt_batch:
        require_tensorrt(model.suffix)
    quantized = is_quantized(model)
    if quantized != (engine.precision == "int8"):
        # Paddle would run either in float32 and not say so.
        what = "an int8 graph, which --precision int8 runs" if quantized else "no int8 graph"
        raise UsageError(f"--precision {engine.precision}: {model} is {what}")


def is_quantized(model: Path) -> bool:
    """Whether the graph in `model` is one of int8."""
    return b"quantization_type" in model.read_bytes()  # an attribute of its operators


def require_tensorrt(suffix: str) -> None:
    """UsageError where this Paddle takes no graph of that `suffix` to TensorRT."""
    from paddle import inference

    if suffix == ".json":
        raise UsageError(
            "--use_tensorrt: Paddle takes .pdmodel graphs to TensorRT, no .json; "
            "export with PaddlePaddle 2.6, or leave it out"
        )
    if inference.get_trt_compile_version() == (0, 0, 0):
        raise UsageError("--use_tensorrt: this build of Paddle has no TensorRT; leave it out")


def has_bfloat16() -> bool:
    """Whether this processor computes with bfloat16, and Paddle with it."""
    from paddle.base import core

    return bool(core.supports_bfloat16_fast_performance())


def _layer_by_layer(layer, engine: Engine) -> Graph:
    import paddle

    paddle.set_device(engine.device)
    if engine.device == "cpu":
        paddle.base.core.set_num_threads(engine.threads or cpu_threads())

    def run(images):
        with paddle.no_grad():
            return [output.numpy() for output in layer(paddle.to_tensor(images))]

    return Graph(run, AT_ONCE if engine.device == "cpu" else None)


def has_int8() -> bool:
    """Whether oneDNN computes with int8 on this processor."""
    from paddle.base import core

    return bool(core.supports_int8())


def _runner(predictor) -> Callable[[np.ndarray], list[np.ndarray]]:
    source = predictor.get_input_handle(predictor.get_input_names()[0])
    outputs = [predictor.get_output_handle(name) for name in predictor.get_output_names()]

    def run(images):
        source.copy_from_cpu(images)
        predictor.run()
        return [output.copy_to_cpu() for output in outputs]

    return run


@dataclass(frozen=True)
class OnnxConfig:
    """How ONNX Runtime runs a graph here, in the words of Paddle's Config."""

    threads: int

    def use_gpu(self) -> bool:
        return False

    def ir_optim(self) -> bool:
        return True

    def tensorrt_engine_enabled(self) -> bool:
        return False

    def mkldnn_enabled(self) -> bool:
        return False

    def cpu_math_library_num_threads(self) -> int:
        return self.threads


def _open_onnx(model: Path, engine: Engine) -> Graph:
    if engine.precision != "fp32" or engine.resolved().device != "cpu":
        raise UsageError(f"{model}: ONNX graphs run on the CPU in fp32 here; leave out the rest")
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads = engine.threads or cpu_threads()
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(str(model), options, ["CPUExecutionProvider"])
    except Exception as error:  # its errors have no common class of their own
        raise WorkError(f"{model}: no graph that ONNX Runtime can run ({error})") from error
    name = session.get_inputs()[0].name

    def run(images):
        try:
            return session.run(None, {name: images})
        except Exception as error:
            raise RuntimeError(str(error)) from error

    return Graph(run, AT_ONCE, OnnxConfig(threads))
