"""Devices, processors and memory of this machine."""

import os
import re
from pathlib import Path

from common.errors import UsageError

PRECISIONS = ("fp32", "fp16", "bf16")
# The memory limit of a container on Linux: control groups of version 2 and 1.
CONTAINER_LIMITS = (
    "/sys/fs/cgroup/memory.max",
    "/sys/fs/cgroup/memory/memory.limit_in_bytes",
)


def parse_device(text: str) -> str:
    """`auto`, `cpu`, `gpu` or `gpu:N`, else ValueError."""
    if not re.fullmatch(r"auto|cpu|gpu(:\d+)?", text):
        raise ValueError(f"expected auto, cpu, gpu or gpu:N, got {text!r}")
    return text


def choose_device(text: str) -> str:
    """`auto` → `cpu` if Paddle finds no GPU, else as `gpu`: the first, or the one that Paddle's
    launcher gives to this process. UsageError if a GPU does not exist."""
    import paddle

    count = paddle.device.cuda.device_count() if paddle.is_compiled_with_cuda() else 0
    if text == "cpu" or (text == "auto" and count == 0):
        return "cpu"
    number = int(text.partition(":")[2] or _launched("FLAGS_selected_gpus", 0))
    if number >= count:
        built = "" if paddle.is_compiled_with_cuda() else " (this build of Paddle has no CUDA)"
        raise UsageError(f"device {text}: Paddle finds {count} GPUs{built}; use the CPU")
    return f"gpu:{number}"


def cpu_threads() -> int:
    """The number of processors that this process may use; processes that Paddle's launcher started
    together share them."""
    known = hasattr(os, "sched_getaffinity")
    count = len(os.sched_getaffinity(0)) if known else os.cpu_count() or 1
    return max(1, count // processes_here())


def processes_here() -> int:
    """The number of processes that Paddle's launcher started on this machine, this one included."""
    return max(1, _launched("PADDLE_LOCAL_SIZE", 1))


def _launched(name: str, default: int) -> int:
    """A number that Paddle's launcher sets in the environment."""
    text = os.environ.get(name, "")
    return int(text) if re.fullmatch("[0-9]{1,4}", text) else default


def total_memory() -> int | None:
    """Bytes of memory that this process may use; None if the system does not report it."""
    try:
        limits = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    except (AttributeError, ValueError, OSError):
        return None
    for path in CONTAINER_LIMITS:
        try:
            limits.append(int(Path(path).read_text()))
        except (OSError, ValueError):
            continue  # no such file, or "max", which means no limit
    return min(limits)
