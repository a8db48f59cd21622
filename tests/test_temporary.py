"""Temporary folders of killed processes are swept; an export is replaced as a whole."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from common import transaction
from common.errors import WorkError
from common.files import whole_file, writable_folder
from common.temporary import LOCK, lock_file, sweep, temporary_folder
from common.transaction import COMMIT, current, settle, whole_files

ROOT = Path(__file__).resolve().parent.parent
pytestmark = [pytest.mark.once, pytest.mark.skipif(os.name != "posix", reason="no locks")]


def killed(folder: Path, then: str = "os.kill(os.getpid(), 9)", what="temporary_folder") -> None:
    """A process that ends in the block of `what`, with a file in its temporary folder."""
    code = f"""import os, sys
from pathlib import Path
from common.temporary import temporary_folder
from common import transaction
with {what}(Path(sys.argv[1])) as folder:
    (folder / "model").write_text("new")
    (folder / "params").write_text("new")
    {then}
"""
    subprocess.run([sys.executable, "-c", code, folder], cwd=ROOT, check=False)


def contents(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir()}


def test_the_next_run_sweeps_what_a_killed_one_left_and_nothing_of_a_live_one(tmp_path):
    killed(tmp_path)
    assert len(list(tmp_path.iterdir())) == 1
    (tmp_path / ".padim-mine").mkdir()
    (tmp_path / ".other.tmp").mkdir()
    with temporary_folder(tmp_path) as mine:
        (mine / "file").write_text("still written")
        code = "import sys; from pathlib import Path; from common.files import writable_folder\n"
        code += "writable_folder(Path(sys.argv[1]))"
        subprocess.run([sys.executable, "-c", code, tmp_path], cwd=ROOT, check=True)
        assert {p.name for p in tmp_path.iterdir()} == {mine.name, ".padim-mine", ".other.tmp"}
        assert (mine / "file").read_text() == "still written"
    assert {path.name for path in tmp_path.iterdir()} == {".padim-mine", ".other.tmp"}


@pytest.mark.parametrize("call", [writable_folder, lambda p: whole_file(p / "a").__enter__()])
def test_a_run_sweeps_before_it_writes(call, tmp_path):
    killed(tmp_path)
    left = next(tmp_path.iterdir())
    call(tmp_path)
    assert not left.exists()


def test_a_folder_swept_before_it_is_locked_is_made_again(tmp_path, monkeypatch):
    """The first is deleted between its creation and its lock."""
    made = []

    def slow(path, wait):
        made.append(path.parent)
        if len(made) == 1:
            sweep(tmp_path)
        return lock_file(path, wait)

    monkeypatch.setattr("common.temporary.lock_file", slow)
    with temporary_folder(tmp_path) as folder:
        assert folder == made[-1] != made[0]
        assert [path.name for path in tmp_path.iterdir()] == [folder.name]


def test_a_link_is_not_followed(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/file").touch()
    (tmp_path / "swept").mkdir()
    (tmp_path / "swept/.padim-abc.tmp").symlink_to(tmp_path / "mine")
    killed(tmp_path / "swept", '(folder / "link").symlink_to("../../mine"); os._exit(0)')
    sweep(tmp_path / "swept")
    assert (tmp_path / "mine/file").exists()
    assert len(list((tmp_path / "swept").iterdir())) == 1


def test_names_as_long_as_the_disk_allows_are_written(tmp_path):
    for name in ("a" * 255, "b" * 251 + ".png", "c." + "d" * 253):
        with whole_file(tmp_path / name) as temporary:
            temporary.write_text(name)
        assert (tmp_path / name).read_text() == name
    assert len(list(tmp_path.iterdir())) == 3


OLD = {"model": "old", "params": "old", "fused": "old", "notes": "mine"}
NEW = {"model": "new", "params": "new", "notes": "mine"}


@pytest.fixture
def old(tmp_path) -> Path:
    for name, text in OLD.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def test_files_are_replaced_together(old):
    with whole_files(old, ("model", "params", "fused")) as temporary:
        for name in ("model", "params"):
            (temporary / name).write_text("new")
        assert {name: (old / name).read_text() for name in OLD} == OLD
    assert contents(old) == NEW
    with pytest.raises(ZeroDivisionError), whole_files(old, ("model",)):
        raise ZeroDivisionError
    assert contents(old) == NEW


KILL = """calls = []
    for owner, name in ((Path, "replace"), (Path, "rename"), (Path, "unlink"), (Path, "rmdir")):
        def counted(*args, real=getattr(owner, name), **more):
            calls.append(1)
            if len(calls) == int(sys.argv[2]):
                os.kill(os.getpid(), 9)
            return real(*args, **more)
        setattr(owner, name, counted)
"""


@pytest.mark.process
def test_a_kill_at_any_step_leaves_the_old_files_or_the_new_ones(tmp_path):
    seen = []
    for step in range(1, 12):
        folder = tmp_path / str(step)
        folder.mkdir()
        for name, text in OLD.items():
            (folder / name).write_text(text)
        code = f"""import os, sys
from pathlib import Path
from common.transaction import whole_files
with whole_files(Path(sys.argv[1]), ("model", "params", "fused")) as temporary:
    (temporary / "model").write_text("new")
    (temporary / "params").write_text("new")
    {KILL}
"""
        done = subprocess.run([sys.executable, "-c", code, folder, str(step)], cwd=ROOT)
        read_only = {name: current(folder / name) for name in OLD}
        read_only = {name: path.read_text() for name, path in read_only.items() if path}
        settle(folder)
        sweep(folder)
        found = contents(folder)
        assert found in (OLD, NEW), step
        assert read_only == found
        seen.append((found == NEW, done.returncode))
        if done.returncode == 0:
            break
    codes = [code for _, code in seen]
    assert codes == [-9] * (len(seen) - 1) + [0] and len(seen) > 5
    assert [new for new, _ in seen] == sorted(new for new, _ in seen)  # first old, then new


def test_a_commit_of_a_stranger_deletes_nothing_elsewhere(tmp_path):
    (tmp_path / "mine").touch()
    folder = tmp_path / "model"
    for text in (["../mine", "/", "..", "", 7], {"a": 1}, 3, None):
        (folder / COMMIT).mkdir(parents=True)
        (folder / COMMIT / LOCK).write_text(json.dumps(text))
        settle(folder)
        assert not (folder / COMMIT).exists()
    (folder / COMMIT).mkdir()
    (folder / COMMIT / LOCK).write_text("[" * 100_000)
    settle(folder)
    assert (tmp_path / "mine").exists() and not list(folder.iterdir())


def test_a_commit_of_a_live_process_is_waited_for(tmp_path, monkeypatch):
    monkeypatch.setattr(transaction, "SECONDS", 0.05)
    (tmp_path / COMMIT).mkdir()
    lock = lock_file(tmp_path / COMMIT / LOCK, wait=True)
    with pytest.raises(WorkError, match="cannot be written"), whole_files(tmp_path) as temporary:
        (temporary / "model").write_text("new")
    assert {path.name for path in tmp_path.iterdir()} == {COMMIT}
    os.close(lock)
    with whole_files(tmp_path) as temporary:
        (temporary / "model").write_text("new")
    assert contents(tmp_path) == {"model": "new"}
