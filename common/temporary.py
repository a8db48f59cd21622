"""Temporary folders. What a killed process leaves behind, the next one removes.

A temporary folder has a lock file, which its process keeps locked. The system unlocks it when the
process ends in any way: so a folder of a live process is never taken for one of a dead process. On
disks that cannot lock, and on Windows, nothing is swept.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from common.signals import at_end, held

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

PREFIX, SUFFIX = ".padim-", ".tmp"
LOCK = ".lock"  # in each temporary folder
REMOVALS = 5  # tries, while another thread of a process that ends still writes

_swept: set[str] = set()


@contextmanager
def temporary_folder(parent: Path | None = None) -> Iterator[Path]:
    """A new folder in `parent` (None: the system's folder for temporary files), deleted at the end.

    The first one in `parent` removes what killed processes left there. Raises OSError.
    """
    parent = Path(tempfile.gettempdir()) if parent is None else Path(parent)
    place = os.path.realpath(parent)
    if place not in _swept:
        sweep(parent)
        _swept.add(place)
    with ExitStack() as stack:
        with held():
            folder, lock = _locked(parent)
            stack.callback(os.close, lock)
            stack.enter_context(at_end(lambda _: remove(folder)))
            stack.callback(remove, folder)
        yield folder


def sweep(parent: Path) -> None:
    """Remove the temporary folders in `parent` of processes of this user that have ended."""
    if fcntl is None:
        return
    with suppress(OSError), os.scandir(parent) as entries:
        for entry in entries:
            if entry.name.startswith(PREFIX) and entry.name.endswith(SUFFIX):
                with suppress(OSError):  # another process removes it, or it is not ours
                    _sweep(entry)


def remove(folder: Path) -> None:
    """Delete a temporary folder, its lock last; what another user owns stays."""
    for _ in range(REMOVALS):
        with suppress(OSError):
            for path in folder.iterdir():
                if path.name == LOCK:
                    continue
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    path.unlink(missing_ok=True)
            (folder / LOCK).unlink(missing_ok=True)
            folder.rmdir()
        if not folder.exists():
            return


def lock_file(path: Path, wait: bool) -> int:
    """Lock the file `path`, made if needed; returns its descriptor, whose closing unlocks it.

    FileNotFoundError if it was deleted meanwhile, BlockingIOError if it is locked and `wait` is
    False, OSError if the disk cannot lock.
    """
    lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        if fcntl is not None:
            fcntl.flock(lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        if os.fstat(lock).st_nlink == 0:
            raise FileNotFoundError(f"{path} was deleted")
        return lock
    except BaseException:
        os.close(lock)
        raise


def _locked(parent: Path) -> tuple[Path, int]:
    while True:
        folder = Path(tempfile.mkdtemp(prefix=PREFIX, suffix=SUFFIX, dir=parent))
        try:
            return folder, lock_file(folder / LOCK, wait=True)
        except FileNotFoundError:  # another process swept it before it was locked
            if not parent.is_dir():
                raise
        except OSError:  # a disk that cannot lock, where nothing is swept
            return folder, os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o600)


def _sweep(entry: os.DirEntry) -> None:
    status = entry.stat(follow_symlinks=False)
    if not entry.is_dir(follow_symlinks=False) or status.st_uid != os.geteuid():
        return
    lock = lock_file(Path(entry.path) / LOCK, wait=False)
    try:
        remove(Path(entry.path))
    finally:
        os.close(lock)
