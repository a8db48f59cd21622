"""Notices pictures that arrive in a folder, by looking at it again and again.

So it works on every file system, also on a share of another machine.
"""

import logging
import time
from pathlib import Path

from datasets.samples import pictures_in

SETTLED = 2.0  # seconds after which a file that nobody changed is taken for complete

logger = logging.getLogger(__name__)
Stamp = tuple[int, int, int]


class Arrivals:
    """New pictures in `folder` and its subfolders, each once it is complete.

    A picture is complete if its size and time did not change between two calls of `take`, or if it
    was not changed for SETTLED seconds. A file that is written again, or replaced, arrives again.
    Only the files that are in the folder are remembered.

    Parameters
    ----------
    present : whether the pictures that are there at the first call arrive, too
    """

    def __init__(self, folder: Path, present: bool = True):
        self.folder, self._present = folder, present
        self._taken: dict[Path, Stamp] = {}
        self._waiting: dict[Path, Stamp] = {}
        self._unread: dict[Path, Stamp] = {}
        self._lost = False

    def take(self) -> list[Path]:
        """The pictures that are complete since the last call, the oldest first."""
        there = self._there()
        if there is None:
            return []
        if not self._present:
            self._taken, self._present = there, True
        now, ready, waiting = time.time_ns(), [], {}
        for path, stamp in there.items():
            if self._taken.get(path) == stamp:
                continue
            settled = now - stamp[0] > SETTLED * 1e9
            if settled or self._waiting.get(path) == stamp != self._unread.get(path):
                ready.append((stamp, path))
            else:
                waiting[path] = stamp
        kept = {path: stamp for path, stamp in self._taken.items() if path in there}
        self._taken = kept | {path: stamp for stamp, path in ready}
        self._waiting = waiting
        self._unread = {path: stamp for path, stamp in self._unread.items() if path in waiting}
        return [path for _, path in sorted(ready)]

    def postpone(self, path: Path) -> bool:
        """Let `path`, which could not be read, arrive again when it has changed or settled; False
        if it has settled already: nobody writes it any more."""
        stamp = self._taken.get(path)
        if stamp is None or time.time_ns() - stamp[0] > SETTLED * 1e9:
            return False
        self._unread[path] = self._taken.pop(path)
        return True

    def _there(self) -> dict[Path, Stamp] | None:
        """Each picture and its stamp; None while the folder cannot be read."""
        found = {}
        try:
            paths = pictures_in(self.folder, recursive=True)
        except OSError as error:
            if not self._lost:
                logger.warning("%s: %s; waiting for it", self.folder, error.strerror or error)
            self._lost = True
            return None
        if self._lost:
            logger.info("%s: is there again", self.folder)
        self._lost = False
        for path in paths:
            try:
                status = path.stat()
            except OSError:  # it left between the two looks
                continue
            found[path] = status.st_mtime_ns, status.st_size, status.st_ino
        return found
