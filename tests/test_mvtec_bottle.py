"""The README's figures on MVTec AD bottle; skipped unless MVTEC_PATH is the folder of MVTec AD."""

import csv
import json
import os
from pathlib import Path

import pytest

from tests.conftest import call

MVTEC = os.environ.get("MVTEC_PATH")
pytestmark = pytest.mark.skipif(
    not MVTEC or not (Path(MVTEC) / "bottle").is_dir(), reason="MVTEC_PATH names no MVTec AD"
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    output = tmp_path_factory.mktemp("bottle")
    result = call(
        *("train", "--data_path", MVTEC, "--category", "bottle", "--save_path", output),
        *("--log_dir", output, "--val", "True"),
    )
    assert result.code == 0, result.err
    return output / "bottle"


def test_bottle_reaches_its_figures(trained):
    metrics = json.loads((trained / "metrics.json").read_text())
    assert metrics["pictures"] == {"good": 20, "defective": 63}
    assert metrics["image"]["auroc"] >= 0.985
    assert metrics["pixel"]["auroc"] >= 0.970
    assert metrics["pixel"]["aupro"] >= 0.90


def test_alone_or_in_its_folder_a_picture_has_the_same_score(trained):
    folder = Path(MVTEC) / "bottle/test/contamination"
    options = ("--model_path", trained, "--json", "--no-save_picture", "--picture_path")
    together = [json.loads(line) for line in call("predict", *options, folder).lines]
    for row in together[::7]:
        alone = json.loads(call("predict", *options, row["path"]).out)
        assert alone["score"] == pytest.approx(row["score"], rel=1e-5)
        assert alone["verdict"] == row["verdict"]


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_exported_files_judge_all_pictures_as_the_validation_did(trained, tmp_path, dtype):
    export = ("--model_path", trained, "--save_dir", tmp_path, "--distribution_dtype", dtype)
    assert call("export_model", *export).code == 0
    result = call("infer", "--model_dir", tmp_path, "-i", Path(MVTEC) / "bottle/test")
    assert result.code == 0, result.err
    found = {path: (float(score), word) for path, score, word in map(str.split, result.lines)}
    with (trained / "scores.csv").open() as file:
        validated = {row["path"]: row for row in csv.DictReader(file)}
    assert found.keys() == validated.keys() and len(found) == 83
    for path, (score, word) in found.items():
        tolerance = {"float32": 1e-4, "float16": 1e-3}[dtype]
        assert score == pytest.approx(float(validated[path]["score"]), rel=tolerance)
        assert word == validated[path]["verdict"]
