"""Runs exported `.onnx` graphs with ONNX Runtime on the CPU."""

from dataclasses import dataclass
from pathlib import Path

from common.errors import UsageError, WorkError
from models.device import cpu_threads
from models.engine import Engine
from models.predictor import Predictor, at_once


@dataclass(frozen=True)
class OnnxConfig:
    """How ONNX Runtime runs a graph here, under the method names of Paddle's Config."""

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


def open_onnx(model: Path, engine: Engine, size: tuple[int, int]) -> Predictor:
    """The graph in `model`; raises as `predictor.open_predictor` does."""
    if engine.precision != "fp32" or not engine.on_cpu:
        raise UsageError(f"{model}: ONNX graphs run on the CPU in fp32 only; drop other settings")
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads = engine.threads or cpu_threads()
    options.log_severity_level = 3
    try:
        # The bytes, since ONNX Runtime takes paths as UTF-8 text only.
        providers = ["CPUExecutionProvider"]
        session = onnxruntime.InferenceSession(model.read_bytes(), options, providers)
    except Exception as error:  # its errors have no class in common
        raise WorkError(f"{model}: no graph that ONNX Runtime can run ({error})") from error
    name = session.get_inputs()[0].name

    def run(images):
        try:
            return session.run(None, {name: images})
        except Exception as error:
            raise RuntimeError(str(error)) from error

    return Predictor(run, at_once(size), OnnxConfig(threads))
