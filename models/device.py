"""Which device the network runs on, and what the machine has."""

import os
import re
from pathlib import Path

from common.errors import UsageError

PRECISIONS = ("fp32", "fp16", "bf16")
# Where Linux says how much a container may use: control groups of version 2 and 1.
CONTAINER_LIMITS = (
    "/sys/fs/cgroup/memory.max",
    "/sys/fs/cgroup/memory/memory.limit_in_bytes",
)


def parse_device(text: str) -> str:
    """`auto`, `cpu`, `gpu` or `gpu:N`, else ValueError."""
    if not re.fullmatch(r"auto|cpu|gpu(:\d+)?", text):
        raise ValueError(f"{text!r} is not one of auto, cpu, gpu, gpu:N")
    return text


def choose_device(text: str) -> str:
    """`auto` → `gpu:0` where Paddle sees one, else `cpu`; a GPU that is not there is an error."""
    import paddle

    count = paddle.device.cuda.device_count() if paddle.is_compiled_with_cuda() else 0
    if text == "cpu" or (text == "auto" and count == 0):
        return "cpu"
    number = int(text.partition(":")[2] or 0)
    if number >= count:
        built = "" if paddle.is_compiled_with_cuda() else " (this build of Paddle has no CUDA)"
        raise UsageError(f"device {text}: there are {count} GPUs{built}; use the CPU")
    return f"gpu:{number}"


def cpu_threads() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def total_memory() -> int | None:
    """Bytes of memory that this process may use at most, None where the system does not tell."""
    try:
        limits = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    except (AttributeError, ValueError, OSError):
        return None
    for path in CONTAINER_LIMITS:
        try:
            limits.append(int(Path(path).read_text()))
        except (OSError, ValueError):
            continue  # no such file, or "max": no limit
    return min(limits)
