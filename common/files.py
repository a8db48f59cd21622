"""Files that are either whole or not there."""

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

    # safetensors writes memory as it lies: a transposed array would come out scrambled.
    contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    with whole_file(path) as temporary:
        try:
            save_file(contiguous, temporary, metadata)
        except SafetensorError as error:
            raise WorkError(f"{path}: cannot be written: {error}") from error


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A temporary name beside `path` to write to, renamed to `path` when the block ends well.

    A kill at any moment leaves the old file or the new one. The temporary name keeps the
    ending, by which libraries choose the format. Raises WorkError where writing fails.
    """
    temporary = path.with_name(f".{secrets.token_hex(4)}.tmp{path.suffix}")
    try:
        temporary.touch()
        mode = temporary.stat().st_mode
        yield temporary
        temporary.chmod(mode)  # some libraries make files private; the user's umask decides
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise WorkError(f"{path}: cannot be written: {error.strerror or error}") from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def writable_folder(path: Path, setting: str | None = "save_path") -> Path:
    """Make the folder `path` and prove that files can be written there, before the work.

    UsageError of `setting` where that fails.
    """
    probe = path / f".{secrets.token_hex(4)}.tmp"
    try:
        path.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        reason = error.strerror or error
        raise UsageError(
            f"{path}: cannot be written ({reason}); name a folder that you may write to", setting
        ) from error
    return path


@contextmanager
def whole_files(folder: Path) -> Iterator[Path]:
    """A hidden folder inside `folder` to write several files to, which belong together.

    When the block ends well they are renamed into `folder`, one after the other; otherwise none
    of them is. Raises WorkError where writing fails.
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
