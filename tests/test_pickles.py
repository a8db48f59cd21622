"""PyTorch's and Paddle's weight files are read without PyTorch."""

import pickle
import zipfile
from collections import OrderedDict

import numpy as np
import pytest

from common.errors import WorkError
from models.backbones import weights
from tests.pickle_files import (
    BFLOAT16,
    EVERY_WRITER,
    KINDS,
    SYSTEM,
    WRITERS,
    Storage,
    Tensor,
    read,
    tensor,
    write_legacy,
    write_paddle,
    write_zip,
)


@WRITERS
def test_tensors_come_back_under_their_names_in_order(tmp_path, write):
    a, b = np.arange(24, dtype="f4").reshape(2, 3, 4), np.array([1.5, -2], "f8")
    state = read(write, tmp_path, OrderedDict(z=tensor(a, "0"), a=tensor(b, "1")))
    assert list(state) == ["z", "a"]
    assert np.array_equal(state["z"], a) and state["z"].dtype == np.float32
    assert np.array_equal(state["a"], b) and state["a"].dtype == np.float64


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


@pytest.mark.parametrize("kind", ["<f4", ">f4", "<f8", "<i8", "|u1", "|b1", "<f2"])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("protocol", [2, 4])
def test_plain_arrays_read_as_they_were(tmp_path, kind, order, protocol):
    array = np.asarray(np.arange(12).reshape(3, 4) % 2, kind, order=order)
    path = tmp_path / "a.pdparams"
    path.write_bytes(pickle.dumps({"w": array}, protocol))
    assert np.array_equal(weights.read(path)["w"], array)
