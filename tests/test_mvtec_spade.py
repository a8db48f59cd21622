"""SPADE's figures on MVTec AD bottle; skipped unless MVTEC_PATH is the folder of MVTec AD."""

import json
import os
from pathlib import Path

import pytest

from tests.conftest import call

MVTEC = os.environ.get("MVTEC_PATH")
pytestmark = pytest.mark.skipif(
    not MVTEC or not (Path(MVTEC) / "bottle").is_dir(), reason="MVTEC_PATH names no MVTec AD"
)


def test_bottle_reaches_its_figures(tmp_path):
    result = call(
        *("train", "--data_path", MVTEC, "--category", "bottle", "--method", "spade", "--val"),
        *("--save_path", tmp_path, "--log_dir", tmp_path, "--no-save_picture"),
    )
    assert result.code == 0, result.err
    metrics = json.loads((tmp_path / "bottle" / "metrics.json").read_text())
    assert metrics["image"]["auroc"] >= 0.985
    assert metrics["pixel"]["auroc"] >= 0.975
    assert metrics["pixel"]["aupro"] >= 0.93
