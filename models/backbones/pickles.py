"""Reads the pickles that PyTorch and Paddle save tensors in, without executing them.

A pickle may name any function of any library and have it called. This reader knows the few
names that tensors need and refuses every other one, so that a weight file can do nothing but
hold tensors. PyTorch itself is not needed.
"""

import codecs
import io
import pickle
import re
import struct
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C  # first pickle of PyTorch's format before 1.6

# PyTorch's storage classes and the type of their elements. bfloat16 is float32's upper half.
STORAGES = {
    "FloatStorage": "<f4",
    "DoubleStorage": "<f8",
    "HalfStorage": "<f2",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "<i1",
    "ByteStorage": "<u1",
    "BoolStorage": "?",
}


class UnsafePickleError(Exception):
    """The file asks for something that tensors do not need."""


def read_torch_zip(path: Path) -> dict:
    """The state dict in a `.pth` of PyTorch ≥ 1.6 (a zip archive)."""
    with zipfile.ZipFile(path) as archive:
        pickles = [name for name in archive.namelist() if name.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise ValueError("a zip archive, but not one of PyTorch's")
        root = pickles[0].removesuffix("data.pkl")
        if f"{root}byteorder" in archive.namelist():
            order = archive.read(f"{root}byteorder")
            if order != b"little":
                raise ValueError(f"byte order {order!r} is not supported")

        def load_storage(identity):
            _, kind, key, _, elements = identity
            return _elements(archive.read(f"{root}data/{key}"), kind, elements)

        return _Unpickler(io.BytesIO(archive.read(pickles[0])), load_storage).load()


def read_pickle(path: Path) -> dict:
    """The state dict in a Paddle pickle (`paddle.save`) or a PyTorch file older than 1.6."""
    with path.open("rb") as file:
        first = _Unpickler(file).load()
        return _read_torch_legacy(file) if first == LEGACY_MAGIC else first


def _read_torch_legacy(file) -> dict:
    # Tensors come before the bytes of their storages, so they are views into arrays that
    # are filled afterwards.
    protocol, system = _Unpickler(file).load(), _Unpickler(file).load()
    if protocol != 1001 or not system.get("little_endian", True):
        raise ValueError("an unknown variant of PyTorch's old format")
    storages = {}

    def load_storage(identity):
        _, kind, key, _, elements, *view = identity
        if view and view[0] is not None:
            raise ValueError("storages that are views of others are not supported")
        if key not in storages:
            width = _width(kind)
            storages[key] = (kind, np.zeros(elements * width, np.uint8))
        return _elements(storages[key][1], kind, elements)

    state = _Unpickler(file, load_storage).load()
    for key in _Unpickler(file).load():
        kind, raw = storages[key]
        (elements,) = struct.unpack("<q", file.read(8))
        content = file.read(elements * _width(kind))
        if len(content) != len(raw):
            raise ValueError("the file ends before its tensors do")
        raw[:] = np.frombuffer(content, np.uint8)
    return state


class _Storage:
    """Stands for PyTorch's storage class of this name."""

    def __init__(self, name: str):
        self.name = name


def _width(kind: _Storage) -> int:
    code = STORAGES[kind.name]
    return 2 if code == "bfloat16" else np.dtype(code).itemsize


def _elements(raw, kind: _Storage, count: int) -> np.ndarray:
    code = STORAGES[kind.name]
    array = np.frombuffer(raw, "<u2" if code == "bfloat16" else code)
    if len(array) != count:
        raise ValueError(f"a tensor storage has {len(array)} elements in place of {count}")
    return _Bfloat16(array) if code == "bfloat16" else array


class _Bfloat16:
    """A bfloat16 storage: its tensors stay bits until all bytes are there."""

    def __init__(self, halves: np.ndarray):
        self.halves = halves


class Later:
    """A tensor whose array is made by `array()` once the whole pickle is read."""

    def array(self) -> np.ndarray:
        raise NotImplementedError


class _Bfloat16Tensor(Later):
    def __init__(self, halves: np.ndarray):
        self.halves = halves

    def array(self) -> np.ndarray:
        return widened(self.halves)


def widened(halves: np.ndarray) -> np.ndarray:
    """bfloat16 bits, uint16 → float32, exactly."""
    return (halves.astype(np.uint32) << 16).view(np.float32)


def _rebuild_tensor(storage, offset, size, stride, *_):
    array = storage.halves if isinstance(storage, _Bfloat16) else storage
    last = offset + sum((n - 1) * s for n, s in zip(size, stride, strict=True)) if size else offset
    if offset < 0 or min((0, *stride)) < 0 or (0 not in size and last >= len(array)):
        raise ValueError("a tensor reaches beyond its storage")
    strides = [step * array.itemsize for step in stride]
    view = np.lib.stride_tricks.as_strided(array[offset:], size, strides, writeable=False)
    return _Bfloat16Tensor(view) if isinstance(storage, _Bfloat16) else view


def _rebuild_parameter(data, *_):
    return data


class _Dtype:
    """Stands for `numpy.dtype`, whose own constructor and state can be made to read any memory."""

    def __init__(self, code: str, *_):
        if not isinstance(code, str) or not re.fullmatch(r"[<>|=]?[fiub][1248]", code):
            raise UnsafePickleError(f"arrays of type {code!r}")
        self.code = code

    def __setstate__(self, state):
        self.order = state[1] if state[1] in ("<", ">") else "="

    def numpy(self) -> np.dtype:
        return np.dtype(self.code).newbyteorder(getattr(self, "order", "="))


class _NumpyArray(Later):
    """Stands for a numpy array: its shape, type and bytes, checked against each other."""

    def __init__(self, *_):
        self.content = None

    def __setstate__(self, state):
        _, shape, kind, fortran, raw = state
        if not isinstance(kind, _Dtype) or not isinstance(raw, bytes):
            raise UnsafePickleError("an array that is not plain numbers")
        flat = np.frombuffer(raw, kind.numpy())
        self.content = flat.reshape(shape, order="F" if fortran else "C")

    def array(self) -> np.ndarray:
        if self.content is None:
            raise ValueError("an array without its content")
        return self.content


def _ndarray(*_):
    """`numpy.ndarray` is named as the type to reconstruct, never called by a real file."""
    raise UnsafePickleError("numpy.ndarray as a function")


def _encode(text: str, encoding: str) -> bytes:
    """How protocol 2 stores bytes; no other codec than latin1 belongs here."""
    if encoding != "latin1":
        raise UnsafePickleError(f"codec {encoding}")
    return codecs.encode(text, encoding)


ALLOWED = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    ("torch._utils", "_rebuild_tensor"): _rebuild_tensor,
    ("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
    ("numpy.core.multiarray", "_reconstruct"): _NumpyArray,
    ("numpy._core.multiarray", "_reconstruct"): _NumpyArray,
    ("numpy", "ndarray"): _ndarray,
    ("numpy", "dtype"): _Dtype,
    ("_codecs", "encode"): _encode,
    ("builtins", "tuple"): tuple,
    ("__builtin__", "tuple"): tuple,
}


class _Unpickler(pickle.Unpickler):
    def __init__(self, file, load_storage=None):
        super().__init__(file)
        self.load_storage = load_storage

    def find_class(self, module, name):
        if module == "torch" and name in STORAGES:
            return _Storage(name)
        if (module, name) not in ALLOWED:
            raise UnsafePickleError(f"{module}.{name}")
        return ALLOWED[module, name]

    def persistent_load(self, identity):
        known = isinstance(identity, tuple) and len(identity) >= 5 and identity[0] == "storage"
        if self.load_storage is None or not known or not isinstance(identity[1], _Storage):
            raise UnsafePickleError("a reference to something outside the file")
        return self.load_storage(identity)
