"""The formats of weight files: safetensors, Paddle and PyTorch; errors for all other files."""

import json
import pickle

import numpy as np
import paddle
import pytest
from safetensors.numpy import save_file

from common.errors import WorkError
from models.backbones import weights
from tests.weight_files import same

SMALL = {"a": np.arange(6, dtype="f4").reshape(2, 3), "b.c": np.array([-1.5, 2.25], "f4")}


@pytest.mark.parametrize("name", ["a.pdparams", "a.pdiparams", "a.pth", "no ending"])
def test_what_paddle_saves_is_read_whatever_its_ending(tmp_path, name):
    paddle.save({key: paddle.to_tensor(v) for key, v in SMALL.items()}, str(tmp_path / name))
    assert same(weights.read(tmp_path / name), SMALL)


@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_a_paddle_layer_is_read_from_every_protocol(tmp_path, protocol):
    layer = paddle.nn.BatchNorm2D(4)
    layer._mean.set_value(paddle.arange(4, dtype="float32"))
    paddle.save(layer.state_dict(), str(tmp_path / "a.pdparams"), protocol=protocol)
    found = weights.read(tmp_path / "a.pdparams")
    assert sorted(found) == ["_mean", "_variance", "bias", "weight"]
    assert found["_mean"].tolist() == [0, 1, 2, 3] and found["weight"].tolist() == [1] * 4


@pytest.mark.parametrize("name", ["a.safetensors", "a.pdparams"])
@pytest.mark.parametrize("kind", ["f2", "f4", "f8"])
def test_safetensors_are_read_whatever_their_ending(tmp_path, name, kind):
    state = {key: array.astype(kind) for key, array in SMALL.items()}
    save_file(state, tmp_path / name)
    found = weights.read(tmp_path / name)
    assert same(found, state) and found["a"].dtype == kind


def test_a_safetensors_header_of_any_length_is_told_from_a_pickle(tmp_path):
    for n in range(60, 76):  # header lengths of 128 among them, which begin as a pickle does
        save_file({"a" * n: np.ones(3, "f4")}, tmp_path / "a.safetensors")
        assert list(weights.read(tmp_path / "a.safetensors")) == ["a" * n]


def test_containers_are_opened_down_to_the_tensors(tmp_path):
    state = {"epoch": 1, "model": {"state_dict": SMALL, "lr": 0.1}}
    (tmp_path / "a.pdparams").write_bytes(pickle.dumps(state, protocol=4))
    assert same(weights.read(tmp_path / "a.pdparams"), SMALL)


@pytest.mark.parametrize("around", ["state_dict", "model_state_dict", "model"])
def test_containers_of_training_scripts_are_opened(tmp_path, around):
    paddle.save({around: {"a": paddle.ones([2])}, "epoch": 3}, str(tmp_path / "a.pdparams"))
    assert list(weights.read(tmp_path / "a.pdparams")) == ["a"]


def test_a_state_dict_inside_itself_ends(tmp_path):
    state = {"a": np.ones(2, "f4")}
    state["model"] = state
    (tmp_path / "a.pdparams").write_bytes(pickle.dumps(state, 4))
    assert list(weights.read(tmp_path / "a.pdparams")) == ["a"]


def write_safetensors(path, dtype, shape, raw):
    entry = {"dtype": dtype, "shape": shape, "data_offsets": [0, len(raw)]}
    header = json.dumps({"a": entry}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + raw)
    return path


def test_bfloat16_in_safetensors_is_widened_exactly(tmp_path):
    raw = np.array([[0x3F80, 0xC020], [0x7F7F, 0x0001]], "<u2").tobytes()
    path = write_safetensors(tmp_path / "a.safetensors", "BF16", [2, 2], raw)
    found = weights.read(path)["a"]
    assert found.dtype == np.float32
    assert found.tolist() == [[1.0, -2.5], [255 * 2.0**120, 2.0**-133]]


@pytest.mark.parametrize("dtype", ["F8_E4M3", "F8_E5M2", "F4", "C64"])
def test_other_types_in_safetensors_are_named_with_a_remedy(tmp_path, dtype):
    path = write_safetensors(tmp_path / "a.safetensors", dtype, [2], bytes(2))
    with pytest.raises(WorkError, match=f"tensor a has the type {dtype}.*save it as float32"):
        weights.read(path)


def test_paddles_bfloat16_is_widened(tmp_path):
    halves = paddle.to_tensor([1.5, -2.5]).astype("bfloat16")
    paddle.save({"a": halves}, str(tmp_path / "a.pdparams"))
    assert weights.read(tmp_path / "a.pdparams")["a"].tolist() == [1.5, -2.5]


def test_static_graph_parameters_are_a_clear_error(tmp_path):
    path = tmp_path / "inference.pdiparams"
    path.write_bytes(bytes(16) + np.ones(8, "f4").tobytes())
    with pytest.raises(WorkError, match=r"inference\.pdiparams.*static graph.*no names"):
        weights.read(path)


@pytest.mark.parametrize("content", [b"", b"hello, this is no weight file", b"\x93NUMPY\x01\x00"])
def test_other_files_are_no_weights(tmp_path, content):
    (tmp_path / "a.pth").write_bytes(content)
    with pytest.raises(WorkError, match=r"a\.pth.*no known format.*safetensors"):
        weights.read(tmp_path / "a.pth")


@pytest.mark.parametrize("name", ["a.safetensors", "a.pdparams"])
def test_a_file_cut_anywhere_is_a_named_error(tmp_path, name):
    path = tmp_path / name
    if name == "a.safetensors":
        save_file(SMALL, path)
    else:
        paddle.save({key: paddle.to_tensor(v) for key, v in SMALL.items()}, str(path))
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(WorkError) as error:
            weights.read(path)
        assert str(path) in str(error.value)


@pytest.mark.parametrize("odd", [{0: np.ones(2)}, {"conv1.weight": np.array(["a"])}])
def test_what_is_no_tensor_is_no_traceback(tmp_path, odd):
    (tmp_path / "a.pdparams").write_bytes(pickle.dumps(odd, 4))
    with pytest.raises(WorkError, match=r"a\.pdparams"):
        weights.load(tmp_path / "a.pdparams", "resnet18", "test")
