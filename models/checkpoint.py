"""Files with all that scoring needs. Written whole or not at all; never execute code.

The container is safetensors: arrays, and beside them a JSON record.
"""

import json
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from common.errors import UsageError, WorkError
from common.files import save_arrays


@dataclass(frozen=True)
class Kind:
    """A kind of file, told apart by the record's `format` and `version`."""

    name: str
    version: int
    source: str  # where a missing one comes from
    remedy: str

    @property
    def format(self) -> str:
        return f"padim-paddle {self.name}"


CHECKPOINT = Kind(
    "checkpoint",
    2,
    "train.py writes one, --model_path names it",
    "train it again with train.py",
)
DISTRIBUTION = Kind(
    "distribution",
    1,
    "export_model.py writes one, --distribution names it",
    "export it again with export_model.py",
)


def save(path: Path, tensors: dict[str, np.ndarray], record: dict, kind: Kind = CHECKPOINT) -> None:
    """Write `tensors` and `record` to `path`, leaving what was there whole until the end."""
    record = {**record, "format": kind.format, "version": kind.version}
    save_arrays(Path(path), tensors, {"record": json.dumps(record, allow_nan=False)})


def identity(path: Path) -> tuple[int, int, int]:
    """Changes whenever `path` is written again."""
    status = Path(path).stat()
    return status.st_ino, status.st_mtime_ns, status.st_size


def load(path: Path, kind: Kind = CHECKPOINT) -> tuple[dict[str, np.ndarray], dict]:
    """The arrays and the record of `path`.

    Raises UsageError where there is no file, WorkError where it is truncated, not of this `kind`,
    or of another format version.
    """
    with _opened(path, kind) as file:
        record = _record(path, file.metadata(), kind)
        return {key: file.get_tensor(key) for key in file.keys()}, record  # noqa: SIM118


def load_record(path: Path, kind: Kind = CHECKPOINT) -> dict:
    """The record of `path` alone, without its arrays; raises as `load` does."""
    with _opened(path, kind) as file:
        return _record(path, file.metadata(), kind)


@contextmanager
def _opened(path: Path, kind: Kind):
    """An open safetensors file; whatever is wrong with it names the file and the remedy."""
    from safetensors import SafetensorError, safe_open

    if not Path(path).is_file():
        raise UsageError(f"{path}: no such {kind.name}; {kind.source}")
    Path(path).open("rb").close()  # whether it may be read, safetensors does not say
    try:
        with safe_open(path, framework="numpy") as file:
            yield file
    except (SafetensorError, OSError) as error:
        raise WorkError(
            f"{path}: truncated, or not a {kind.name} of this project ({error}); {kind.remedy}"
        ) from error


def _record(path: Path, metadata: dict | None, kind: Kind) -> dict:
    try:
        record = json.loads((metadata or {})["record"])
        known = record["format"] == kind.format
    except (KeyError, TypeError, ValueError):
        known = False
    if not known:
        raise WorkError(f"{path}: a safetensors file, but not a {kind.name} of this project")
    if record.get("version") != kind.version:
        raise WorkError(
            f"{path}: {kind.name} format version {record.get('version')}, "
            f"this program reads version {kind.version}; {kind.remedy}"
        )
    return record


@contextmanager
def reading(path: Path, kind: Kind = CHECKPOINT):
    """Turns what a detector misses in a file into an error that names it."""
    try:
        yield
    except (LookupError, ValueError, TypeError, AttributeError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise WorkError(f"{path}: a damaged {kind.name} ({reason}); {kind.remedy}") from error
