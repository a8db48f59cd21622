"""PatchCore's figures on MVTec AD bottle; skipped unless MVTEC_PATH is the folder of MVTec AD."""

import json
import time
from pathlib import Path

import pytest

from common.timing import peak_memory
from tests.conftest import call
from tests.test_mvtec_bottle import MVTEC, pytestmark  # noqa: F401 - skips these tests, too


@pytest.mark.parametrize(
    ("weights", "image", "pixel"), [("auto", 0.99, 0.97), ("embedded", 0.97, 0.95)]
)
def test_bottle_reaches_its_figures(tmp_path, weights, image, pixel):
    start = time.perf_counter()
    result = call(
        *("train", "--data_path", MVTEC, "--category", "bottle", "--save_path", tmp_path),
        *("--method", "patchcore", "--pretrained_backbone", weights, "--val"),
        *("--log_dir", tmp_path),
    )
    assert result.code == 0, result.err
    assert time.perf_counter() - start < 360 and peak_memory() < 4 * 2**30
    metrics = json.loads((Path(tmp_path) / "bottle" / "metrics.json").read_text())
    assert metrics["image"]["auroc"] >= image
    assert metrics["pixel"]["auroc"] >= pixel
