"""One file with everything that scoring needs. Written whole or not at all; never executes code.

The container is safetensors: arrays, and beside them a JSON record.
"""

import json
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from common.errors import UsageError, WorkError
from common.files import save_arrays

FORMAT = "padim-paddle checkpoint"
VERSION = 1
REMEDY = "train it again with train.py"


def save(path: Path, tensors: dict[str, np.ndarray], record: dict) -> None:
    """Write `tensors` and `record` to `path`, leaving what was there whole until the end."""
    record = {"format": FORMAT, "version": VERSION, **record}
    save_arrays(Path(path), tensors, {"record": json.dumps(record, allow_nan=False)})


def identity(path: Path) -> tuple[int, int, int]:
    """Changes whenever `path` is written again."""
    status = Path(path).stat()
    return status.st_ino, status.st_mtime_ns, status.st_size


def load(path: Path) -> tuple[dict[str, np.ndarray], dict]:
    """The arrays and the record of `path`.

    Raises UsageError where there is no file, WorkError where it is truncated, not a checkpoint
    of this project, or of another format version.
    """
    from safetensors import SafetensorError, safe_open

    if not Path(path).is_file():
        raise UsageError(f"{path}: no such checkpoint; train.py writes one, --model_path names it")
    Path(path).open("rb").close()  # whether it may be read, safetensors does not say
    try:
        with safe_open(path, framework="numpy") as file:
            record = _record(path, file.metadata())
            return {key: file.get_tensor(key) for key in file.keys()}, record  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise WorkError(
            f"{path}: truncated, or not a checkpoint of this project ({error}); {REMEDY}"
        ) from error


def _record(path: Path, metadata: dict | None) -> dict:
    try:
        record = json.loads((metadata or {})["record"])
        known = record["format"] == FORMAT
    except (KeyError, TypeError, ValueError):
        known = False
    if not known:
        raise WorkError(f"{path}: a safetensors file, but not a checkpoint of this project")
    if record.get("version") != VERSION:
        raise WorkError(
            f"{path}: checkpoint format version {record.get('version')}, "
            f"this program reads version {VERSION}; {REMEDY}"
        )
    return record


@contextmanager
def reading(path: Path):
    """Turns what a detector misses in a checkpoint into an error that names the file."""
    try:
        yield
    except (KeyError, ValueError, TypeError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise WorkError(f"{path}: a damaged checkpoint ({reason}); {REMEDY}") from error
