"""Reads the pickles that PyTorch and Paddle save tensors in, without executing them.

A pickle may name any function of any library and have it called. This reader knows the few
names that tensors need and refuses every other one, so that a weight file can only hold tensors.
PyTorch itself is not needed.
"""

import io
import re
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from models.backbones.archives import Archive
from models.backbones.contents import Allowance, Content, Source, Tensor, width
from models.backbones.opcodes import Interpreter, LongText, UnsafePickleError, unknown_name

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


@contextmanager
def open_torch_zip(path: Path) -> Iterator[dict[str, Tensor]]:
    """The state dict in a `.pth` of PyTorch ≥ 1.6 (a zip archive)."""
    with path.open("rb", buffering=0) as raw:
        archive = Archive(raw, path.stat().st_size)
        root, allowance = archive.root(), Allowance()
        if (order := archive.small(f"{root}byteorder")) not in (None, b"little"):
            raise ValueError(f"byte order {order!r} is not supported")
        contents: dict[str, Content] = {}

        def storage(identity):
            kind, key, count = _identity(identity)[:3]
            if key not in contents:
                contents[key] = archive.content(f"{root}data/{key}", allowance)
            _check_length(contents[key], count, kind.code)
            return _Storage(contents[key], kind.code)

        pickled = archive.pickle(root)
        source = Source(io.BytesIO(pickled), len(pickled), allowance)
        yield flat(Interpreter(source, _name, storage).load())


@contextmanager
def open_pickle(path: Path) -> Iterator[dict[str, Tensor]]:
    """The state dict in a Paddle pickle (`paddle.save`) or a PyTorch file older than 1.6."""
    with path.open("rb") as file:
        source = Source(file, path.stat().st_size, Allowance())
        first = Interpreter(source, _name).load()
        legacy = type(first) is int and first == LEGACY_MAGIC
        yield flat(_load_torch_legacy(source) if legacy else first)


def _load_torch_legacy(source: Source):
    protocol, system = Interpreter(source, _name).load(), Interpreter(source, _name).load()
    known = type(protocol) is int and protocol == 1001 and type(system) is dict
    if not known or system.get("little_endian", True) is not True:
        raise ValueError("an unknown variant of PyTorch's old format")
    storages: dict[str, _Storage] = {}

    def storage(identity):
        kind, key, count, view = _identity(identity)
        if view is not None:
            raise ValueError("storages that are views of others are not supported")
        if key not in storages:  # its bytes come behind the tensors
            storages[key] = _Storage(Content(count * width(kind.code), None), kind.code)
        _check_length(storages[key].content, count, kind.code)
        return _Storage(storages[key].content, kind.code)

    state = Interpreter(source, _name, storage).load()
    keys = Interpreter(source, _name).load()
    if type(keys) is not list:
        raise ValueError("a list of storages that is not a list")
    for key in keys:
        if type(key) is not str or key not in storages:
            raise ValueError("a list of storages that does not fit the tensors")
        found = storages[key]
        (count,) = struct.unpack("<q", source.take(8))
        content = source.content(count * width(found.code))
        _check_length(content, found.content.nbytes // width(found.code), found.code)
        found.content.read = content.read
    return state


def flat(state) -> dict[str, Tensor]:
    """The state dict itself, without the containers that training scripts put around it."""
    for _ in range(3):
        if not isinstance(state, dict):
            break
        inner = (state.get(key) for key in ("state_dict", "model_state_dict", "model"))
        state = next((value for value in inner if isinstance(value, dict)), state)
    if not isinstance(state, dict) or not state:
        raise ValueError("holds no state dict")
    tensors = {key: _tensor(value) for key, value in state.items()}
    return {key: tensor for key, tensor in tensors.items() if tensor is not None}


def _tensor(value) -> Tensor | None:
    """None for what is no tensor."""
    if isinstance(value, tuple) and len(value) == 2:
        value = value[1]  # (name, array): how older Paddle saves a tensor
    if isinstance(value, _NumpyArray):
        value = value.tensor()
    return value if isinstance(value, Tensor) else None


class _StorageKind:
    """Stands for one of PyTorch's storage classes."""

    def __init__(self, code: str):
        self.code = code


class _Storage:
    """Stands for a storage: the bytes of tensors and the type of their numbers."""

    def __init__(self, content: Content, code: str):
        self.content, self.code = content, code


def _identity(identity) -> tuple[_StorageKind, str, int, object]:
    """Class, key, number of elements and view of the storage that a pickle refers to."""
    known = type(identity) is tuple and len(identity) >= 5 and type(identity[0]) is str
    if not known or identity[0] != "storage" or type(identity[1]) is not _StorageKind:
        raise UnsafePickleError("a reference to something outside the file")
    _, kind, key, _, count, *view = identity
    if type(key) is not str or type(count) is not int or count < 0:
        raise ValueError("a damaged tensor storage")
    return kind, key, count, view[0] if view else None


def _check_length(content: Content, count: int, code: str) -> None:
    if count * width(code) != content.nbytes:
        found = content.nbytes // width(code)
        raise ValueError(f"a tensor storage has {found} elements in place of {count}")


def _rebuild_tensor(storage, offset, size, stride, *_):
    if type(storage) is not _Storage:
        raise UnsafePickleError("a tensor without a storage")
    if type(size) is not tuple or type(stride) is not tuple:
        raise ValueError("a damaged tensor")
    return Tensor(storage.content, storage.code, size, stride, offset)


def _rebuild_parameter(data, *_):
    return data


class _Dtype:
    """Stands for `numpy.dtype`, whose own constructor and state can be made to read any memory."""

    def __init__(self, code: str, *_):
        plain = type(code) is str and re.fullmatch(r"[<>|=]?[fiub][1248]", code)
        if not plain:
            raise UnsafePickleError("arrays of something else than plain numbers")
        self.letters, self.order = code.lstrip("<>|="), code[0] if code[0] in "<>" else "<"

    def build(self, state):
        if type(state[1]) is str and state[1] in ("<", ">"):
            self.order = state[1]

    def code(self) -> str:
        # Paddle has no 16-bit unsigned numbers: it saves bfloat16 as such.
        return "bfloat16" if self.order + self.letters == "<u2" else self.order + self.letters


class _NumpyArray:
    """Stands for a numpy array: its shape, type and bytes, checked against each other."""

    def __init__(self, *_):
        self._tensor: Tensor | None = None

    def build(self, state):
        if type(state) is not tuple or len(state) != 5:
            raise ValueError("a damaged array")
        _, shape, kind, fortran, raw = state
        if type(kind) is not _Dtype or type(raw) is not Content:
            raise UnsafePickleError("an array of something else than plain numbers")
        self._tensor = Tensor(raw, kind.code(), shape, order="F" if fortran is True else "C")

    def tensor(self) -> Tensor:
        if self._tensor is None:
            raise ValueError("an array without its content")
        return self._tensor


def _ndarray(*_):
    """`numpy.ndarray` is named as the type to reconstruct; a real file never calls it."""
    raise UnsafePickleError("numpy.ndarray as a function")


def _encode(text, encoding) -> Content:
    """How protocol 2 stores bytes; it needs no other codec than latin1."""
    if type(encoding) is not str or encoding != "latin1":
        raise UnsafePickleError("another codec than latin1")
    if type(text) is LongText:
        return text.latin1
    return Content.of(text.encode("latin1"))


def _ordered(items=None) -> dict:
    """An OrderedDict; Python 2 gives it a list of pairs."""
    if items is None:
        return {}
    if type(items) is not list:
        raise UnsafePickleError("an OrderedDict of something else than a list")
    pairs = ((key, value) for key, value in items)
    return {key: value for key, value in pairs if type(key) is str}


def _as_tuple(items) -> tuple:
    """How Paddle wraps a tensor: (name, array)."""
    if type(items) is not tuple:
        raise UnsafePickleError("a tuple of something else than a tuple")
    return items


ALLOWED = {
    ("collections", "OrderedDict"): _ordered,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    ("torch._utils", "_rebuild_tensor"): _rebuild_tensor,
    ("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
    ("numpy.core.multiarray", "_reconstruct"): _NumpyArray,
    ("numpy._core.multiarray", "_reconstruct"): _NumpyArray,
    ("numpy", "ndarray"): _ndarray,
    ("numpy", "dtype"): _Dtype,
    ("_codecs", "encode"): _encode,
    ("builtins", "tuple"): _as_tuple,
    ("__builtin__", "tuple"): _as_tuple,
}


def _name(module: str, name: str):
    """What stands for a name in a pickle."""
    if module == "torch" and name in STORAGES:
        return _StorageKind(STORAGES[name])
    if (module, name) not in ALLOWED:
        raise unknown_name(module, name)
    return ALLOWED[module, name]
