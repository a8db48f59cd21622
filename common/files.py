"""Writes files completely or not at all."""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from common.errors import UsageError, WorkError
from common.signals import held
from common.temporary import sweep, temporary_folder

ENDING = 20  # characters of a file's ending that a temporary name has, at most


def sha256(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return sha256_of(file)


def sha256_of(file: BinaryIO) -> str:
    """SHA-256 of an open file."""
    digest = hashlib.sha256()
    file.seek(0)
    while block := file.read(2**20):
        digest.update(block)
    return digest.hexdigest()


def is_file(path: Path) -> bool:
    """Whether `path` is a regular file; False where it cannot be one: a name that is too long."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def is_utf8(path: Path) -> bool:
    """Whether `path` is text in UTF-8: names of files may contain any bytes."""
    try:
        str(path.resolve()).encode()
    except UnicodeEncodeError:
        return False
    return True


def cache_folder() -> Path:
    """The folder for what is kept between runs: PADIM_HOME, else a folder in the user's cache."""
    if named := os.environ.get("PADIM_HOME"):
        return Path(named)
    cached = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")  # noqa: PTH111
    return Path(cached) / "padim-paddle"  # Path.home() raises where there is none


def save_arrays(path: Path, arrays: dict, metadata: dict[str, str]) -> None:
    """Write `arrays` (name → numpy array, of any memory layout) as one safetensors file."""
    import numpy as np
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    # safetensors writes memory in its order: a transposed array would be written wrongly.
    contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    with whole_file(path) as temporary:
        try:
            save_file(contiguous, temporary, metadata)
        except SafetensorError as error:
            raise WorkError(f"{path}: cannot be written: {error}") from error


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A temporary file name, renamed to `path` if the block succeeds.

    If the process is killed, either the old or the new file is there. The temporary name has the
    same ending, because libraries choose the format by it. Raises WorkError if writing fails.
    """
    try:
        with temporary_folder(path.parent) as folder:
            temporary = folder / f"new{path.suffix[:ENDING]}"
            temporary.touch()
            mode = temporary.stat().st_mode
            yield temporary
            temporary.chmod(mode)  # some libraries make files private; use those of the umask
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
            with held():
                temporary.replace(path)
    except OSError as error:
        raise WorkError(f"{path}: cannot be written: {error.strerror or error}") from error


def writable_folder(path: Path, setting: str | None = "save_path") -> Path:
    """Make the folder `path` and check that files can be written there, before the work.

    What killed processes left there is removed. UsageError with `setting` if that fails.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        sweep(path)
        with temporary_folder(path):
            pass
    except OSError as error:
        reason = error.strerror or error
        raise UsageError(
            f"{path}: cannot be written ({reason}); choose a folder with write permission", setting
        ) from error
    return path
