"""PatchCore in the scripts."""

import pytest

from models.heads.patchcore import duration
from models.methods import PatchCoreSettings
from models.open_export import GRAPHS
from tests.conftest import NO_GRAPH, WEIGHTS, call, fails


def test_a_ratio_out_of_range_is_refused(demo, tmp_path):
    data = ("--data_path", demo, "--save_path", tmp_path, "--log_dir", tmp_path)
    method = ("--method", "patchcore", "--coreset_ratio")
    fails(call("train", *data, *method, "0"), 2, "coreset_ratio 0.0", "above 0")
    fails(call("train", *data, *method, "1.5"), 2, "coreset_ratio 1.5", "at most 1")
    fails(call("train", *data, "--coreset_ratio", "0.5"), 2, "--coreset_ratio", "padim")


def scores(result) -> list[float]:
    assert result.code == 0, result.err
    return [float(line.split("\t")[1]) for line in result.lines]


@pytest.mark.process
def test_patchcore_runs_through_every_script(demo, tmp_path, monkeypatch):
    monkeypatch.setattr(duration, "LONG", 0)
    monkeypatch.setattr(duration, "SHORT", 0)
    output, deployed, log = tmp_path / "output", tmp_path / "deployed", tmp_path / "flange.log"
    data = ("--data_path", demo, "--category", "flange", "--save_path", output)
    small = ("--resize", 64, "--img_size", 64, "--batch_size", 4, *WEIGHTS)
    method = ("--method", "patchcore", "--coreset_ratio", "0.2")
    trained = call("train", *data, *small, *method, "--val", "--log_dir", tmp_path)
    assert trained.code == 0, trained.err
    assert "coreset: 102/102 patches" in log.read_text()
    stated = "flange: the bank will have 102 of 512 patches (0 MB); choosing them takes about 0 s"
    assert 0 <= trained.err.find(stated) < trained.err.find("fit flange")
    validated = call("val", *data, "--save_picture", "False")
    assert validated.lines[-2:] == trained.lines[-2:]

    pictures, model = demo / "flange" / "test" / "rust", output / "flange"
    batch = ("--batch_size", 2)
    found = scores(call("predict", "--picture_path", pictures, "--model_path", model, *batch,
                        "--no-save_picture"))  # fmt: skip
    alone = call("predict", "--picture_path", pictures / "000.png", "--model_path", model,
                 "--no-save_picture", *NO_GRAPH)  # fmt: skip
    assert scores(alone) == pytest.approx(found[:1], rel=1e-5)
    export = ("export_model", "--model_path", model, "--fused")
    assert call(*export, "--save_dir", deployed).code == 0
    onnx = call(*export, "--save_dir", tmp_path / "onnx", "--format", "onnx")
    assert onnx.code == 0, onnx.err
    for folder in (deployed, tmp_path / "onnx"):
        inferred = call("infer", "-i", pictures, "--model_dir", folder)
        assert scores(inferred) == pytest.approx(found, rel=1e-4)
        graph = next(path for path in folder.glob("fused.*") if path.suffix in GRAPHS)
        fused = call("infer", "-i", pictures, "--model_file", graph, *batch)
        assert scores(fused) == pytest.approx(found, rel=1e-4)


def test_an_unknown_search_is_refused():
    with pytest.raises(ValueError, match="search 'near': expected one of exact, approximate"):
        PatchCoreSettings(search="near")
