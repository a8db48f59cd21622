"""The numbers of tensors in a file: found first, read only when they are needed, and only once.

Names and shapes are known before a byte of a tensor is read, so that a file that declares more
than a backbone needs costs no memory.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np

MOST_BYTES = 2**30  # read from one file; wide_resnet101_2, the largest, has 1.02 GB in float64
MOST_AXES = 32  # numpy 1 has no more
BLOCK = 2**20
SHORT = "the file ends before its tensors do"


class Allowance:
    """The bytes that may still be read from one file."""

    def __init__(self, left: int = MOST_BYTES):
        self.left = left

    def take(self, count: int) -> None:
        """ValueError, before memory is taken, where `count` bytes are too many."""
        if count > self.left:
            raise ValueError(f"its tensors need more than {MOST_BYTES >> 30} GiB")
        self.left -= count


class Content:
    """Bytes of a file that are read when they are asked for, then kept.

    `nbytes` is their number, None where only reading tells it.
    """

    __slots__ = ("nbytes", "read", "_raw", "_wide")  # a file may have very many

    def __init__(self, nbytes: int | None, read: Callable[[], np.ndarray] | None):
        self.nbytes = nbytes
        self.read = read
        self._raw: np.ndarray | None = None
        self._wide: np.ndarray | None = None

    @classmethod
    def of(cls, raw: bytes) -> "Content":
        """Bytes that are in memory already."""
        return cls(len(raw), lambda: np.frombuffer(raw, np.uint8))

    def elements(self, code: str) -> np.ndarray:
        """All bytes as a flat array of type `code`; bfloat16 as float32, widened once."""
        if self._raw is None:
            if self.read is None:
                raise ValueError("a tensor storage without content")
            self._raw = self.read()
        if self._raw.size % width(code):
            raise ValueError(f"{self._raw.size} bytes are not a whole number of {code} numbers")
        if code != "bfloat16":
            return self._raw.view(code)
        if self._wide is None:
            self._wide = widened(self._raw.view("<u2"))
        return self._wide


class Tensor:
    """A tensor in a file: where its numbers are and how they are arranged.

    `code` is a numpy type or bfloat16; `strides` and `offset` count elements of `content`. Without
    `strides` the tensor is all of `content`, in C `order` or F.
    """

    def __init__(self, content: Content, code: str, shape, strides=None, offset=0, order="C"):
        for numbers in (shape, (offset,), () if strides is None else strides):
            _check_sizes(numbers)
        self.shape = tuple(shape)
        self._content, self._code, self._offset = content, code, offset
        self._whole = strides is None
        self._strides = _strides(self.shape, order) if strides is None else tuple(strides)
        if len(self._strides) != len(self.shape):
            raise ValueError("a tensor whose strides do not fit its shape")
        if content.nbytes is not None:
            self._check(content.nbytes // width(code))

    def _check(self, count: int) -> None:
        """ValueError where the tensor does not fit into `count` elements."""
        if self._whole and math.prod(self.shape) != count:
            raise ValueError(f"a tensor of shape {self.shape} has {count} numbers")
        steps = zip(self.shape, self._strides, strict=True)
        last = self._offset + sum((n - 1) * step for n, step in steps)
        if 0 not in self.shape and last >= count:
            raise ValueError("a tensor reaches beyond its storage")

    def array(self) -> np.ndarray:
        """The numbers: a view that cannot be written to; tensors of one storage share it."""
        flat = self._content.elements(self._code)
        self._check(len(flat))  # the real memory, whatever was declared before
        if 0 in self.shape:
            return np.zeros(self.shape, flat.dtype)
        steps = [step * flat.itemsize for step in self._strides]
        start = flat[self._offset :]
        return np.lib.stride_tricks.as_strided(start, self.shape, steps, writeable=False)


def _check_sizes(numbers: Sequence[int]) -> None:
    """ValueError where a shape, strides or an offset are not a few sizes."""
    plain = isinstance(numbers, tuple | list) and len(numbers) <= MOST_AXES
    if not plain or not all(type(n) is int for n in numbers):
        raise ValueError("a tensor whose shape, strides or offset are not whole numbers")
    if not all(0 <= n < 2**40 for n in numbers):  # math on them cannot overflow
        raise ValueError("a tensor reaches beyond its storage")


def _strides(shape: tuple[int, ...], order: str) -> tuple[int, ...]:
    """In elements, of an array without gaps."""
    if order == "F":
        return tuple(math.prod(shape[:i]) for i in range(len(shape)))
    return tuple(math.prod(shape[i + 1 :]) for i in range(len(shape)))


def width(code: str) -> int:
    """The bytes of one number of type `code`."""
    return 2 if code == "bfloat16" else np.dtype(code).itemsize


def widened(halves: np.ndarray) -> np.ndarray:
    """bfloat16 bits, uint16 → float32, exactly."""
    wide = halves.astype(np.uint32)
    wide <<= 16
    return wide.view(np.float32)


class Source:
    """A binary file that gives small pieces at once and large ones as `Content`.

    A length that the file declares is compared with the bytes there are before memory is taken.
    """

    def __init__(self, file, size: int, allowance: Allowance):
        self.file, self.size, self.allowance = file, size, allowance

    def take(self, count: int) -> bytes:
        """The next `count` bytes, at most a few hundred."""
        found = self.file.read(count)
        if len(found) != count:
            raise ValueError(SHORT)
        return found

    def line(self) -> str:
        """The next line, of ASCII, without its end."""
        found = self.file.readline(256)
        if not found.endswith(b"\n"):
            raise ValueError("a line that does not end")
        return found[:-1].decode("ascii")

    def content(self, count: int) -> Content:
        """The next `count` bytes, not read yet."""
        start = self.file.tell()
        if not 0 <= count <= self.size - start:
            raise ValueError(SHORT)
        self.file.seek(start + count)
        return Content(count, lambda: self._read(start, count))

    def _read(self, start: int, count: int) -> np.ndarray:
        self.allowance.take(count)
        whole = np.empty(count, np.uint8)
        self.file.seek(start)
        if self.file.readinto(memoryview(whole)) != count:
            raise ValueError(SHORT)
        return whole
