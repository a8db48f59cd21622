"""Pipes, closed streams, odd names and full disks give results or one clear error."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.conftest import call, fails
from tests.model_files import predict

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.process
@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes in the file system here")
def test_a_pipe_as_log_file_does_not_hang(demo, tmp_path):
    os.mkfifo(tmp_path / "flange.log")
    command = [sys.executable, "train.py", "--data_path", demo, "--category", "flange"]
    command += ["--log_dir", tmp_path, "--save_path", tmp_path / "out"]
    done = subprocess.run(
        [str(part) for part in command], cwd=ROOT, capture_output=True, text=True, timeout=30
    )
    assert done.returncode == 2
    assert "not a regular file" in done.stderr


@pytest.mark.process
def test_a_closed_stderr_costs_no_result(model, demo, tmp_path):
    picture = demo / "flange" / "test" / "good" / "000.png"
    arguments = f"predict.py --picture_path {picture} --model_path {model}"
    arguments += f" --save_path {tmp_path}/sheet.png"
    done = subprocess.run(
        ["bash", "-c", f"{sys.executable} {arguments} 2>&-"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0
    assert done.stdout.startswith(str(picture))


def test_control_characters_of_names_do_not_reach_the_terminal(trained, demo, tmp_path):
    picture = tmp_path / "a\x1b[31mred\nline.png"
    shutil.copy(demo / "flange" / "test" / "good" / "000.png", picture)
    broken = tmp_path / "b\x1b[2Jroken.png"
    broken.write_bytes(b"no picture")
    result = call(
        *("predict", "--picture_path", tmp_path, "--model_path", trained / "flange"),
        *("--save_path", tmp_path / "out"),
    )
    assert result.code == 1
    assert "\x1b" not in result.out + result.err
    assert len(result.lines) == 1


def test_long_messages_are_cut(demo, tmp_path):
    name = "x" * 200
    deep = Path(*[tmp_path, *[name] * 12])
    result = call("predict", "--picture_path", deep, "--model_path", tmp_path)
    assert result.code in (1, 2)
    assert len(result.err) < 800


def test_a_full_temporary_folder_is_named(model, demo, tmp_path, monkeypatch):
    """Paddle itself does not notice that its files are cut off."""
    import paddle

    def cut_off(graph, prefix):
        for suffix in (".json", ".pdiparams"):
            Path(f"{prefix}{suffix}").touch()

    monkeypatch.setattr(paddle.jit, "save", cut_off)
    monkeypatch.setenv("PADIM_HOME", str(tmp_path / "empty"))  # no graph of an earlier run
    fails(predict(model, demo, tmp_path), 1, "MB are free", "TMPDIR")
    monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=10**6))
    fails(predict(model, demo, tmp_path), 1, "1.0 MB are free", "TMPDIR")


@pytest.mark.process
def test_a_folder_that_is_not_utf8_is_exported_to_and_read(model, demo, tmp_path):
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    exported = call("export_model", "--model_path", model, "--save_dir", folder, "--fused")
    assert exported.code == 0, exported.err
    assert (folder / "distribution").is_file()
    picture = demo / "flange" / "test" / "good" / "000.png"
    inferred = call("infer", "-i", picture, "--model_dir", folder)
    assert inferred.code == 0, inferred.err
