"""Damaged files and wrong use of export_model.py and infer.py: one line that names the fault."""

import shutil
import sys
from pathlib import Path

import paddle
import pytest

from models.engine import has_bfloat16
from tests.conftest import call, fails

pytestmark = pytest.mark.process


@pytest.fixture
def copied(exported, tmp_path) -> Path:
    """A copy of the exported files, to be damaged."""
    return shutil.copytree(exported, tmp_path / "copied")


@pytest.fixture
def chips(demo):
    return demo / "flange/test/chip"


def infer(folder, pictures, *arguments):
    return call("infer", "--model_dir", folder, "-i", pictures, *arguments)


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        ("model.pdiparams", None, 2),
        ("model.txt", b"{}", 2),
        ("model.pdmodel", b"{}", 1),
        ("model.json", b"\x0a\x00", 1),
    ],
)
def test_what_is_no_graph_is_named(copied, chips, name, content, code):
    if content is not None:
        (copied / name).write_bytes(content)
    fails(infer(copied, chips, "--model_file", copied / name), code, name, "graph")


def test_onnx_without_its_packages_names_what_to_install(trained, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "paddle2onnx", None)
    options = ("--model_path", trained / "flange", "--format", "onnx", "--save_dir", tmp_path)
    fails(call("export_model", *options), 1, "paddle2onnx", "requirements-onnx.txt")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("keep", [0, 30, -1])
@pytest.mark.parametrize("name", ["distribution", "model.pdiparams", "model.json"])
def test_a_truncated_file_is_named(copied, chips, name, keep):
    path = next(copied.glob(name.replace(".json", ".*[nl]")))
    path.write_bytes(path.read_bytes()[:keep])
    result = infer(copied, chips)
    fails(result, 1, path.name, "export_model.py")
    assert result.out == ""


def test_a_checkpoint_is_no_distribution(exported, trained, chips):
    options = ("--distribution", trained / "flange/best.pdparams")
    fails(infer(exported, chips, *options), 1, "best.pdparams", "not a distribution")


@pytest.mark.parametrize(
    ("missing", "word"),
    [("model.*[nl]", "--model_dir"), ("*.pdiparams", "--params_file"), ("distribution", "no such")],
)
def test_a_missing_file_is_wrong_use(copied, chips, missing, word):
    for path in copied.glob(missing):
        path.unlink()
    fails(infer(copied, chips), 2, word, "export_model.py")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--use_gpu", "True"), ("no CUDA",)),
        (("--precision", "fp16"), ("--precision: fp16", "GPU")),
        (("--use_tensorrt", "True"), ("--use_tensorrt", "GPU")),
        (("--precision", "bf16", "--enable_mkldnn", "False"), ("--precision: bf16",)),
    ],
)
def test_what_the_machine_cannot_do_is_wrong_use(exported, chips, options, words):
    if paddle.is_compiled_with_cuda():
        pytest.skip("there may be a GPU")
    fails(infer(exported, chips, *options), 2, *words)


@pytest.mark.skipif(has_bfloat16(), reason="the processor has bfloat16")
@pytest.mark.parametrize("script", ["infer", "predict"])
def test_bfloat16_without_its_processor_is_wrong_use(exported, trained, chips, script):
    if script == "infer":
        result = infer(exported, chips, "--precision", "bf16")
    else:
        options = ("--model_path", trained / "flange", "--precision", "bf16")
        result = call("predict", "--picture_path", chips, *options)
    fails(result, 2, "--precision: bf16", "not support bfloat16")


def test_no_picture_is_wrong_use(exported, tmp_path):
    fails(infer(exported, tmp_path / "none"), 2, "--input_file", "no such file or folder")


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (("--img_size", 96), "64x64, not 96x96"),
        (("--category", "weave"), "trained on category flange"),
    ],
)
def test_an_export_that_names_another_model_is_wrong_use(trained, tmp_path, options, word):
    options += ("--model_path", trained / "flange", "--save_dir", tmp_path)
    fails(call("export_model", *options), 2, word)
    assert not list(tmp_path.iterdir())


def test_an_export_that_fails_leaves_the_old_files_alone(copied, trained, monkeypatch):
    before = {path.name: path.read_bytes() for path in copied.iterdir()}
    monkeypatch.setattr("models.export.TOLERANCE", -1.0)
    options = ("--model_path", trained / "flange", "--save_dir", copied, "--fused")
    fails(call("export_model", *options), 1, "differs from the network by")
    assert {path.name: path.read_bytes() for path in copied.iterdir()} == before
