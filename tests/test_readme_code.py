"""The Python code shown in both READMEs runs; texts serve wherever a path is expected."""

import ast
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from common.preprocessing import Preprocessing
from datasets.samples import pictures_in
from datasets.transforms import Transform, read_mask
from inspection import Inspector, fit
from models import checkpoint
from models.deployed import ExportedFiles
from models.engine import Engine
from models.loading import load_detector
from tests.conftest import call

ROOT = Path(__file__).resolve().parent.parent
pytestmark = pytest.mark.process


def shown(client: bool = False) -> list[str]:
    """The blocks of Python in both READMEs; those that differ in comments only, once.

    client : those that need a service, for tests/test_service.py; False: the others
    """
    texts = [(ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "README_cn.md")]
    blocks = [re.findall(r"```python\n(.*?)```", text, re.DOTALL) for text in texts]
    assert len(blocks[0]) == len(blocks[1]) >= 3
    different = {ast.dump(ast.parse(block)): block for block in sum(blocks, [])}.values()
    return [block for block in different if ("urlopen" in block) == client]


@pytest.fixture
def place(trained, demo, tmp_path, monkeypatch) -> Path:
    """A folder with what the code in the READMEs names: a model, two pictures, a data set."""
    shutil.copytree(trained / "flange", tmp_path / "output/screw")
    shutil.copy(demo / "flange/test/good/000.png", tmp_path / "a.png")
    shutil.copy(demo / "flange/test/rust/000.png", tmp_path / "b.png")
    good = tmp_path / "data/screw/train/good"
    good.mkdir(parents=True)
    for path in sorted((demo / "flange/train/good").glob("*.png"))[:3]:
        shutil.copy(path, good)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_code_in_the_readmes_runs(place, capsys):
    blocks = shown()
    assert len(blocks) == 3  # both languages show the same code
    for block in blocks:
        exec(compile(block, "README", "exec"), {})
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[:2]] == ["a.png", "b.png"]
    assert len(lines) == 3 and float(lines[2]) > 0
    assert checkpoint.load_record("screw.pdparams").category == "screw"


def test_texts_serve_as_paths(exported, place):
    cpu, text = Engine(device="cpu"), str(place / "output/screw")
    assert Inspector.is_model(text)
    pictures = [str(path) for path in pictures_in(str(place / "data/screw/train/good"))]
    transform = Transform(Preprocessing(64, (64, 64)))
    assert transform.picture("a.png").shape == (64, 64, 3)
    assert read_mask("a.png").shape == (96, 96)
    judged = list(Inspector.open(text, cpu).inspect(pictures))
    assert [j.source for j in judged] == pictures
    known = load_detector(f"{text}/best.pdparams", cpu).record
    assert Inspector.open_checkpoint(f"{text}/best.pdparams", cpu).record == known
    names = [os.fspath(path) for path in sorted(exported.iterdir())]
    graph = next(name for name in names if "model.json" in name or "model.pdmodel" in name)
    files = ExportedFiles(graph, str(exported / "model.pdiparams"), str(exported / "distribution"))
    assert files == ExportedFiles.within(str(exported)) == ExportedFiles.beside(graph)
    found = list(Inspector.open_exported(files, cpu).inspect(pictures[:1]))
    assert found[0].score == pytest.approx(judged[0].score, rel=1e-4)


def test_texts_serve_as_paths_in_fitting(place):
    settings = {"pretrained_backbone": "embedded", "backbone": "resnet18", "dims": 10}
    pictures = [str(path) for path in pictures_in("data/screw/train/good")]
    small = Preprocessing(64, (64, 64))
    fitted = fit(pictures, folder=".", preprocessing=small, **settings)
    assert [row.source for row in fitted.audit()] == sorted(
        pictures, key=lambda path: -fitted.normal.image[pictures.index(path)]
    )
    fitted.save("small.pdparams")
    found = next(iter(fitted.inspector().inspect(["a.png"])))
    result = call("predict", "--model_path", "small.pdparams", "--picture_path", "a.png")
    assert result.code == 0 and np.isclose(float(result.out.split("\t")[1]), found.score, 1e-5)
