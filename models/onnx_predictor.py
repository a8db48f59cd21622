"""Runs exported `.onnx` graphs with ONNX Runtime on the CPU."""

from dataclasses import dataclass
from pathlib import Path

from common.errors import UsageError, WorkError
from models.device import cpu_threads
from models.engine import Engine
from models.predictor import Predictor, at_once


@dataclass(frozen=True)
class OnnxConfig:
    """Settings of ONNX Runtime, with the method names of Paddle's Config."""

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
    """The graph in `model`; raises the same errors as `predictor.open_predictor`."""
    if engine.precision != "fp32" or not engine.on_cpu:
        raise UsageError(
            f"{model}: ONNX graphs run only on the CPU and in fp32; omit other settings"
        )
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads = engine.threads or cpu_threads()
    options.log_severity_level = 3
    try:
        # Pass the bytes, because ONNX Runtime accepts only paths in UTF-8.
        providers = ["CPUExecutionProvider"]
        session = onnxruntime.InferenceSession(model.read_bytes(), options, providers)
    except Exception as error:  # its errors have no common class
        raise WorkError(
            f"{model}: ONNX Runtime cannot run this graph ({error}); export it again"
        ) from error
    name = session.get_inputs()[0].name

    def run(images):
        try:
            return session.run(None, {name: images})
        except Exception as error:
            raise RuntimeError(str(error)) from error

    return Predictor(run, at_once(size), OnnxConfig(threads))
