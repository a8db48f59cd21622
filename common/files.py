"""Writes files completely or not at all."""

import hashlib
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from common.errors import UsageError, WorkError


def sha256(path: Path) -> str:
    """SHA-256 of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()


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
    """A temporary file name in the folder of `path`, renamed to `path` if the block succeeds.

    If the process is killed, either the old or the new file is there. The temporary name has the
    same ending, because libraries choose the format by it. Raises WorkError if writing fails.
    """
    temporary = path.with_name(f".{secrets.token_hex(4)}.tmp{path.suffix}")
    try:
        temporary.touch()
        mode = temporary.stat().st_mode
        yield temporary
        temporary.chmod(mode)  # some libraries make files private; use the permissions of the umask
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise WorkError(f"{path}: cannot be written: {error.strerror or error}") from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def writable_folder(path: Path, setting: str | None = "save_path") -> Path:
    """Make the folder `path` and check that files can be written there, before the work.

    UsageError with `setting` if that fails.
    """
    probe = path / f".{secrets.token_hex(4)}.tmp"
    try:
        path.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        reason = error.strerror or error
        raise UsageError(
            f"{path}: cannot be written ({reason}); choose a folder with write permission", setting
        ) from error
    return path


@contextmanager
def whole_files(folder: Path) -> Iterator[Path]:
    """A hidden folder inside `folder`, for several files that belong together.

    If the block succeeds, the files are moved to `folder`, one after the other; otherwise none of
    them is moved. Raises WorkError if writing fails.
    """
    try:
        temporary = Path(tempfile.mkdtemp(prefix=".", suffix=".tmp", dir=folder))
    except OSError as error:
        raise WorkError(f"{folder}: cannot be written: {error.strerror or error}") from error
    try:
        yield temporary
        for path in sorted(temporary.iterdir()):
            with path.open("rb+") as file:
                os.fsync(file.fileno())
        for path in sorted(temporary.iterdir()):
            path.replace(folder / path.name)
    except OSError as error:
        raise WorkError(f"{folder}: cannot be written: {error.strerror or error}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
