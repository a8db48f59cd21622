"""Runs scripts in this process; fixtures that many tests share, with one small trained model."""

import functools
import importlib
import io
import json
import os
import sys
from collections import Counter
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from common import errors
from common.errors import run

# A script that runs in this process does not take its signals for good: processes that tests start
# would inherit the mask. Not a fixture, because those of the session come before it.
errors.watch = lambda: False

# Waiting threads of Paddle (Intel's and GNU's OpenMP) would keep processors busy that parallel
# tests need. Paddle reads these variables when it is imported.
os.environ.setdefault("KMP_BLOCKTIME", "0")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def pytest_collection_modifyitems(items):
    """Run files with many tests on trained models first: no worker should end with a long one."""
    heavy = Counter(item.path for item in items if "demo" in item.fixturenames)
    items.sort(key=lambda item: -heavy[item.path])


@dataclass(frozen=True)
class Result:
    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()


def call(script: str, *arguments) -> Result:
    """Run `train`, `val`, … as from a command line; returns the exit code and the output."""
    module = importlib.import_module(script)
    out, err = io.StringIO(), io.StringIO()
    saved, sys.argv = sys.argv, [f"{script}.py", *map(str, arguments)]
    try:
        with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as exit:
            run(module.main)
    finally:
        sys.argv = saved
    return Result(exit.value.code, out.getvalue(), err.getvalue())


def rows(script: str, *arguments) -> list[dict]:
    """What `predict` or `infer` tells of each picture."""
    result = call(script, *arguments, "--json")
    assert result.code == 0, result.err
    return [json.loads(line) for line in result.lines]


def fails(result: Result, code: int, *words) -> None:
    """Assert a one-line error with this exit code that names all of `words`."""
    assert result.code == code, result.err
    errors = [line for line in result.err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, result.err
    assert "Traceback" not in result.err
    for word in words:
        assert str(word) in errors[0], errors[0]


WEIGHTS = ("--pretrained_backbone", "embedded")
SMALL = ("--resize", 64, "--img_size", 64, "--dims", 20, "--batch_size", 4, *WEIGHTS)
# For tests of something else than the network: building its graph takes longer than all the rest.
NO_GRAPH = ("--to_static", "False")


@pytest.fixture(autouse=True)
def own_main():
    """Streamlit's tests replace the main module, which a process that is started imports."""
    before = sys.modules["__main__"]
    yield
    sys.modules["__main__"] = before


@pytest.fixture(autouse=True)
def no_network(monkeypatch, tmp_path_factory):
    """Nothing is downloaded in tests, nor found in the user's cache."""

    def refuse(url):
        raise OSError("no network in tests")

    monkeypatch.setattr("models.backbones.sources._open", refuse)
    monkeypatch.setattr("models.backbones.sources._refused", {})
    monkeypatch.setattr("models.backbones.sources._wrong", {})
    monkeypatch.setenv("PADIM_HOME", str(tmp_path_factory.getbasetemp() / "home"))


@pytest.fixture(scope="session")
def demo(tmp_path_factory) -> Path:
    """A small demo set: both categories, 8 training, 4 good and 2 × 4 defective pictures."""
    from demo_set.generate import generate

    root = tmp_path_factory.mktemp("demo")
    generate(root, size=96, train=8, good=4, defective=2)
    return root


@pytest.fixture(scope="session")
def trained(demo, tmp_path_factory) -> Path:
    """The output of `train.py --val True --save_picture True` for the flange."""
    output = tmp_path_factory.mktemp("trained")
    result = call(
        *("train", "--data_path", demo, "--category", "flange", "--save_path", output, *SMALL),
        *("--val", "True", "--save_picture", "--log_dir", output / "logs"),
    )
    assert result.code == 0, result.err
    (output / "stdout.txt").write_text(result.out)
    return output


@pytest.fixture(scope="session")
def exported(trained, tmp_path_factory) -> Path:
    """The files of `export_model.py --fused` for the trained model."""
    folder = tmp_path_factory.mktemp("exported")
    result = call(
        *("export_model", "--model_path", trained / "flange", "--save_dir", folder, "--fused"),
        *("--img_size", 64, "--depth", 18, "--category", "flange"),
    )
    assert result.code == 0, result.err
    assert result.lines == [str(folder / path.name) for path in sorted(folder.iterdir())]
    return folder


@pytest.fixture(scope="session")
def other_export(demo, tmp_path_factory) -> Path:
    """The distribution of a model with other channels."""
    folder = tmp_path_factory.mktemp("other")
    train = ("train", "--data_path", demo, "--category", "flange", "--save_path", folder)
    assert call(*train, "--log_dir", folder, *SMALL, "--seed", 3).code == 0
    export = ("export_model", "--model_path", folder / "flange", "--save_dir", folder)
    assert call(*export).code == 0
    return folder / "distribution"


@pytest.fixture(scope="module")
def model(trained) -> Path:
    """The checkpoint in `trained`."""
    return trained / "flange" / "best.pdparams"


@pytest.fixture(scope="module")
def shapes_once():
    """Builds each network only once to find its shapes: all of them take a second."""
    from models.backbones import network

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(network, "full_shapes", functools.cache(network.full_shapes))
        yield


@pytest.fixture(scope="session")
def full() -> dict[str, np.ndarray]:
    """Small random float16 arrays under every name that resnet18 has."""
    from models.backbones.network import full_shapes

    random = np.random.default_rng(0)
    block = random.uniform(0.01, 1, 2**16).astype(np.float16)
    return {
        name: np.resize(block[len(name) :], shape)
        for name, shape in full_shapes("resnet18").items()
    }


@pytest.fixture(scope="session")
def full_file(full, tmp_path_factory) -> Path:
    """`full` as a safetensors file."""
    from safetensors.numpy import save_file

    path = tmp_path_factory.mktemp("weights") / "full.safetensors"
    save_file(full, path)
    return path
