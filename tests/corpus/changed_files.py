"""Makes whole model files and changes them."""

import tempfile
from collections.abc import Callable
from pathlib import Path

from tests.corpus import samples

KINDS = {
    "checkpoint": samples.model,
    "distribution": samples.distribution,
    "state": samples.state,
}
NAMES = {"checkpoint": "checkpoint", "distribution": "distribution", "state": "training state"}


def changed(kind: str, change: Callable[[dict, dict], None], digest: bool = True, method="padim"):
    """A `make`: a whole file whose arrays and record `change` changed; digests fit."""

    def make(folder: Path) -> Path:
        path = folder / "model"
        KINDS[kind](path) if kind == "state" else KINDS[kind](path, method)
        found, record = samples.contents(path)
        found = {name: array.copy() for name, array in found.items()}
        change(found, record)
        return samples.rewritten(path, found, record, digest)

    return make


def of_bytes(kind: str, change: Callable[[bytearray], bytes]):
    def make(folder: Path) -> Path:
        path = folder / "model"
        KINDS[kind](path)
        path.write_bytes(change(bytearray(path.read_bytes())))
        return path

    return make


def content_of(make: Callable[[Path], Path]) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        return make(Path(folder) / "x").read_bytes()
