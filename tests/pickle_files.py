"""Writes weight files as PyTorch and Paddle do, for tests.

The standard pickler writes them from stand-ins for PyTorch's classes.
"""

import io
import pickle
import struct
import sys
import types
import zipfile
from collections import OrderedDict

import numpy as np
import pytest

from models.backbones import weights
from models.backbones.pickles import LEGACY_MAGIC

SYSTEM = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"int": 4, "long": 4}}


KINDS = {"f4": "Float", "f8": "Double", "f2": "Half", "i8": "Long", "u1": "Byte", "?": "Bool"}


BFLOAT16 = "BFloat16"


class Storage:
    """The elements behind tensors; `kind` is the name of PyTorch's class, without `Storage`."""

    def __init__(self, key, array, kind=None):
        self.key = key
        self.array = np.ascontiguousarray(array)
        self.kind = kind or KINDS[self.array.dtype.str[1:].replace("b1", "?")]
        self.count = self.array.size


class Tensor:
    def __init__(self, storage, shape, strides, offset=0):
        self.arguments = (storage, offset, shape, strides, False, OrderedDict())

    def __reduce__(self):
        return sys.modules["torch._utils"]._rebuild_tensor_v2, self.arguments


def tensor(array, key="0", kind=None):
    """A contiguous tensor that has its storage for itself."""
    array = np.asarray(array)
    strides = tuple(step // array.itemsize for step in np.ascontiguousarray(array).strides)
    return Tensor(Storage(key, array, kind), array.shape, strides if array.ndim else ())


class Pickler(pickle.Pickler):
    """Keeps the storages it meets, and refers to them the way PyTorch does."""

    def __init__(self, file, extra):
        super().__init__(file, protocol=2)
        self.extra = extra
        self.storages = {}

    def persistent_id(self, obj):
        if not isinstance(obj, Storage):
            return None
        self.storages[obj.key] = obj
        kind = getattr(sys.modules["torch"], f"{obj.kind}Storage")
        return ("storage", kind, obj.key, "cpu", obj.count, *self.extra)


def dump(state, extra=()):
    """The pickle of `state` and its storages, written while modules named torch exist."""

    def _rebuild_tensor_v2(*arguments):
        raise AssertionError("stands for a name only")

    torch, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")
    torch._utils, utils._rebuild_tensor_v2 = utils, _rebuild_tensor_v2
    _rebuild_tensor_v2.__module__ = "torch._utils"
    _rebuild_tensor_v2.__qualname__ = "_rebuild_tensor_v2"
    for kind in (*KINDS.values(), BFLOAT16):
        name = f"{kind}Storage"
        setattr(torch, name, type(name, (), {"__module__": "torch"}))
    file = io.BytesIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "torch", torch)
        patch.setitem(sys.modules, "torch._utils", utils)
        pickler = Pickler(file, extra)
        pickler.dump(state)
    return file.getvalue(), pickler.storages


def write_zip(path, state, root="archive", extra=()):
    content, storages = dump(state)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{root}/data.pkl", content)
        for key, storage in storages.items():
            archive.writestr(f"{root}/data/{key}", storage.array.tobytes())
        archive.writestr(f"{root}/version", "3\n")
        for name, text in extra:
            archive.writestr(f"{root}/{name}", text)
    return path


def write_legacy(path, state, system=SYSTEM, keys=None):
    content, storages = dump(state, (None,))
    with path.open("wb") as file:
        for header in (LEGACY_MAGIC, 1001, system):
            pickle.dump(header, file, protocol=2)
        file.write(content)
        pickle.dump(list(storages) if keys is None else keys, file, protocol=2)
        for storage in storages.values():
            file.write(struct.pack("<q", storage.array.size) + storage.array.tobytes())
    return path


def write_paddle(path, state):
    path.write_bytes(pickle.dumps(state, protocol=4))
    return path


def read(write, folder, state):
    return weights.read(write(folder / "state.pth", state))


WRITERS = pytest.mark.parametrize("write", [write_zip, write_legacy])


EVERY_WRITER = pytest.mark.parametrize("write", [write_zip, write_legacy, write_paddle])
