"""Judges a picture with a model file, for tests of damaged ones."""

from pathlib import Path

from tests.conftest import call


def predict(path: Path, demo: Path, tmp_path: Path):
    picture = demo / "flange" / "test" / "good" / "000.png"
    return call(
        *("predict", "--picture_path", picture, "--model_path", path),
        *("--save_path", tmp_path / "sheet.png"),
    )
