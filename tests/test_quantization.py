"""Int8 graphs compute with int8 and give nearly the same scores as float32."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import paddle
import pytest
from PIL import Image

from common.preprocessing import Preprocessing
from demo_set.generate import generate
from models import checkpoint, deployed
from models.engine import Engine, has_bfloat16, has_int8, has_vnni
from tasks.export import _sample
from tests.conftest import SMALL, call, fails

ROOT = Path(__file__).resolve().parent.parent
pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(not has_int8(), reason="the processor has no AVX2"),
]


def script(name: str, *arguments, **environment):
    """In a process of its own: Paddle decides as it starts which kind of graph it writes."""
    command = [sys.executable, f"{name}.py", *map(str, arguments)]
    env = {**os.environ, **environment}
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)


@pytest.fixture(scope="module")
def quantized(trained, demo, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("int8")
    options = ("--model_path", trained / "flange", "--save_dir", folder)
    done = script("export_model", *options, "--quantize", demo / "flange/train/good")
    assert done.returncode == 0, done.stderr
    names = ["distribution", "model.pdiparams", "model.pdmodel"]
    assert done.stdout.splitlines() == [str(folder / name) for name in names]
    changed = float(re.search(r"int8 changes the embeddings by ([\d.]+) %", done.stderr)[1])
    # 2.0; 4.2 if the scales of sums are not widened.
    assert 0 < changed < (3.5 if has_vnni() else 10)
    assert "Sampling" not in done.stderr  # what Paddle tells meanwhile
    return folder


def infer(folder, pictures, *arguments):
    return call("infer", "--model_dir", folder, "--input_file", pictures, *arguments)


def test_scores_hardly_change(quantized, trained, demo):
    pictures = demo / "flange/test"
    options = ("--model_path", trained / "flange", "--json", "--no-save_picture")
    expected = call("predict", "--picture_path", pictures, *options)
    found = infer(quantized, pictures, "--json")  # the precision follows from the graph
    assert found.code == 0, found.err
    scores = [[json.loads(line)["score"] for line in run.lines] for run in (found, expected)]
    # The model is small, of 8 pictures: on bottle scores change by 8 % at most.
    assert len(scores[0]) == 12 and scores[0] == pytest.approx(scores[1], rel=0.3)
    assert scores[0] != pytest.approx(scores[1], rel=1e-4)  # or it was not int8


def test_a_model_that_int8_changes_much_is_not_taken_for_a_foreign_one(tmp_path):
    """Small models answer the probe picture, which is no sample picture, quite differently."""
    generate(tmp_path, seed=1, categories=["weave"], size=96, train=8, good=2, defective=1)
    options = ("--data_path", tmp_path, "--save_path", tmp_path / "out", "--log_dir", tmp_path)
    assert call("train", *options, *SMALL).code == 0
    options = ("--model_path", tmp_path / "out/weave", "--save_dir", tmp_path / "int8")
    done = script("export_model", *options, "--quantize", tmp_path / "weave/train/good")
    assert done.returncode == 0, done.stderr
    result = infer(tmp_path / "int8", tmp_path / "weave/test/good")
    assert result.code == 0, result.err


def test_every_convolution_computes_with_int8(quantized, demo):
    picture = demo / "flange/test/chip/000.png"
    options = ("--model_dir", quantized, "-i", picture, "--precision", "int8")
    done = script("infer", *options, DNNL_VERBOSE="1", ONEDNN_VERBOSE="1")
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stdout.splitlines() if ",exec,cpu,convolution," in line]
    sources = {re.search(r"src[:_]([a-z]+\d+)", line)[1] for line in lines}
    # 15 convolutions; what the probe picture writes is not shown.
    assert len(lines) == 15 and sources <= {"u8", "s8"}


def test_precision_and_graph_must_agree(quantized, trained, demo, tmp_path):
    chips = demo / "flange/test/chip"
    for precision in ("fp32", *(["bf16"] if has_bfloat16() else [])):
        refused = infer(quantized, chips, "--precision", precision)
        fails(refused, 2, f"--precision: {precision}", "int8 graph; use int8")
    assert (
        call("export_model", "--model_path", trained / "flange", "--save_dir", tmp_path).code == 0
    )
    fails(
        infer(tmp_path, chips, "--precision", "int8"), 2, "--precision: int8", "not an int8 graph"
    )


def test_int8_needs_onednn(quantized, demo):
    options = ("--precision", "int8", "--enable_mkldnn", "False")
    fails(infer(quantized, demo / "flange/test/chip", *options), 2, "int8", "oneDNN")


@pytest.mark.parametrize(
    ("folder", "more", "words"),
    [
        ("missing", (), ("--quantize", "missing", "no such folder")),
        ("empty", (), ("--quantize", "empty", "no pictures")),
        ("flange/train/good", ("--fused",), ("--quantize", "fused")),
        ("flange/train/good", ("--format", "onnx"), ("--quantize", "onnx")),
    ],
)
def test_wrong_use_is_named(trained, demo, tmp_path, monkeypatch, folder, more, words):
    monkeypatch.setenv("FLAGS_enable_pir_api", "1")
    (tmp_path / "empty").mkdir()
    source = demo / folder if folder.startswith("flange") else tmp_path / folder
    options = ("--model_path", trained / "flange", "--save_dir", tmp_path / "out")
    fails(call("export_model", *options, "--quantize", source, *more), 2, *words)


@pytest.mark.skipif(paddle.__version__ < "3", reason="Paddle 2 writes the older graphs always")
def test_a_paddle_that_writes_newer_graphs_is_told(trained, demo, tmp_path, monkeypatch):
    monkeypatch.setenv("FLAGS_enable_pir_api", "1")  # restores it afterwards
    options = ("--model_path", trained / "flange", "--save_dir", tmp_path)
    result = call("export_model", *options, "--quantize", demo / "flange/train/good")
    fails(result, 1, "FLAGS_enable_pir_api=0")
    assert not list(tmp_path.iterdir())


def test_no_more_sample_pictures_are_taken_than_needed(tmp_path, monkeypatch):
    monkeypatch.setenv("FLAGS_enable_pir_api", "1")
    for i in range(33):
        Image.new("RGB", (40, 40), (i, 0, 0)).save(tmp_path / f"{i:02}.png")
    images = _sample(tmp_path, Preprocessing(32, (32, 32), (0, 0, 0), (1, 1, 1)), 10**6)
    assert len(images) == 32
    assert len({float(image[0, 0, 0]) for image in images}) == 32


def test_a_bad_sample_picture_is_named(trained, tmp_path, monkeypatch):
    monkeypatch.setenv("FLAGS_enable_pir_api", "1")
    (tmp_path / "in").mkdir()
    (tmp_path / "in/000.png").write_bytes(b"no picture")
    options = ("--model_path", trained / "flange", "--save_dir", tmp_path / "out")
    result = call("export_model", *options, "--quantize", tmp_path / "in")
    fails(result, 1, "000.png", "--quantize")
    assert "--skip_bad" not in result.err


def test_a_processor_without_vnni_is_told_that_sums_can_overflow(quantized, caplog, monkeypatch):
    """And only where the graph was quantised on a processor with it."""
    files = deployed.ExportedFiles.within(quantized)
    record = checkpoint.load_record(files.distribution, checkpoint.DISTRIBUTION)
    monkeypatch.setattr(deployed, "has_vnni", lambda: False)
    deployed.open_exported(files, Engine(device="cpu", precision="int8"))
    told = [line for line in caplog.messages if "VNNI" in line]
    assert len(told) == int(record.exported.graphs[0].vnni) == int(has_vnni())
