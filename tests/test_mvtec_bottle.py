"""The README's figures on MVTec AD bottle; skipped unless MVTEC_PATH is the folder of MVTec AD."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from datasets import mvtec
from datasets.loader import Loader
from datasets.transforms import Transform
from evaluation.figures import measure
from evaluation.testing import score_all
from models.deployed import ExportedFiles, open_exported
from models.engine import Engine, has_int8
from tests.conftest import call

ROOT = Path(__file__).resolve().parent.parent
MVTEC = os.environ.get("MVTEC_PATH")
pytestmark = pytest.mark.skipif(
    not MVTEC or not (Path(MVTEC) / "bottle").is_dir(), reason="MVTEC_PATH names no MVTec AD"
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    output = tmp_path_factory.mktemp("bottle")
    result = call(
        *("train", "--data_path", MVTEC, "--category", "bottle", "--save_path", output),
        *("--log_dir", output, "--val", "True", "--no-save_picture"),
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


def test_exported_files_judge_all_pictures_as_the_validation_did(trained, tmp_path):
    assert call("export_model", "--model_path", trained, "--save_dir", tmp_path).code == 0
    result = call("infer", "--model_dir", tmp_path, "-i", Path(MVTEC) / "bottle/test")
    assert result.code == 0, result.err
    found = {path: (float(score), word) for path, score, word in map(str.split, result.lines)}
    with (trained / "scores.csv").open() as file:
        validated = {row["path"]: row for row in csv.DictReader(file)}
    assert found.keys() == validated.keys() and len(found) == 83
    for path, (score, word) in found.items():
        assert score == pytest.approx(float(validated[path]["score"]), rel=1e-4)
        assert word == validated[path]["verdict"]


@pytest.mark.process
@pytest.mark.skipif(not has_int8(), reason="the processor has no AVX2")
def test_int8_keeps_the_figures(trained, tmp_path):
    expected = json.loads((trained / "metrics.json").read_text())
    good = sorted((Path(MVTEC) / "bottle/train/good").iterdir())[:32]
    for path in good:
        (tmp_path / path.name).symlink_to(path.resolve())
    save = tmp_path / "exported"
    command = ("export_model.py", "--model_path", trained, "--save_dir", save, "--quantize")
    command = [sys.executable, *map(str, command), str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True)
    assert done.returncode == 0, done.stderr
    files, engine = ExportedFiles.within(save), Engine(device="cpu", precision="int8")
    detector = open_exported(files, engine, batch_size=32)
    test = mvtec.open_category(Path(MVTEC), "bottle").test
    with Loader(test, Transform(detector.record.preprocessing), masks=True) as batches:
        found = measure(score_all(detector.score, batches, lambda batch: None)).record()
    for kind, figure in (("image", "auroc"), ("pixel", "auroc"), ("pixel", "aupro")):
        assert found[kind][figure] > expected[kind][figure] - 0.002, figure
