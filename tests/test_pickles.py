"""PyTorch's and Paddle's pickles: read without PyTorch, and never executed.

The files are written here, by the standard pickler, from stand-ins for PyTorch's classes.
"""

import io
import os
import pathlib
import pickle
import struct
import sys
import types
import zipfile
from collections import OrderedDict

import numpy as np
import pytest

from common.errors import WorkError
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


WRITERS = pytest.mark.parametrize("write", [write_zip, write_legacy])
EVERY_WRITER = pytest.mark.parametrize("write", [write_zip, write_legacy, write_paddle])


@WRITERS
def test_tensors_come_back_under_their_names_in_order(tmp_path, write):
    a, b = np.arange(24, dtype="f4").reshape(2, 3, 4), np.array([1.5, -2], "f8")
    state = read(write, tmp_path, OrderedDict(z=tensor(a, "0"), a=tensor(b, "1")))
    assert list(state) == ["z", "a"]
    assert np.array_equal(state["z"], a) and state["z"].dtype == np.float32
    assert np.array_equal(state["a"], b) and state["a"].dtype == np.float64


def read(write, folder, state):
    return weights.read(write(folder / "state.pth", state))


@WRITERS
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_element_is_read(tmp_path, write, kind):
    array = np.array([[0, 1], [1, 0]]).astype(kind)
    found = read(write, tmp_path, {"x": tensor(array)})["x"]
    assert np.array_equal(found, array) and found.dtype == array.dtype


@WRITERS
def test_bfloat16_is_widened_exactly(tmp_path, write):
    halves = np.array([0x3F80, 0xC020, 0x0000, 0x7F7F, 0x0001, 0x3EAB], np.uint16)
    exact = [1.0, -2.5, 0.0, 255 * 2.0**120, 2.0**-133, 171 * 2.0**-9]
    storage = Storage("0", halves, BFLOAT16)
    found = read(write, tmp_path, {"x": Tensor(storage, (3, 2), (1, 3))})["x"]
    assert found.dtype == np.float32
    assert found.T.ravel().tolist() == exact


@WRITERS
def test_offsets_and_strides_cut_a_shared_storage(tmp_path, write):
    storage = Storage("0", np.arange(12, dtype="f4"))
    state = read(
        write,
        tmp_path,
        {
            "tail": Tensor(storage, (2, 3), (3, 1), 6),
            "turned": Tensor(storage, (4, 3), (1, 4)),
            "column": Tensor(storage, (3,), (4,), 1),
            "last": Tensor(storage, (1,), (1,), 11),
        },
    )
    assert state["tail"].tolist() == [[6, 7, 8], [9, 10, 11]]
    assert np.array_equal(state["turned"], np.arange(12).reshape(3, 4).T)
    assert state["column"].tolist() == [1, 5, 9]
    assert state["last"].tolist() == [11]


@WRITERS
def test_scalars_and_empty_tensors_are_read(tmp_path, write):
    state = {
        "steps": tensor(np.array(1234567890123, "i8"), "0"),
        "none": tensor(np.zeros((0, 3), "f4"), "1"),
    }
    found = read(write, tmp_path, state)
    assert found["steps"].shape == () and found["steps"] == 1234567890123
    assert found["none"].shape == (0, 3)


@WRITERS
@pytest.mark.parametrize("container", ["state_dict", "model"])
def test_containers_of_training_scripts_are_opened(tmp_path, write, container):
    state = {"epoch": 3, container: OrderedDict(w=tensor(np.ones(2, "f4"))), "lr": [0.1]}
    found = read(write, tmp_path, state)
    assert list(found) == ["w"] and found["w"].tolist() == [1, 1]


@WRITERS
def test_values_that_are_no_tensors_are_left_out(tmp_path, write):
    state = {"w": tensor(np.ones(2, "f4")), "epoch": 3, "name": "x", "list": [1, 2]}
    assert list(read(write, tmp_path, state)) == ["w"]


def test_the_archive_may_have_any_root(tmp_path):
    path = write_zip(tmp_path / "a.pth", {"w": tensor(np.ones(2, "f4"))}, root="resnet18 (1)")
    assert weights.read(path)["w"].tolist() == [1, 1]


@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_plain_arrays_are_read_from_every_protocol(tmp_path, protocol):
    state = {
        "a": np.arange(6, dtype="f4").reshape(2, 3),
        "b": np.array(7),
        "c": ("name", np.ones(1)),
    }
    (tmp_path / "a.pdparams").write_bytes(pickle.dumps(state, protocol))
    found = weights.read(tmp_path / "a.pdparams")
    assert found["a"].tolist() == [[0, 1, 2], [3, 4, 5]] and found["a"].dtype == np.float32
    assert found["b"] == 7 and found["c"].tolist() == [1]


@WRITERS
@pytest.mark.parametrize(
    ("shape", "strides", "offset"),
    [((13,), (1,), 0), ((1,), (1,), 12), ((2, 3), (6, 3), 1), ((2,), (-1,), 5), ((2,), (1,), -1)],
)
def test_tensors_beyond_their_storage_are_refused(tmp_path, write, shape, strides, offset):
    storage = Storage("0", np.arange(12, dtype="f4"))
    with pytest.raises(WorkError, match=r"state\.pth.*beyond its storage"):
        read(write, tmp_path, {"x": Tensor(storage, shape, strides, offset)})


@WRITERS
@pytest.mark.parametrize("count", [11, 13, 2**50, -1])
def test_storages_of_another_length_than_declared_are_refused(tmp_path, write, count):
    storage = Storage("0", np.arange(12, dtype="f4"))
    storage.count = count
    with pytest.raises(WorkError, match=r"state\.pth"):
        read(write, tmp_path, {"x": Tensor(storage, (2,), (1,))})


@EVERY_WRITER
@pytest.mark.parametrize("content", [[], [1, 2], 5, {}, "text"])
def test_pickles_of_something_else_are_no_weights(tmp_path, write, content):
    with pytest.raises(WorkError, match=r"state\.pth.*holds no state dict"):
        read(write, tmp_path, content)


def test_a_zip_archive_of_something_else_is_no_weights(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.pth", "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(WorkError, match=r"a\.pth.*not one of PyTorch's"):
        weights.read(tmp_path / "a.pth")


def test_big_endian_files_are_refused_not_misread(tmp_path):
    state = {"w": tensor(np.ones(2, "f4"))}
    with pytest.raises(WorkError, match="byte order"):
        weights.read(write_zip(tmp_path / "a.pth", state, extra=[("byteorder", "big")]))
    with pytest.raises(WorkError, match=r"b\.pth"):
        weights.read(write_legacy(tmp_path / "b.pth", state, {**SYSTEM, "little_endian": False}))


@EVERY_WRITER
def test_a_file_cut_anywhere_is_a_named_error(tmp_path, write):
    values = np.arange(12, dtype="f4")
    content = {"x": values if write is write_paddle else tensor(values)}
    path = write(tmp_path / "cut.pth", content)
    assert weights.read(path)["x"].tolist() == list(range(12))
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(WorkError) as error:
            weights.read(path)
        assert str(path) in str(error.value)


class Call:
    """Pickles as a call, which the standard unpickler carries out."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


ATTACKS = {
    "os.system": lambda marker: Call(os.system, f"touch '{marker}'"),
    "open": lambda marker: Call(open, str(marker), "w"),
    "pathlib": lambda marker: Call(pathlib.Path.touch, marker),
    "eval": lambda marker: Call(eval, f"open({str(marker)!r}, 'w')"),
    "exec": lambda marker: Call(exec, f"open({str(marker)!r}, 'w')"),
    "numpy": lambda marker: Call(np.ndarray.tofile, np.zeros(1), str(marker)),
}
EVERY_ATTACK = pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)


@EVERY_ATTACK
def test_the_attacks_do_work_on_the_standard_unpickler(tmp_path, attack):
    pickle.loads(pickle.dumps(attack(tmp_path / "marker"), protocol=2))
    assert (tmp_path / "marker").exists()


@EVERY_WRITER
@EVERY_ATTACK
def test_pickles_that_call_functions_are_refused_unexecuted(tmp_path, write, attack):
    state = {"x": attack(tmp_path / "marker")}
    with pytest.raises(WorkError, match=r"state\.pth: refused: asks for .*nothing was executed"):
        read(write, tmp_path, state)
    assert not (tmp_path / "marker").exists()


@pytest.mark.parametrize("place", ["system", "keys"])
def test_the_other_pickles_of_the_old_format_are_refused_too(tmp_path, place):
    state = {"w": tensor(np.ones(2, "f4"))}
    attack = {place: ATTACKS["os.system"](tmp_path / "marker")}
    with pytest.raises(WorkError, match="refused"):
        weights.read(write_legacy(tmp_path / "a.pth", state, **attack))
    assert not (tmp_path / "marker").exists()


@pytest.mark.parametrize("name", ["builtins getattr", "torch load", "numpy load", "os getcwd"])
def test_names_that_tensors_do_not_need_are_refused_even_uncalled(tmp_path, name):
    module, _, function = name.partition(" ")
    path = tmp_path / "a.pdparams"
    path.write_bytes(b"\x80\x02}X\x01\x00\x00\x00xc" + f"{module}\n{function}\n".encode() + b"s.")
    with pytest.raises(WorkError, match=f"refused: asks for {module}.{function}"):
        weights.read(path)


def test_nothing_outside_the_file_is_looked_up(tmp_path):
    (tmp_path / "a.pdparams").write_bytes(dump({"w": tensor(np.ones(2, "f4"))})[0])
    with pytest.raises(WorkError, match="refused.*outside the file"):
        weights.read(tmp_path / "a.pdparams")


@pytest.mark.parametrize("new", [True, False])
def test_files_of_pytorch_itself_read_back_bit_equal(tmp_path, new):
    torch = pytest.importorskip("torch")
    layer = torch.nn.BatchNorm2d(5)
    state = OrderedDict(
        layer.state_dict(),
        half=torch.randn(3, 4).half(),
        brain=torch.randn(2, 3, 4).bfloat16().transpose(0, 2),
        last=torch.randn(2, 8, 3, 3).to(memory_format=torch.channels_last),
        part=torch.arange(20.0)[3:15:4],
        parameter=torch.nn.Parameter(torch.randn(2)),
    )
    torch.save(state, tmp_path / "a.pth", _use_new_zipfile_serialization=new)
    found = weights.read(tmp_path / "a.pth")
    assert list(found) == list(state)
    for key, value in state.items():
        exact = value.detach().float() if value.dtype == torch.bfloat16 else value.detach()
        assert found[key].dtype == exact.numpy().dtype
        assert np.array_equal(found[key], exact.numpy())


@pytest.mark.parametrize(
    "evil",
    [
        Call(np.ndarray, (1,), "u1"),
        Call(tuple, Call(np.ndarray, (1,), "O", b"AAAAAAAA")),
        Call(np.dtype, "O"),
        Call(np.dtype, "V8"),
        np.array([{}], object),
        np.zeros(2, [("a", "i4")]),
    ],
)
def test_arrays_that_could_point_anywhere_are_refused(tmp_path, evil):
    path = tmp_path / "evil.pdparams"
    path.write_bytes(pickle.dumps({"w": evil}, 4))
    with pytest.raises(WorkError, match="refused"):
        weights.read(path)


@pytest.mark.parametrize("kind", ["<f4", ">f4", "<f8", "<i8", "|u1", "|b1", "<f2"])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("protocol", [2, 4])
def test_plain_arrays_read_as_they_were(tmp_path, kind, order, protocol):
    array = np.asarray(np.arange(12).reshape(3, 4) % 2, kind, order=order)
    path = tmp_path / "a.pdparams"
    path.write_bytes(pickle.dumps({"w": array}, protocol))
    assert np.array_equal(weights.read(path)["w"], array)
