"""Exit codes, whole files, phases."""

import logging
import subprocess
import sys
from pathlib import Path

import pytest

import common
from common.errors import UsageError, WorkError, run
from common.files import whole_file, writable_folder
from common.logs import log_file, start_logging
from common.timing import Phases

ROOT = Path(__file__).resolve().parent.parent
pytestmark = pytest.mark.once


def raising(error):
    def main():
        raise error

    return main


@pytest.mark.parametrize(
    ("main", "code", "text"),
    [
        (lambda: None, 0, ""),
        (lambda: 1, 1, ""),
        (raising(UsageError("no such option")), 2, "error: no such option\n"),
        (raising(WorkError("disk full")), 1, "error: disk full\n"),
        (raising(KeyboardInterrupt()), 130, "error: interrupted\n"),
    ],
)
def test_how_each_end_leaves_the_process(main, code, text, capsys):
    with pytest.raises(SystemExit) as end:
        run(main)
    assert end.value.code == code
    assert capsys.readouterr().err == text


def test_a_missing_package_is_named(capsys):
    with pytest.raises(SystemExit) as end:
        run(raising(ModuleNotFoundError("No module named 'paddle'", name="paddle")))
    assert end.value.code == 1
    assert "paddle is not installed: run pip install" in capsys.readouterr().err


def test_a_defect_of_the_program_keeps_its_traceback():
    with pytest.raises(ZeroDivisionError):
        run(raising(ZeroDivisionError()))


@pytest.mark.process
def test_a_reader_that_goes_away_is_no_traceback():
    code = "from common.errors import run\nrun(lambda: print('x\\n' * 10**6))"
    pipe = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT
    )
    pipe.stdout.readline()
    pipe.stdout.close()
    assert pipe.stderr.read() == b""
    pipe.stderr.close()
    assert pipe.wait() == 141


@pytest.mark.process
@pytest.mark.parametrize("script", ["train", "val", "predict", "export_model", "infer"])
def test_help_needs_no_package(script):
    """Isolated from site-packages: what help imports, the standard library has."""
    command = [sys.executable, "-S", "-E", f"{script}.py", "--help"]
    result = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert result.returncode == 0, result.stderr
    assert "--category" in result.stdout


def test_a_whole_file_replaces_the_old_one(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with whole_file(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
        assert temporary.suffix == ".txt"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_fails_leaves_the_old_one(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(ZeroDivisionError), whole_file(path) as temporary:
        temporary.write_text("ne")
        raise ZeroDivisionError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_where_none_can_be_is_failed_work(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(WorkError, match="cannot be written"), whole_file(tmp_path / "file" / "a"):
        pass


def test_a_folder_is_made_and_left_empty(tmp_path):
    folder = writable_folder(tmp_path / "a" / "b")
    assert folder.is_dir()
    assert not list(folder.iterdir())


def test_phases_add_up_and_start_again():
    phases = Phases()
    phases.add("decode", 1.0)
    phases.add("decode", 0.5)
    with phases("network"):
        pass
    seconds = phases.take()
    assert list(seconds) == ["decode", "network"]
    assert seconds["decode"] == 1.5
    assert phases.take() == {}


def test_messages_outlive_a_library_that_quietens_the_root(capsys):
    """As Paddle 2.6 does while it converts a network."""
    start_logging()
    logging.getLogger().setLevel(logging.WARNING)
    logging.getLogger("models.export").info("ours")
    logging.getLogger("somebody").info("theirs")
    logging.getLogger("somebody").warning("their warning")
    err = capsys.readouterr().err
    assert err.splitlines() == ["ours", "warning: their warning"]


def test_the_version_is_that_of_the_project():
    text = (Path(__file__).parents[1] / "pyproject.toml").read_text()
    assert f'version = "{common.__version__}"' in text


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no full device")
def test_a_log_on_a_full_disk_costs_its_messages_alone(tmp_path, monkeypatch, capsys):
    start_logging()
    monkeypatch.setattr("common.logs.Path.is_file", lambda path: True)
    (tmp_path / "a.log").symlink_to("/dev/full")
    with pytest.raises(WorkError, match="of the work"), log_file(tmp_path, "a"):
        logging.getLogger("common").info("first")
        logging.getLogger("common").info("second")
        raise WorkError("of the work")
    err = capsys.readouterr().err
    assert err.count("a.log: messages are lost: No space left on device") == 1
    assert "Traceback" not in err
