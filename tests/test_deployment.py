"""export_model.py and infer.py as a user calls them: the same scores as the checkpoint."""

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import paddle
import pytest

from common.errors import UsageError
from common.preprocessing import Preprocessing
from models import checkpoint
from models.checkpoint import DISTRIBUTION
from models.engine import Engine, has_bfloat16
from models.predictor import _on_gpu, require_tensorrt
from tests.conftest import call, fails, rows

ROOT = Path(__file__).resolve().parent.parent
pytestmark = pytest.mark.process


@pytest.fixture(scope="module")
def predicted(trained, demo, tmp_path_factory) -> list[dict]:
    maps = tmp_path_factory.mktemp("maps")
    return rows(
        *("predict", "--model_path", trained / "flange", "--picture_path", demo / "flange/test"),
        *("--no-save_picture", "--save_map", maps),
    )


@pytest.fixture
def copied(exported, tmp_path) -> Path:
    return shutil.copytree(exported, tmp_path / "copied")


@pytest.fixture
def chips(demo):
    return demo / "flange/test/chip"


def infer(folder, pictures, *arguments):
    return call("infer", "--model_dir", folder, "-i", pictures, *arguments)


def same(found: list[dict], expected: list[dict], scores=1e-4, maps=1e-3) -> None:
    assert len(found) == len(expected) == 12
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.keys() == theirs.keys()
        assert (ours["path"], ours["verdict"]) == (theirs["path"], theirs["verdict"])
        assert ours["score"] == pytest.approx(theirs["score"], rel=scores)
        one, other = np.load(ours["map"]), np.load(theirs["map"])
        assert np.abs(one - other).max() < maps * np.ptp(other)


@pytest.mark.parametrize(
    "options",
    [(), ("-b", 1), ("-b", 5), ("--enable_mkldnn", "False"), ("--ir_optim=False",)],
)
def test_exported_files_judge_as_the_checkpoint_does(exported, demo, predicted, tmp_path, options):
    options += ("--save_map", tmp_path, "--cpu_threads", 1, "--seed", 3)
    same(rows(*_call(exported, demo / "flange/test", *options)), predicted)


def _call(folder, pictures, *options):
    return ("infer", "--model_dir", folder, "--input_file", pictures, *options)


def test_a_fused_graph_does_too(exported, demo, predicted, tmp_path):
    fused = next(exported.glob("fused.*")).with_suffix(".json")
    options = ("--model_file", fused, "--save_map", tmp_path)
    same(rows("infer", "-i", demo / "flange/test", *options), predicted)


@pytest.fixture(scope="module")
def onnx(trained, tmp_path_factory) -> Path:
    for package in ("paddle2onnx", "onnxruntime"):
        pytest.importorskip(package)
    folder = tmp_path_factory.mktemp("onnx")
    options = ("--model_path", trained / "flange", "--format", "onnx", "--fused")
    result = call("export_model", "--save_dir", folder, *options)
    assert result.code == 0, result.err
    names = sorted(path.name for path in folder.iterdir())
    assert names == ["distribution", "fused.onnx", "model.onnx"]
    assert result.lines == [str(folder / name) for name in names]
    return folder


@pytest.mark.parametrize("graph", ["model.onnx", "fused.onnx"])
def test_onnx_graphs_do_too(onnx, demo, predicted, tmp_path, graph):
    options = ("--model_file", onnx / graph, "--save_map", tmp_path)
    same(rows("infer", "-i", demo / "flange/test", *options), predicted)


def test_a_float16_distribution_is_half_as_large(trained, exported, demo, predicted, tmp_path):
    half = tmp_path / "half"
    options = ("--model_path", trained / "flange", "--distribution_dtype", "float16")
    assert call("export_model", "--save_dir", half, *options).code == 0
    sizes = [(folder / "distribution").stat().st_size for folder in (half, exported)]
    assert sizes[0] < 0.6 * sizes[1]
    options = ("--save_map", tmp_path / "maps")
    same(rows(*_call(half, demo / "flange/test", *options)), predicted, scores=5e-3, maps=1e-2)


@pytest.mark.skipif(not has_bfloat16(), reason="the processor has no bfloat16")
@pytest.mark.skipif(paddle.__version__ < "3", reason="not tried on Paddle 2 yet")
def test_in_bfloat16_scores_hardly_change(exported, demo, predicted, tmp_path):
    options = ("--save_map", tmp_path, "--precision", "bf16")
    found = rows(*_call(exported, demo / "flange/test", *options))
    for ours, theirs in zip(found, predicted, strict=True):
        assert ours["score"] == pytest.approx(theirs["score"], rel=0.05)


def test_a_line_a_picture_as_predict_prints_it(exported, trained, chips):
    options = ("--model_path", trained / "flange", "--no-save_picture")
    lines = call("predict", "--picture_path", chips, *options).lines
    found = infer(exported, chips).lines
    for ours, theirs in zip(found, lines, strict=True):
        assert ours.split("\t")[::2] == theirs.split("\t")[::2]
        assert float(ours.split("\t")[1]) == pytest.approx(float(theirs.split("\t")[1]), rel=1e-4)


def test_sheets_where_they_are_asked_for(exported, chips, tmp_path):
    result = infer(exported, chips, "--save_picture", "--save_path", tmp_path / "sheets")
    assert result.code == 0, result.err
    assert sorted(p.name for p in (tmp_path / "sheets").glob("*.png")) == ["000.png", "001.png"]


@pytest.mark.process
def test_inference_imports_nothing_of_training(exported, chips):
    code = (
        "import sys; sys.argv = ['infer.py', '--model_dir', sys.argv[1], '-i', sys.argv[2]]\n"
        "import infer; infer.main(); print(*sys.modules, sep='\\n')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, exported, chips], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    modules = set(done.stdout.splitlines())
    assert "models.deployed" in modules
    unwanted = ("matplotlib", "sklearn", "skimage", "models.layers", "models.backbones.network")
    unwanted += ("tasks.training", "evaluation.figures", "evaluation.metrics", "models.export")
    assert not modules & set(unwanted)


def test_the_other_paddles_suffix_is_found(exported, chips):
    there = next(path for path in exported.glob("model.*") if path.suffix != ".pdiparams")
    other = {".json": ".pdmodel", ".pdmodel": ".json"}[there.suffix]
    options = ("--model_file", there.with_suffix(other))
    assert len(call("infer", "-i", chips, *options).lines) == 2


def test_a_bad_picture_does_not_keep_the_others_from_their_answers(exported, chips, tmp_path):
    folder = shutil.copytree(chips, tmp_path / "in")
    (folder / "000a.png").write_bytes(b"no picture")
    result = infer(exported, folder)
    assert (result.code, len(result.lines)) == (1, 2)
    assert "000a.png" in result.err
    assert infer(exported, folder, "--skip_bad").code == 0


@pytest.mark.parametrize("graph", ["model.json", "fused.json"])
def test_a_distribution_of_another_graph_is_refused(exported, other_export, chips, graph):
    result = infer(
        exported, chips, "--model_file", exported / graph, "--distribution", other_export
    )
    fails(result, 1, "graph", "another export", "export_model.py")
    assert result.out == ""


def test_a_distribution_that_fits_in_shape_alone_is_refused(copied, chips):
    arrays, record = checkpoint.load(copied / "distribution", DISTRIBUTION)
    arrays["head.mean0"] = arrays["head.mean0"] + 1
    checkpoint.save(copied / "distribution", arrays, record, DISTRIBUTION)
    fails(infer(copied, chips), 1, "distribution", "the map of the probe picture is wrong by")


@pytest.mark.parametrize("kind", ["exported", "onnx"])
def test_a_distribution_of_another_picture_size_is_refused(request, tmp_path, chips, kind):
    folder = request.getfixturevalue(kind)
    path = tmp_path / "distribution"
    arrays, record = checkpoint.load(folder / "distribution", DISTRIBUTION)
    record = replace(record, preprocessing=Preprocessing(96, (96, 96)))
    checkpoint.save(path, arrays, record, DISTRIBUTION)
    graph = folder / ("model.onnx" if kind == "onnx" else "model.json")
    result = infer(folder, chips, "--model_file", graph, "--distribution", path)
    fails(result, 1, "distribution", "does not fit the graph")


class Recorder:
    """Stands in for Paddle's Config: keeps each call's arguments."""

    def __init__(self):
        self.calls = {}

    def __getattr__(self, name):
        return lambda *args, **kwargs: self.calls.setdefault(name, (args, kwargs))


def test_a_gpu_is_told_memory_number_precision_and_shapes(monkeypatch):
    from paddle import inference

    monkeypatch.setattr(inference, "get_trt_compile_version", lambda: (8, 5, 1))
    config = Recorder()
    engine = Engine("gpu:1", "fp16", gpu_memory=500, tensorrt_batch=4)
    _on_gpu(config, engine, (64, 96))
    half = inference.PrecisionType.Half
    assert config.calls["enable_use_gpu"] == ((500, 1, half), {})
    tensorrt = config.calls["enable_tensorrt_engine"][1]
    assert (tensorrt["max_batch_size"], tensorrt["precision_mode"]) == (4, half)
    shapes = config.calls["set_trt_dynamic_shape_info"][0]
    assert [shape["image"] for shape in shapes] == [[1, 3, 64, 96], [4, 3, 64, 96], [4, 3, 64, 96]]


def test_tensorrt_that_is_not_built_in_is_wrong_use():
    with pytest.raises(UsageError, match="no TensorRT"):
        require_tensorrt(".pdmodel")


def test_files_of_an_earlier_export_do_not_stay_beside_new_ones(exported, trained, tmp_path):
    for name in ("model.json", "model.pdmodel", "fused.pdiparams", "model.onnx", "mine.txt"):
        (tmp_path / name).write_bytes(b"old")
    options = ("--model_path", trained / "flange", "--save_dir", tmp_path)
    assert call("export_model", *options).code == 0
    names = {path.name for path in exported.iterdir() if not path.name.startswith("fused")}
    assert {path.name for path in tmp_path.iterdir()} == names | {"mine.txt"}


def test_a_threshold_and_names_of_ones_own(exported, chips, tmp_path):
    params = shutil.copy(exported / "model.pdiparams", tmp_path / "weights.bin")
    options = ("--params_file", params, "--threshold", 0.001, "--save_picture")
    target = tmp_path / "sheet.png"
    result = infer(exported, chips / "000.png", *options, "--save_path", target)
    assert result.code == 0, result.err
    assert result.out.split("\t")[2] == "defective\n" and target.exists()
