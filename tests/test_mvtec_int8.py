"""EfficientNet-Lite's figures on MVTec AD bottle in int8 are those of float32.

Skipped unless MVTEC_PATH is the folder of MVTec AD.
"""

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
pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(
        not MVTEC or not (Path(MVTEC) / "bottle").is_dir(), reason="MVTEC_PATH names no MVTec AD"
    ),
    pytest.mark.skipif(not has_int8(), reason="the processor has no AVX2"),
]


def test_int8_keeps_the_figures(tmp_path):
    data = ("--data_path", MVTEC, "--category", "bottle", "--save_path", tmp_path)
    options = ("--backbone", "efficientnet_lite0", "--log_dir", tmp_path, "--val")
    assert call("train", *data, *options, "--no-save_picture").code == 0
    expected = json.loads((tmp_path / "bottle/metrics.json").read_text())
    model, good = tmp_path / "bottle", Path(MVTEC) / "bottle/train/good"
    command = ("export_model.py", "--model_path", model, "--save_dir", tmp_path, "--quantize", good)
    done = subprocess.run([sys.executable, *map(str, command)], cwd=ROOT, capture_output=True)
    assert done.returncode == 0, done.stderr
    files, engine = ExportedFiles.within(tmp_path), Engine(device="cpu", precision="int8")
    detector = open_exported(files, engine, batch_size=32)
    test = mvtec.open_category(Path(MVTEC), "bottle").test
    with Loader(test, Transform(detector.record.preprocessing), masks=True) as batches:
        found = measure(score_all(detector.score, batches, lambda batch: None)).record()
    for kind, figure in (("image", "auroc"), ("pixel", "auroc"), ("pixel", "aupro")):
        assert found[kind][figure] > expected[kind][figure] - 0.002, figure
