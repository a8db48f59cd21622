"""Files that belong together replace older ones all at once, or not at all.

New files are written to a temporary folder. Renaming this folder to `.padim-commit` decides: from
then on the new files count. They are moved to their places one by one; if the process is killed
meanwhile, the next one that writes or reads the files completes it (`settle`). Where it may not
write, it reads the new files where they are (`current`).
"""

import errno
import json
import os
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from common.errors import WorkError
from common.signals import held
from common.temporary import LOCK, lock_file, temporary_folder

COMMIT = ".padim-commit"
SECONDS = 10.0  # that another process may take to move its files


@contextmanager
def whole_files(folder: Path, names: Collection[str] = ()) -> Iterator[Path]:
    """A temporary folder inside `folder`, for several files that belong together.

    If the block succeeds, its files replace those in `folder`, and those of `names` that it did not
    write are deleted: all of this or nothing. Raises WorkError if writing fails.
    """
    try:
        with temporary_folder(folder) as temporary:
            yield temporary
            written = sorted(path.name for path in temporary.iterdir() if path.name != LOCK)
            (temporary / LOCK).write_text(json.dumps(sorted({*names} - {*written})), "utf-8")
            for name in (*written, LOCK):
                with (temporary / name).open("rb+") as file:
                    os.fsync(file.fileno())
            _commit(temporary, folder)
    except OSError as error:
        raise WorkError(f"{folder}: cannot be written: {error.strerror or error}") from error


def settle(folder: Path) -> None:
    """Complete what a killed process left in `folder`, as far as this process may write there."""
    with suppress(OSError):  # `current` finds the files where they are
        _settle(folder)


def current(path: Path) -> Path | None:
    """Where the file `path` is now: at its place, or in a commit that cannot be completed here;
    None if it is in neither or that commit deletes it."""
    commit = path.parent / COMMIT
    if (commit / path.name).is_file():
        return commit / path.name
    with suppress(OSError):
        if path.name in _removed(commit):
            return None
    return path if path.exists() else None


def _commit(temporary: Path, folder: Path) -> None:
    """The lock of `temporary`, which this process has, is then the lock of the commit."""
    with held():
        while True:
            _settle(folder)
            try:
                temporary.rename(folder / COMMIT)
                break
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):  # another one was faster
                    raise
        _move(folder)


def _settle(folder: Path) -> None:
    """Raises OSError."""
    commit, end = folder / COMMIT, time.monotonic() + SECONDS
    while commit.is_dir() and not commit.is_symlink():
        lock = None
        try:
            lock = lock_file(commit / LOCK, wait=False)
            if os.path.samestat(os.fstat(lock), (commit / LOCK).stat()):
                _move(folder)
        except BlockingIOError:  # its process lives, and moves the files now
            if time.monotonic() > end:
                raise
            time.sleep(0.005)
        except FileNotFoundError:
            continue
        finally:
            if lock is not None:
                os.close(lock)


def _move(folder: Path) -> None:
    commit = folder / COMMIT
    for name in _removed(commit):
        (folder / name).unlink(missing_ok=True)
    for path in sorted(commit.iterdir()):
        if path.name != LOCK:
            path.replace(folder / path.name)
    (commit / LOCK).unlink()
    with suppress(OSError):  # another commit may have its place already
        commit.rmdir()


def _removed(commit: Path) -> list[str]:
    """The names that `commit` deletes. A folder may come from a stranger: only plain names."""
    if not (commit / LOCK).is_file():
        return []
    try:
        names = json.loads((commit / LOCK).read_text("utf-8"))
    except (ValueError, RecursionError):  # empty if a process was killed after the last move
        return []
    names = names if isinstance(names, list) else []
    plain = [name for name in names if isinstance(name, str) and Path(name).name == name]
    return [name for name in plain if name not in ("", ".", "..")]
