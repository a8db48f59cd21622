"""Model files: everything that scoring needs. Reading them never executes code.

The format is safetensors: arrays, and a record as JSON in the metadata. A file is written
completely or not at all.
"""

import dataclasses
import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from common.errors import UsageError, WorkError, listed, shortened
from common.files import save_arrays
from models.device import total_memory
from models.record import Record, RecordError, decode, encode, header

DTYPES = ("F32", "F16", "I64", "I32", "U8")  # allowed types of the arrays of a model


@dataclass(frozen=True)
class Kind:
    """A kind of model file, identified by the record's `format` and `version`."""

    name: str
    version: int
    setting: str  # which one names such a file
    source: str  # which script writes such a file
    remedy: str

    @property
    def format(self) -> str:
        return f"padim-paddle {self.name}"


CHECKPOINT = Kind(
    "checkpoint", 5, "model_path", "train.py writes one", "train it again with train.py"
)
DISTRIBUTION = Kind(
    *("distribution", 4, "distribution"),
    *("export_model.py writes one", "export it again with export_model.py"),
)


def save(
    path: str | Path, arrays: dict[str, np.ndarray], record: Record, kind: Kind = CHECKPOINT
) -> None:
    """Write `arrays` and `record` to `path`. An old file stays until the new one is complete."""
    record = dataclasses.replace(record, arrays_sha256=arrays_digest(arrays))
    text = encode(record, kind.format, kind.version)
    save_arrays(Path(path), arrays, {"record": text, "record_sha256": text_digest(text)})


def text_digest(text: str) -> str:
    """SHA-256 of a record's JSON."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def arrays_digest(arrays: dict[str, np.ndarray]) -> str:
    """SHA-256 of the names, types, shapes and values of `arrays`."""
    found = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        found.update(f"{name}\0{array.dtype.str}\0{array.shape}\0".encode())
        found.update(array.data)
    return found.hexdigest()


def identity(path: str | Path) -> tuple[int, int, int]:
    """Changes whenever `path` is written again."""
    return _identity(Path(path).stat())


def _identity(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_ino, status.st_mtime_ns, status.st_size


class ModelFile:
    """An open model file. Its record and its arrays stay together if another file takes its place.

    Used as a context manager, or closed by `close`. Raises UsageError if there is no such file,
    WorkError if it is truncated, damaged, not of this `kind`, or of another format version.

    Attributes
    ----------
    path, kind, record
    identity : of this file, see `identity`
    """

    def __init__(self, path: str | Path, kind: Kind = CHECKPOINT):
        self.path, self.kind = Path(path), kind
        self._descriptor, self._file = _opened(self.path, kind)
        self.identity = _identity(os.fstat(self._descriptor.fileno()))
        try:
            with _errors(self.path, kind):
                self.record = _record(self.path, self._file.metadata(), kind)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> "ModelFile":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def close(self) -> None:
        self._file.__exit__(None, None, None)
        self._descriptor.close()

    def is_at(self, path: Path) -> bool:
        """Whether no other file has taken the place of this one."""
        return identity(path) == self.identity

    def arrays(self, most: Callable[[Record], int] | None = None) -> dict[str, np.ndarray]:
        """The arrays; see `load`."""
        path, kind = self.path, self.kind
        if _identity(os.fstat(self._descriptor.fileno())) != self.identity:
            # To read a file that is mapped into memory and cut short would end the process.
            raise WorkError(f"{path}: changed since it was opened; open it again")
        with _errors(path, kind):
            names, size = self._file.keys(), self.identity[2]
            _require_readable(
                path, size, {name: self._file.get_slice(name) for name in names}, kind
            )
            if most is not None and size > most(self.record):
                raise damaged(path, "the file is larger than a model of its record", kind)
            arrays = {name: self._file.get_tensor(name) for name in names}
        if arrays_digest(arrays) != self.record.arrays_sha256:
            raise damaged(path, "its arrays changed after they were written", kind)
        floats = {name: array for name, array in arrays.items() if array.dtype.kind == "f"}
        if wrong := [name for name, array in floats.items() if not np.isfinite(array).all()]:
            raise damaged(path, f"arrays with values that are not finite: {listed(wrong)}", kind)
        return arrays


def load(
    path: str | Path, kind: Kind = CHECKPOINT, most: Callable[[Record], int] | None = None
) -> tuple[dict[str, np.ndarray], Record]:
    """The arrays and the record of `path`; raises the errors of ModelFile.

    `most(record)` is the number of bytes that the arrays of such a model have at most. It is called
    before an array is read, and may raise an error of its own.
    """
    with ModelFile(path, kind) as file:
        return file.arrays(most), file.record


def load_record(path: str | Path, kind: Kind = CHECKPOINT) -> Record:
    """Only the record of `path`, without the arrays; raises the same errors as `load`."""
    with ModelFile(path, kind) as file:
        return file.record


def damaged(path: Path, reason: object, kind: Kind) -> WorkError:
    return WorkError(
        f"{path}: this {kind.name} is damaged ({shortened(str(reason), 300)}); {kind.remedy}"
    )


@contextmanager
def reading(path: Path, kind: Kind = CHECKPOINT):
    """Turns errors about missing or wrong arrays into an error that names the file."""
    try:
        yield
    except KeyError as error:
        raise damaged(path, f"{error.args[0]} is missing", kind) from error
    except ValueError as error:
        raise damaged(path, error, kind) from error


def _opened(path: Path, kind: Kind) -> tuple:
    """A safetensors file, open twice: by us and by its library; errors name file and remedy."""
    from safetensors import safe_open

    try:
        there = path.is_file()
    except (OSError, ValueError) as error:  # a name that is too long, a null character
        raise UsageError(f"{path}: {getattr(error, 'strerror', error)}", kind.setting) from error
    if not there:
        raise UsageError(f"{path}: no such {kind.name} file; {kind.source}", kind.setting)
    with _errors(path, kind):
        while True:
            with ExitStack() as stack:
                ours = stack.enter_context(path.open("rb"))
                file = stack.enter_context(safe_open(path, framework="numpy"))
                if identity(path) == _identity(os.fstat(ours.fileno())):
                    stack.pop_all()
                    return ours, file


@contextmanager
def _errors(path: Path, kind: Kind) -> Iterator[None]:
    from safetensors import SafetensorError

    try:
        yield
    except PermissionError as error:
        raise WorkError(f"{path}: cannot be read: {error.strerror}") from error
    except MemoryError as error:
        raise WorkError(f"{path}: needs more memory than this process may have") from error
    except (SafetensorError, OSError) as error:
        raise WorkError(
            f"{path}: truncated, or not a {kind.name} of this project "
            f"({shortened(str(error), 200)}); {kind.remedy}"
        ) from error


def _require_readable(path: Path, size: int, slices: dict, kind: Kind) -> None:
    """Check the types and sizes of the arrays before they are read."""
    odd = sorted({piece.get_dtype() for piece in slices.values()} - set(DTYPES))
    if odd:
        raise damaged(path, f"arrays of type {', '.join(odd)}; expected {', '.join(DTYPES)}", kind)
    there = total_memory()
    if there is not None and 2 * size > there:
        raise WorkError(
            f"{path}: {size / 1e9:.1f} GB of arrays need {2 * size / 1e9:.1f} GB of memory, "
            f"but this machine has {there / 1e9:.1f} GB"
        )


def _record(path: Path, metadata: dict | None, kind: Kind) -> Record:
    text = (metadata or {}).get("record", "")
    try:
        found, version = header(text)
    except RecordError:
        found = version = None
    if found != kind.format:
        raise WorkError(f"{path}: a safetensors file, but not a {kind.name} of this project")
    if version != kind.version:
        raise WorkError(
            f"{path}: {kind.name} of format version {shortened(repr(version), 20)}, but this "
            f"program reads version {kind.version}; {kind.remedy}"
        )
    if (metadata or {}).get("record_sha256") != text_digest(text):
        raise damaged(path, "its record changed after it was written", kind)
    try:
        return decode(text)
    except RecordError as error:
        raise damaged(path, error, kind) from error
