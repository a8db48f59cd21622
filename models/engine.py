"""Settings for running graphs: device, precision, threads. Imports Paddle only to find devices."""

from dataclasses import dataclass, replace

from common.errors import UsageError
from models.device import PRECISIONS, choose_device, parse_device


@dataclass(frozen=True)
class Engine:
    """Settings for running a graph; call `resolve` once before use.

    device : auto, cpu, gpu or gpu:N
    precision : one of models.device.PRECISIONS (bf16 if the processor supports it, fp16 on a GPU),
        or int8 for quantised graphs on a CPU; auto: int8 for such a graph, else fp32
    threads : on a CPU; None for one per processor
    gpu_memory : initial GPU memory in megabytes
    ir_optim : whether Paddle optimises the graph
    mkldnn : whether a CPU uses oneDNN
    tensorrt_batch : largest batch for TensorRT; 0 runs without TensorRT
    static : False runs the layers one by one (dygraph), which is slower; for comparison
    """

    device: str = "auto"
    precision: str = "auto"
    threads: int | None = None
    gpu_memory: int = 1000
    ir_optim: bool = True
    mkldnn: bool = True
    tensorrt_batch: int = 0
    static: bool = True

    def __post_init__(self):
        """ValueError for values that no engine has."""
        parse_device(self.device)
        if self.precision not in (*PRECISIONS, "int8", "auto"):
            expected = ", ".join((*PRECISIONS, "int8", "auto"))
            raise ValueError(f"precision {self.precision!r}: expected one of {expected}")
        if self.threads is not None and self.threads < 1:
            raise ValueError(f"threads {self.threads}: expected a number from 1 or None")

    @property
    def on_cpu(self) -> bool:
        """Whether the device is the CPU; ValueError unless the engine is resolved."""
        if self.device == "auto":
            raise ValueError("this engine is not resolved: its device is not known")
        return self.device == "cpu"

    def resolve(self, int8: bool = False) -> "Engine":
        """This engine with the device chosen; UsageError if this machine does not support it.

        An engine that is already resolved does not change. `int8`: whether it is for a quantised
        graph.
        """
        precision = self.precision
        if precision == "auto":
            precision = "int8" if int8 else "fp32"
        engine = replace(self, device=choose_device(self.device), precision=precision)
        if not engine.static and engine.precision != "fp32":
            raise UsageError(
                f"without a static graph the network runs only in fp32, not in {engine.precision}; "
                "use a static graph, or fp32",
                "to_static",
            )
        if engine.on_cpu:
            engine._require_cpu()
        elif engine.precision == "int8":
            raise UsageError("int8 runs on a CPU only; on a GPU use fp16 or fp32", "precision")
        return engine

    def _require_cpu(self) -> None:
        if self.tensorrt_batch:
            raise UsageError(
                "TensorRT needs a GPU; run on a GPU, or without TensorRT", "use_tensorrt"
            )
        if self.precision == "fp16":
            raise UsageError("fp16 needs a GPU; on a CPU use bf16 or fp32", "precision")
        if self.precision == "bf16" and not has_bfloat16():
            raise UsageError(
                "bf16: this processor does not support bfloat16 (AVX512_BF16); use fp32",
                "precision",
            )
        if self.precision == "bf16" and not self.mkldnn:
            raise UsageError("bf16 needs oneDNN; enable oneDNN, or use fp32", "precision")
        if self.precision == "int8" and not (self.mkldnn and has_int8()):
            raise UsageError(
                "int8 needs oneDNN and a processor with AVX2; use fp32",
                "precision",
            )


def has_bfloat16() -> bool:
    """Whether this processor and Paddle support bfloat16."""
    from paddle.base import core

    return bool(core.supports_bfloat16_fast_performance())


def has_vnni() -> bool:
    """Whether this processor adds products of 8-bit numbers in 32 bits, without overflow."""
    from paddle.base import core

    return bool(core.supports_vnni())


def has_int8() -> bool:
    """Whether oneDNN supports int8 on this processor."""
    from paddle.base import core

    return bool(core.supports_int8())
