"""Prints what this machine does not support, one line each: name, tab, reason.

The reasons are the error messages of the scripts.
"""

import importlib.util
from collections.abc import Callable

from common.errors import UsageError, message
from models import runtime
from models.engine import Engine
from models.predictor import require_tensorrt


def missing() -> dict[str, str]:
    """Reasons by name: gpu, tensorrt, bf16, int8, onnx."""
    runtime.prepare()
    import paddle

    graph = ".pdmodel" if paddle.__version__.startswith("2.") else ".json"
    needs: dict[str, Callable] = {
        "gpu": Engine(device="gpu").resolve,
        "tensorrt": lambda: require_tensorrt(graph),
        "bf16": Engine(device="cpu", precision="bf16").resolve,
        "int8": Engine(device="cpu", precision="int8").resolve,
        "onnx": _require_onnx,
    }
    reasons = {}
    for name, require in needs.items():
        try:
            require()
        except UsageError as error:
            reasons[name] = message(error)
    return reasons


def _require_onnx() -> None:
    for package in ("paddle2onnx", "onnxruntime"):
        if importlib.util.find_spec(package) is None:
            raise UsageError(f"the package {package} is not installed (requirements-onnx.txt)")


if __name__ == "__main__":
    for name, reason in missing().items():
        print(f"{name}\t{reason}")
