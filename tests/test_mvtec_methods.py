"""Figures of the other methods on MVTec AD bottle; skipped unless MVTEC_PATH names MVTec AD.

They learn from every third picture, which takes a fraction of the time. The figures with all of
them are in docs/methods.md.
"""

import json
from pathlib import Path

import pytest

from common.timing import peak_memory
from tests.conftest import call
from tests.test_mvtec_bottle import MVTEC, pytestmark  # noqa: F401 - skips these tests, too


@pytest.fixture(scope="module")
def third(tmp_path_factory) -> Path:
    """bottle with a third of its training pictures, as links."""
    root, bottle = tmp_path_factory.mktemp("third"), Path(MVTEC).resolve() / "bottle"
    good = root / "bottle/train/good"
    good.mkdir(parents=True)
    for path in sorted((bottle / "train/good").iterdir())[::3]:
        (good / path.name).symlink_to(path)
    for name in ("test", "ground_truth"):
        (root / "bottle" / name).symlink_to(bottle / name)
    return root


@pytest.mark.parametrize(
    ("method", "image", "pixel"), [("patchcore", 0.99, 0.97), ("spade", 0.98, 0.97)]
)
def test_bottle_reaches_its_figures(third, tmp_path, method, image, pixel):
    result = call(
        *("train", "--data_path", third, "--category", "bottle", "--save_path", tmp_path),
        *("--method", method, "--val", "--no-save_picture", "--log_dir", tmp_path),
        "--no-calibrate",
    )
    assert result.code == 0, result.err
    assert peak_memory() < 4 * 2**30
    metrics = json.loads((tmp_path / "bottle" / "metrics.json").read_text())
    assert metrics["image"]["auroc"] >= image
    assert metrics["pixel"]["auroc"] >= pixel
