"""The zip archives that PyTorch writes, read within bounds.

PyTorch does not compress its files. A malicious zip archive declares gigabytes in kilobytes, by
compression or by overlapping entries.
"""

import io
import zipfile

import numpy as np

from models.backbones.contents import BLOCK, Allowance, Content

MOST_PICKLE = 2**26  # bytes of data.pkl, which holds no numbers; 1000 tensors need 100 kB
MOST_EXPANSION = 4  # compressed weights become only a tenth smaller
LONGEST_READ = 2**22  # the list of entries is read at once: 50 000 of them


class Archive:
    """The zip archive in the file `raw` of `size` bytes. ValueError where it is none."""

    def __init__(self, raw: io.FileIO, size: int):
        self._zip = zipfile.ZipFile(_Bounded(raw))
        entries = self._zip.infolist()
        if sum(entry.file_size for entry in entries) > MOST_EXPANSION * size:
            raise ValueError(f"the archive expands to more than {MOST_EXPANSION} times its size")
        kinds = {entry.compress_type for entry in entries}
        if not kinds <= {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
            raise ValueError("a zip archive with an unknown compression")

    def root(self) -> str:
        """The folder that data.pkl is in, with a slash."""
        pickles = [name for name in self._zip.namelist() if name.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise ValueError("a zip archive, but not one of PyTorch's")
        return pickles[0].removesuffix("data.pkl")

    def small(self, name: str) -> bytes | None:
        """The few bytes of an entry; None where there is no such entry."""
        entry = self._zip.NameToInfo.get(name)
        if entry is None:
            return None
        with self._zip.open(entry) as file:
            return file.read(16)

    def pickle(self, root: str) -> bytes:
        """The bytes of data.pkl."""
        entry = self._zip.getinfo(f"{root}data.pkl")
        if entry.file_size > MOST_PICKLE:
            raise ValueError(f"data.pkl has more than {MOST_PICKLE >> 20} MiB")
        return self._read(entry, Allowance()).tobytes()

    def content(self, name: str, allowance: Allowance) -> Content:
        """The bytes of an entry, not read yet."""
        entry = self._zip.NameToInfo.get(name)
        if entry is None:
            raise ValueError(f"the archive lacks {name}")
        return Content(entry.file_size, lambda: self._read(entry, allowance))

    def _read(self, entry: zipfile.ZipInfo, allowance: Allowance) -> np.ndarray:
        allowance.take(entry.file_size)
        whole, at = np.empty(entry.file_size, np.uint8), 0
        with self._zip.open(entry) as file:
            while block := file.read(BLOCK):  # a bounded read is a bounded decompression
                whole[at : at + len(block)] = np.frombuffer(block, np.uint8)
                at += len(block)
        if at != len(whole):
            raise ValueError(f"{entry.filename} is shorter than it declares")
        return whole


class _Bounded(io.BufferedReader):
    """A file that refuses to be read in large pieces: zipfile takes them as declared."""

    def read(self, size: int | None = -1) -> bytes:
        rest = size is None or size < 0
        found = super().read(LONGEST_READ + 1 if rest else min(size, LONGEST_READ + 1))
        if len(found) > LONGEST_READ:
            raise ValueError("a zip archive with too long a list of entries")
        return found
