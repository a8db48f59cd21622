"""`python -m models.backbones.weights convert`."""

import sys

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from common.errors import UsageError, WorkError
from models.backbones import names, network, weights

pytestmark = pytest.mark.usefixtures("shapes_once")


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
