"""How graphs are run: device, precision, threads. Imports Paddle only to look for devices."""

from dataclasses import dataclass, replace

from common.errors import UsageError
from models.device import choose_device


@dataclass(frozen=True)
class Engine:
    """How a graph is run; `resolve` it once before it is used.

    device : auto, cpu, gpu or gpu:N
    precision : one of models.device.PRECISIONS: bf16 where the processor has it, fp16 on a GPU;
        or int8, of quantised graphs on a CPU
    threads : of the CPU; None for one per processor
    gpu_memory : megabytes to begin with
    ir_optim : whether Paddle optimises the graph
    mkldnn : whether a CPU runs it with oneDNN
    tensorrt_batch : the largest batch that TensorRT prepares for; 0 runs without TensorRT
    static : False runs the layers one by one (dygraph), which is slow, for comparison
    """

    device: str = "auto"
    precision: str = "fp32"
    threads: int | None = None
    gpu_memory: int = 1000
    ir_optim: bool = True
    mkldnn: bool = True
    tensorrt_batch: int = 0
    static: bool = True

    @property
    def on_cpu(self) -> bool:
        """ValueError where the engine is not resolved."""
        if self.device == "auto":
            raise ValueError("this engine is not resolved: its device is not known")
        return self.device == "cpu"

    def resolve(self) -> "Engine":
        """This engine with its device found; UsageError where the machine lacks what it asks for.

        An engine that is resolved already stays as it is.
        """
        engine = replace(self, device=choose_device(self.device))
        if not engine.static and engine.precision != "fp32":
            raise UsageError(
                f"layer by layer the network computes in fp32 only, not in {engine.precision}; "
                "use a static graph or fp32",
                "to_static",
            )
        if engine.on_cpu:
            engine._require_cpu()
        elif engine.precision == "int8":
            raise UsageError("int8 runs on a CPU only; on a GPU use fp16 or fp32", "precision")
        return engine

    def _require_cpu(self) -> None:
        if self.tensorrt_batch:
            raise UsageError("TensorRT needs a GPU; run on a GPU or without it", "use_tensorrt")
        if self.precision == "fp16":
            raise UsageError("fp16 needs a GPU; on a CPU use bf16 or fp32", "precision")
        if self.precision == "bf16" and not has_bfloat16():
            raise UsageError(
                "bf16: this processor has no bfloat16 arithmetic (AVX512_BF16); use fp32",
                "precision",
            )
        if self.precision == "bf16" and not self.mkldnn:
            raise UsageError("bf16 needs oneDNN; switch oneDNN on or use fp32", "precision")
        if self.precision == "int8" and not (self.mkldnn and has_int8()):
            raise UsageError(
                "int8 needs oneDNN and a processor with AVX2; use fp32",
                "precision",
            )


def has_bfloat16() -> bool:
    """Whether this processor computes with bfloat16, and Paddle with it."""
    from paddle.base import core

    return bool(core.supports_bfloat16_fast_performance())


def has_int8() -> bool:
    """Whether oneDNN computes with int8 on this processor."""
    from paddle.base import core

    return bool(core.supports_int8())
