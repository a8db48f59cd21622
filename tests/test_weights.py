"""Weights of a backbone: every accepted format, every complaint, and the converter."""

import functools
import json
import pickle
import sys

import numpy as np
import paddle
import pytest
from safetensors.numpy import load_file, save_file

from common.errors import UsageError, WorkError
from models.backbones import contents, names, network, sanity, sources, weights

SMALL = {"a": np.arange(6, dtype="f4").reshape(2, 3), "b.c": np.array([-1.5, 2.25], "f4")}
PADDLE_NAMES = {"running_mean": "_mean", "running_var": "_variance"}


@pytest.fixture(scope="module", autouse=True)
def shapes_once():
    """Builds each network only once to find its shapes: all of them take a second."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(network, "full_shapes", functools.cache(network.full_shapes))
        yield


@pytest.fixture(scope="module")
def full():
    """Small random float16 arrays under every name that resnet18 has."""
    random = np.random.default_rng(0)
    block = random.uniform(0.01, 1, 2**16).astype(np.float16)
    return {
        name: np.resize(block[len(name) :], shape)
        for name, shape in network.full_shapes("resnet18").items()
    }


@pytest.fixture(scope="module")
def full_file(full, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "full.safetensors"
    save_file(full, path)
    return path


def same(found, expected):
    return found.keys() == expected.keys() and all(
        np.array_equal(found[key], expected[key]) for key in expected
    )


def complaint(state):
    """What is said of `state`, in the one error there is."""
    with pytest.raises(WorkError) as error:
        weights.convert(state, "resnet18", "some.file")
    assert str(error.value).startswith("some.file: does not match resnet18")
    return str(error.value)


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


def test_containers_are_opened_down_to_the_tensors(tmp_path):
    state = {"epoch": 1, "model": {"state_dict": SMALL, "lr": 0.1}}
    (tmp_path / "a.pdparams").write_bytes(pickle.dumps(state, protocol=4))
    assert same(weights.read(tmp_path / "a.pdparams"), SMALL)


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


def test_a_whole_state_loads_with_its_name_digest_and_origin(full, full_file):
    found = weights.load(full_file, "resnet18", "somewhere")
    assert same(found.state, full) and list(found.state) == list(full)
    assert found.name == "full.safetensors" and len(found.sha256) == 64
    assert found.origin == "somewhere"


def test_classifier_and_counters_are_dropped(full):
    extra = {"fc.weight": np.ones((1000, 512)), "fc.bias": np.full(1000, np.nan)}
    extra |= {
        "bn1.num_batches_tracked": np.array(5),
        "n_averaged": np.array(5),
        "layer2.0.bn1.num_batches_tracked": np.ones(1),
    }
    assert same(weights.convert({**extra, **full}, "resnet18", "file"), full)


def test_paddles_names_are_accepted(full):
    renamed = {}
    for key, array in full.items():
        stem, _, last = key.rpartition(".")
        renamed[f"{stem}.{PADDLE_NAMES.get(last, last)}"] = array
    assert "bn1._variance" in renamed and "bn1.running_var" not in renamed
    assert same(weights.convert(renamed, "resnet18", "file"), full)


def test_a_state_dict_of_paddles_own_network_loads(tmp_path):
    network = paddle.vision.models.resnet18(num_classes=10)
    paddle.save(network.state_dict(), str(tmp_path / "a.pdparams"))
    found = weights.load(tmp_path / "a.pdparams", "resnet18", "here").state
    assert len(found) == 100
    assert np.array_equal(found["layer4.1.conv2.weight"], network.layer4[1].conv2.weight.numpy())
    assert np.array_equal(found["bn1.running_var"], network.bn1._variance.numpy())


def test_two_networks_in_one_file_are_refused(full):
    both = {f"encoder.{key}": array for key, array in full.items()} | full
    assert f"{len(full)} twice: conv1.weight, " in complaint(both)


def test_weights_of_another_backbone_are_told_as_such():
    state = {k: np.ones(s, "f4") for k, s in network.full_shapes("resnet34").items()}
    text = complaint(state)
    assert "these are weights of resnet34: set the backbone to resnet34" in text and len(text) < 200


def test_a_file_of_something_else_is_told_by_its_names():
    text = complaint({"encoder.layer.0.query": np.ones(2, "f4")})
    assert "(0 of 100 tensors do); the file holds encoder.layer.0.query" in text
    assert len(text) < 200


def test_numbers_that_no_memory_holds_are_not_looked_at(full):
    huge = np.broadcast_to(np.float32(0), (10**13,))
    assert "1 extra: huge" in complaint({**full, "huge": huge})


def test_whole_numbers_are_no_weights(full):
    text = complaint({**full, "conv1.weight": np.ones((64, 3, 7, 7), int)})
    assert "1 not floats: conv1.weight" in text


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


@pytest.mark.parametrize("around", ["state_dict", "model_state_dict", "model"])
def test_containers_of_training_scripts_are_opened(tmp_path, around):
    paddle.save({around: {"a": paddle.ones([2])}, "epoch": 3}, str(tmp_path / "a.pdparams"))
    assert list(weights.read(tmp_path / "a.pdparams")) == ["a"]


def test_missing_tensors_are_named(full):
    left = {k: v for k, v in full.items() if k not in ("conv1.weight", "layer3.0.bn2.bias")}
    assert "2 missing: conv1.weight, layer3.0.bn2.bias" in complaint(left)


def test_extra_tensors_are_named(full):
    text = complaint({**full, "head.weight": np.ones(2), "layer5.bias": np.ones(2)})
    assert "2 extra: head.weight, layer5.bias" in text


def test_misshapen_tensors_are_named_with_both_shapes(full):
    text = complaint({**full, "conv1.weight": np.ones((64, 1, 7, 7)), "bn1.bias": np.ones((64, 1))})
    assert "2 misshapen" in text
    assert "conv1.weight is (64, 1, 7, 7), not (64, 3, 7, 7)" in text
    assert "bn1.bias is (64, 1), not (64,)" in text


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_tensors_that_are_not_finite_are_named(full, value):
    spoilt = full["bn1.bias"].copy()
    spoilt[5] = value
    assert "1 not finite: bn1.bias" in complaint({**full, "bn1.bias": spoilt})


def test_every_complaint_comes_in_one_message(full, tmp_path):
    state = {**full, "more": np.ones(1), "bn1.bias": np.full(64, np.nan), "bn1.weight": np.ones(1)}
    del state["conv1.weight"]
    save_file(state, tmp_path / "bad.safetensors")
    with pytest.raises(WorkError) as error:
        weights.load(tmp_path / "bad.safetensors", "resnet18", "here")
    text = str(error.value)
    assert str(tmp_path / "bad.safetensors") in text
    for part in ("1 missing: conv1.weight", "1 extra: more", "1 not finite: bn1.bias"):
        assert part in text
    assert "1 misshapen: bn1.weight is (1,), not (64,)" in text


def test_embedded_weights_take_the_place_of_the_official_ones(tmp_path, monkeypatch, caplog):
    """The fixture no_network is in force."""
    monkeypatch.setattr(sources, "MODELS", tmp_path)
    found = sources.find("resnet18")
    for word in ("resnet18-f37072fd.pth", "no network", str(tmp_path / "resnet18.pth")):
        assert word in caplog.text
    assert found.origin == "embedded" and found.name == sources.EMBEDDED["resnet18"].name
    shapes = {key: array.shape for key, array in found.state.items()}
    assert shapes == network.full_shapes("resnet18")


def test_a_file_in_models_wins_over_the_embedded_one(tmp_path, monkeypatch, full, full_file):
    monkeypatch.setattr(sources, "MODELS", tmp_path)
    (tmp_path / "resnet18.pdiparams").write_bytes(full_file.read_bytes())
    found = sources.find("resnet18")
    assert found.origin == "found at models/resnet18.pdiparams"
    assert np.array_equal(found.state["conv1.weight"], full["conv1.weight"])


def test_a_broken_file_in_models_is_an_error_not_a_fallback(tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "MODELS", tmp_path)
    (tmp_path / "resnet18.pdiparams").write_bytes(b"broken")
    with pytest.raises(WorkError, match=r"resnet18\.pdiparams"):
        sources.find("resnet18")


def test_the_file_asked_for_wins_over_all(tmp_path, monkeypatch, full_file):
    monkeypatch.setattr(sources, "MODELS", tmp_path)
    (tmp_path / "resnet18.pdiparams").write_bytes(b"broken")
    assert sources.find("resnet18", str(full_file)).origin == "given file"


@pytest.mark.parametrize("name", ["gone.pth", ""])
def test_a_weight_file_that_is_not_there_is_wrong_use(tmp_path, name):
    with pytest.raises(UsageError, match="no such weight file") as error:
        sources.find("resnet18", str(tmp_path / name))
    assert error.value.setting == "pretrained_backbone"


def convert(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["weights", "convert", *map(str, arguments)])
    monkeypatch.setattr(weights, "start_logging", lambda: None)  # it would hide messages from us
    return weights.main()


@pytest.mark.parametrize(("dtype", "off"), [("float32", 0), ("float16", 1e-3)])
def test_converted_weights_load_equal(full, tmp_path, monkeypatch, capsys, dtype, off):
    random = np.random.default_rng(1)
    state = {k: v.astype("f4") * np.float32(random.uniform(0.5, 2)) for k, v in full.items()}
    state["fc.bias"] = np.ones(1000, "f4")
    save_file(state, tmp_path / "in.safetensors")
    target = tmp_path / "out.safetensors"
    options = () if dtype == "float32" else ("--dtype", dtype)
    assert not convert(monkeypatch, tmp_path / "in.safetensors", target, *options)
    assert {array.dtype for array in load_file(target).values()} == {np.dtype(dtype)}
    found = weights.load(target, "resnet18", "converted")
    assert list(found.state) == list(full)
    for key, array in found.state.items():
        np.testing.assert_allclose(array.astype("f4"), state[key], rtol=off)
    assert found.sha256 in capsys.readouterr().out


@pytest.mark.parametrize("told", ["--tensorflow", "--no-tensorflow", None])
def test_converter_is_told_where_timms_weights_come_from(tmp_path, monkeypatch, caplog, told):
    of_timm = names.modules("efficientnet_b0", "timm")
    modules = {ours: theirs for theirs, ours in of_timm.items()}
    theirs = {}
    for key, shape in network.full_shapes("efficientnet_b0").items():
        module, _, leaf = key.rpartition(".")
        theirs[f"{modules[module]}.{leaf}"] = np.ones(shape, "f4")
    save_file(theirs, tmp_path / "in.safetensors")
    options = ("--backbone", "efficientnet_b0", *([told] if told else []))
    convert(monkeypatch, tmp_path / "in.safetensors", tmp_path / "out.safetensors", *options)
    found = weights.load(tmp_path / "out.safetensors", "efficientnet_b0", "x")
    assert found.variant["padding"] == ("same" if told == "--tensorflow" else "symmetric")
    assert ("has timm's names" in caplog.text) == (told is None)


def test_converter_refuses_values_beyond_float16(full, tmp_path, monkeypatch):
    large = np.full(64, 1e6, "f4")
    save_file({**full, "bn1.running_var": large}, tmp_path / "in.safetensors")
    with np.errstate(over="ignore"), pytest.raises(WorkError, match=r"float16.*bn1\.running_var"):
        target = tmp_path / "out.safetensors"
        convert(monkeypatch, tmp_path / "in.safetensors", target, "--dtype", "float16")
    assert [path.name for path in tmp_path.iterdir()] == ["in.safetensors"]


def test_converter_leaves_the_old_file_where_the_source_is_bad(tmp_path, monkeypatch):
    source, target = tmp_path / "in.pth", tmp_path / "out.safetensors"
    source.write_bytes(b"broken")
    target.write_bytes(b"old")
    with pytest.raises(WorkError, match=r"in\.pth"):
        convert(monkeypatch, source, target)
    assert target.read_bytes() == b"old"


def test_converter_writes_safetensors_only(full_file, tmp_path, monkeypatch):
    with pytest.raises(UsageError, match=r"out\.pth: .* must end with \.safetensors"):
        convert(monkeypatch, full_file, tmp_path / "out.pth")
    with pytest.raises(UsageError, match=r"gone\.pth': no such weight file; give PyTorch's"):
        convert(monkeypatch, tmp_path / "gone.pth", tmp_path / "out.safetensors")


def test_converter_names_a_folder_it_cannot_write_to(full_file, tmp_path, monkeypatch):
    with pytest.raises(WorkError, match="gone.*cannot be written"):
        convert(monkeypatch, full_file, tmp_path / "gone" / "out.safetensors")


def test_an_array_that_lies_transposed_in_memory_is_converted_as_it_reads(tmp_path):
    kernel = np.arange(24, dtype="f4").reshape(2, 3, 2, 2)
    channels_last = kernel.transpose(0, 2, 3, 1).copy().transpose(0, 3, 1, 2)
    found = weights.Weights({"k": channels_last}, "k", "0" * 64, "x", {})
    weights.save(found, tmp_path / "k.safetensors")
    assert np.array_equal(load_file(tmp_path / "k.safetensors")["k"], kernel)


def test_a_safetensors_header_of_any_length_is_told_from_a_pickle(tmp_path):
    for n in range(60, 76):  # header lengths of 128 among them, which begin as a pickle does
        save_file({"a" * n: np.ones(3, "f4")}, tmp_path / "a.safetensors")
        assert list(weights.read(tmp_path / "a.safetensors")) == ["a" * n]


def test_a_state_dict_inside_itself_ends(tmp_path):
    state = {"a": np.ones(2, "f4")}
    state["model"] = state
    (tmp_path / "a.pdparams").write_bytes(pickle.dumps(state, 4))
    assert list(weights.read(tmp_path / "a.pdparams")) == ["a"]


@pytest.mark.parametrize("odd", [{0: np.ones(2)}, {"conv1.weight": np.array(["a"])}])
def test_what_is_no_tensor_is_no_traceback(tmp_path, odd):
    (tmp_path / "a.pdparams").write_bytes(pickle.dumps(odd, 4))
    with pytest.raises(WorkError, match=r"a\.pdparams"):
        weights.load(tmp_path / "a.pdparams", "resnet18", "test")


def test_paddles_bfloat16_is_widened(tmp_path):
    halves = paddle.to_tensor([1.5, -2.5]).astype("bfloat16")
    paddle.save({"a": halves}, str(tmp_path / "a.pdparams"))
    assert weights.read(tmp_path / "a.pdparams")["a"].tolist() == [1.5, -2.5]


SANE = {
    "conv.weight": np.full((2, 3, 1, 1), 0.5, "f2"),
    "bn.running_var": np.array([0, 1], "f2"),  # half precision: a small variance became 0
    "bn.bias": np.zeros(2, "f4"),
}


@pytest.mark.parametrize(
    ("name", "array", "expected"),
    [
        ("conv.weight", np.ones((2, 3, 1, 1), int), "1 not floats: conv.weight"),
        ("bn.bias", np.array([0, np.nan]), "1 not finite: bn.bias"),
        ("bn.running_var", np.array([1, np.inf]), "1 not finite: bn.running_var"),
        ("bn.running_var", np.array([1, -1e-6]), "1 negative: bn.running_var"),
        ("bn.running_var", np.zeros(2), "1 zero throughout: bn.running_var"),
        ("conv.weight", np.zeros((2, 3, 1, 1)), "1 zero throughout: conv.weight"),
    ],
)
def test_numbers_that_cannot_be_weights_are_named(name, array, expected):
    assert sanity.problems(SANE) == []
    assert sanity.problems({**SANE, name: array}) == [expected]


def test_many_problems_make_a_short_text():
    state = {f"layer{i}.weight": np.zeros((1, 1)) for i in range(500)}
    (text,) = sanity.problems(state)
    assert text.startswith("500 zero throughout: layer0.weight, ") and text.endswith("497 more")


def test_a_kernel_of_zeros_is_refused(full):
    zeros = np.zeros_like(full["layer1.0.conv1.weight"])
    assert "1 zero throughout: layer1.0.conv1.weight" in complaint(
        {**full, "layer1.0.conv1.weight": zeros}
    )


def test_only_tensors_that_fit_are_read(full, tmp_path, monkeypatch):
    path = tmp_path / "a.safetensors"
    save_file({**full, "fc.weight": np.ones((1000, 512), "f2")}, path)
    needed = sum(array.nbytes for array in full.values())
    monkeypatch.setattr(contents.Allowance.__init__, "__defaults__", (needed,))
    assert same(weights.load(path, "resnet18", "x").state, full)
