"""Exported files, opened once: another export that takes their place meanwhile changes nothing."""

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from common.errors import UsageError, WorkError
from common.files import is_file
from common.temporary import temporary_folder
from common.transaction import current, settle
from models.checkpoint import DISTRIBUTION, ModelFile
from models.record import Record

GRAPHS = (".json", ".pdmodel", ".onnx")  # written by Paddle 3, Paddle 2 and paddle2onnx
DESCRIPTORS = Path("/proc/self/fd")
TRIES, PAUSE = 200, 0.01  # s


@dataclass(frozen=True)
class ExportedFiles:
    """Paths of exported files; `params` is None for ONNX, whose graph contains the parameters."""

    model: Path
    params: Path | None
    distribution: Path

    def __post_init__(self):
        for name, path in vars(self).items():  # texts are accepted, too
            object.__setattr__(self, name, path if path is None else Path(path))

    @classmethod
    def beside(
        cls,
        model: str | Path,
        params: str | Path | None = None,
        distribution: str | Path | None = None,
    ) -> "ExportedFiles":
        """Files that are not given are next to `model`, with their usual names."""
        model = Path(model)
        params = None if model.suffix == ".onnx" else params or model.with_suffix(".pdiparams")
        return cls(model, params, distribution or model.parent / "distribution")

    def require(self) -> None:
        """UsageError if a file is missing, or is not a regular file."""
        named = {"model_file": self.model, "params_file": self.params}
        for setting, path in named.items():
            if path is not None and not is_file(current(path) or path):
                raise UsageError(f"{path}: no such file; export_model.py writes it", setting)

    @classmethod
    def within(cls, folder: str | Path) -> "ExportedFiles":
        """The files in `folder`; UsageError if it has no graph."""
        settle(Path(folder))
        candidates = [Path(folder) / f"model{suffix}" for suffix in GRAPHS]
        model = next((path for path in candidates if current(path) is not None), None)
        if model is None:
            raise UsageError(
                f"{folder}: this folder has no model.json, model.pdmodel or model.onnx; "
                "export_model.py writes one"
            )
        return cls.beside(model)


class OpenExport:
    """Files of one export, open; UsageError if one is missing, WorkError if one is damaged.

    Used as a context manager, or closed by `close`.

    Attributes
    ----------
    files : their paths, for messages
    distribution : ModelFile
    model, params : open files; `params` is None for ONNX
    """

    def __init__(self, files: ExportedFiles):
        self.files = files
        named = [path for path in vars(files).values() if path is not None]
        for left in reversed(range(TRIES)):
            for folder in {path.parent for path in named}:
                settle(folder)
            places = {path: current(path) or path for path in named}
            try:
                self._open(places)
            except (UsageError, WorkError):
                if places == {path: current(path) or path for path in named} or not left:
                    raise
            else:
                if self._are_at(places) or not left:
                    return
                self.close()
            time.sleep(PAUSE)  # another export moves its files to their places

    def __enter__(self) -> "OpenExport":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def close(self) -> None:
        self._stack.close()

    @property
    def record(self) -> Record:
        return self.distribution.record

    @contextmanager
    def paths(self) -> Iterator[tuple[Path, Path | None]]:
        """Names of the graph and the parameters for libraries that open files themselves.

        They lead to the open files, and are valid UTF-8, which Paddle demands. On systems without
        such names the files are copied.
        """
        with ExitStack() as stack:
            try:
                folder = stack.enter_context(temporary_folder())
            except OSError:  # no folder for temporary files: what is at the paths now must do
                yield self.files.model, self.files.params
                return
            yield tuple(
                path if file is None else self._named(file, folder / f"model{path.suffix}")
                for file, path in (
                    (self.model, self.files.model),
                    (self.params, self.files.params),
                )
            )

    def _named(self, file, name: Path) -> Path:
        descriptor = DESCRIPTORS / str(file.fileno())
        if descriptor.exists():
            name.symlink_to(descriptor)
            return name
        file.seek(0)
        with name.open("wb") as copy:
            shutil.copyfileobj(file, copy)
        return name

    def _open(self, places: dict[Path, Path]) -> None:
        with ExitStack() as stack:
            path = places[self.files.distribution]
            self.files.require()
            self.distribution = stack.enter_context(ModelFile(path, DISTRIBUTION))
            self.model, self.params = (
                None if path is None else stack.enter_context(_readable(places[path]))
                for path in (self.files.model, self.files.params)
            )
            self._stack = stack.pop_all()

    def _are_at(self, places: dict[Path, Path]) -> bool:
        """Whether the open files are still those at their paths: then they are of one export."""
        if places != {path: current(path) or path for path in places}:
            return False
        opened = {self.files.model: self.model, self.files.params: self.params}
        with suppress(OSError):
            same = self.distribution.is_at(places[self.files.distribution])
            return same and all(
                os.path.samestat(os.fstat(file.fileno()), places[path].stat())
                for path, file in opened.items()
                if file is not None
            )
        return False


def _readable(path: Path):
    try:
        return path.open("rb")
    except OSError as error:
        raise WorkError(f"{path}: cannot be read: {error.strerror}") from error
