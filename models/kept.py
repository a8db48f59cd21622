"""Stage maps of training pictures, kept on the disk for a second pass over them."""

import logging
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from models.device import processes_here

logger = logging.getLogger(__name__)

MOST = 8 * 2**30  # bytes on the disk
FREE_SHARE = 0.5  # of the free space of the disk, at most


class KeptMaps:
    """Batches of stage maps in a temporary file, so that they are not computed twice.

    The file has no name, so that it vanishes with the process. Memory does not grow with it. Used
    as a context manager.

    Parameters
    ----------
    folder : on the disk to use
    most : bytes of maps; None: MOST, or FREE_SHARE of the free space if that is less, divided by
        the processes that train together on this machine

    Attributes
    ----------
    pictures : int, number of pictures whose maps are kept: the first ones. Once a batch does not
        fit, no later one is kept
    """

    def __init__(self, folder: Path, most: int | None = None):
        self.folder, self.pictures, self.full = folder, 0, False
        free = int(FREE_SHARE * shutil.disk_usage(folder).free)
        self.room = min(MOST, free) // processes_here() if most is None else most
        self.shapes: list[list[tuple[int, ...]]] = []

    def __enter__(self) -> "KeptMaps":
        # Without a buffer, so that a full disk is noticed at once. Closed by __exit__.
        self.file = tempfile.TemporaryFile(dir=self.folder, buffering=0)  # noqa: SIM115
        return self

    def __exit__(self, *_) -> None:
        self.file.close()

    def add(self, maps: list[np.ndarray]) -> None:
        """Keep one batch, float32 [B,c,h,w] of each stage, if there is room."""
        size = sum(stage.nbytes for stage in maps)
        if self.full or size > self.room:
            self.full = True
            return
        try:
            for stage in maps:
                self._write(np.ascontiguousarray(stage, np.float32))
        except OSError as error:  # the disk is full: another process may have filled it
            logger.info("features of %d pictures are kept, no more: %s", self.pictures, error)
            self.full = True
            return
        self.room -= size
        self.shapes.append([stage.shape for stage in maps])
        self.pictures += len(maps[0])

    def __iter__(self) -> Iterator[list[np.ndarray]]:
        """The batches, in their order."""
        self.file.seek(0)
        for shapes in self.shapes:
            yield [self._read(shape) for shape in shapes]

    def _write(self, array: np.ndarray) -> None:
        # `tofile` does not notice if the last bytes of its buffer find no room.
        left = memoryview(array).cast("B")
        while left:
            left = left[self.file.write(left) :]

    def _read(self, shape: tuple[int, ...]) -> np.ndarray:
        array = np.fromfile(self.file, np.float32, int(np.prod(shape)))
        return array.reshape(shape)
