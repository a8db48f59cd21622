"""`--watch`: pictures are judged as they arrive."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from datasets import arrivals
from datasets.arrivals import Arrivals
from inspection import Inspector
from models.engine import Engine
from tasks import watching
from tests.conftest import NO_GRAPH, call, fails

ROOT = Path(__file__).resolve().parent.parent


def aged(path: Path, seconds: float = 60) -> Path:
    then = time.time() - seconds
    os.utime(path, (then, then))
    return path


def arrive(folder: Path, name: str, content: bytes = b"x") -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


@pytest.mark.once
def test_a_picture_arrives_when_it_did_not_change_between_two_looks(tmp_path):
    looks = Arrivals(tmp_path)
    path = arrive(tmp_path, "below/a.png")
    assert looks.take() == []
    path.write_bytes(b"more")
    assert looks.take() == []
    assert looks.take() == [path]
    assert looks.take() == []


@pytest.mark.once
def test_old_pictures_arrive_at_once_and_in_their_order(tmp_path):
    new, old = aged(arrive(tmp_path, "a.png"), 30), aged(arrive(tmp_path, "b.jpg"), 90)
    arrive(tmp_path, "notes.txt"), arrive(tmp_path, ".hidden.png")
    assert Arrivals(tmp_path).take() == [old, new]
    later = Arrivals(tmp_path, present=False)
    assert later.take() == []
    third = aged(arrive(tmp_path, "c.png"))
    assert later.take() == [third]


@pytest.mark.once
def test_a_picture_that_is_written_again_arrives_again(tmp_path):
    looks, path = Arrivals(tmp_path), aged(arrive(tmp_path, "a.png"))
    assert looks.take() == [path]
    aged(arrive(tmp_path, "a.png", b"other"), 50)
    assert looks.take() == [path]
    aged(arrive(tmp_path, ".a.tmp"), 50).replace(path)
    assert looks.take() == [path]
    path.unlink()
    assert looks.take() == [] and not looks._taken


@pytest.mark.once
def test_an_unreadable_picture_is_waited_for_while_it_is_young(tmp_path, monkeypatch):
    looks, path = Arrivals(tmp_path), arrive(tmp_path, "a.png")
    looks.take()
    assert looks.take() == [path] and looks.postpone(path)
    assert looks.take() == looks.take() == []
    path.write_bytes(b"more")
    assert looks.take() == []
    assert looks.take() == [path] and looks.postpone(path)
    monkeypatch.setattr(arrivals, "SETTLED", 0)
    assert looks.take() == [path] and not looks.postpone(path)


@pytest.mark.once
def test_a_folder_that_leaves_is_waited_for(tmp_path, caplog):
    caplog.set_level("INFO")
    folder = tmp_path / "share"
    aged(arrive(folder, "a.png"))
    looks = Arrivals(folder)
    assert len(looks.take()) == 1
    folder.rename(tmp_path / "away")
    assert looks.take() == looks.take() == []
    (tmp_path / "away").rename(folder)
    assert looks.take() == []
    assert caplog.text.count("waiting for it") == 1 and "there again" in caplog.text


@pytest.fixture
def watched(trained, demo, tmp_path, monkeypatch, capsys):
    """Starts `watch` in a thread; gives the folder and the function that ends it."""
    folder, stop = tmp_path / "arriving", threading.Event()
    folder.mkdir()
    monkeypatch.setattr(arrivals, "SETTLED", 0.3)
    engine = Engine(device="cpu", static=False)
    inspector = Inspector.open(trained / "flange", engine)
    inspector.load()
    teller = watching.Teller(inspector, _Json(), {}, None)
    watcher = watching.Watcher(inspector, Arrivals(folder), teller)
    thread = threading.Thread(target=watcher.run, args=(stop, 0.01))
    thread.start()

    def ended() -> list[dict]:
        stop.set()
        thread.join(20)
        return [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    yield folder, watcher, ended
    stop.set()


class _Json:
    json, save_picture = True, False


def until(true, seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_broken_pictures_have_a_line_and_stop_nothing(watched, demo):
    folder, watcher, ended = watched
    arrive(folder, "broken.png", b"no picture")
    shutil.copy(demo / "flange/test/rust/000.png", folder / "rust.png")
    until(lambda: watcher.judged + watcher.unreadable == 2)
    shutil.copy(demo / "flange/test/good/000.png", folder / "good.png")
    until(lambda: watcher.judged == 2)
    lines = {Path(line["path"]).name: line for line in ended()}
    assert set(lines) == {"broken.png", "rust.png", "good.png"}
    (rust,) = watcher.inspector.inspect([folder / "rust.png"])
    assert "broken.png" in lines["broken.png"]["error"]
    assert lines["rust.png"]["score"] == pytest.approx(rust.score)


def test_a_picture_that_is_written_slowly_is_judged_once_and_whole(watched, demo, monkeypatch):
    folder, watcher, ended = watched
    monkeypatch.setattr(arrivals, "SETTLED", 60)
    content = (demo / "flange/test/rust/000.png").read_bytes()
    with (folder / "slow.png").open("wb") as file:
        third = -(-len(content) // 3)
        for start in range(0, len(content), third):
            file.write(content[start : start + third])
            file.flush()
            time.sleep(0.1)
    until(lambda: watcher.judged == 1)
    (line,), (whole,) = ended(), watcher.inspector.inspect([content])
    assert line["score"] == pytest.approx(whole.score)


def test_results_inside_the_watched_folder_are_refused(trained, tmp_path):
    model = "--model_path", trained / "flange"
    inside = call("predict", "--watch", tmp_path, *model, "--save_mask", tmp_path / "masks")
    fails(inside, 2, "--save_mask", "outside")
    fails(call("predict", "--watch", tmp_path / "none", *model), 2, "--watch", "no such folder")
    both = call("predict", "--watch", tmp_path, "--picture_path", tmp_path, *model)
    assert both.code == 2 and "not allowed with" in both.err


@pytest.mark.process
def test_the_script_ends_cleanly(trained, demo, tmp_path):
    folder, sheets = tmp_path / "arriving", tmp_path / "sheets"
    shutil.copytree(demo / "flange/test/good", folder)
    command = [sys.executable, "predict.py", "--watch", folder, "--model_path", trained / "flange"]
    command += ["--save_path", sheets, "--stats", tmp_path / "scores.jsonl", *NO_GRAPH]
    process = subprocess.Popen(
        list(map(str, command)), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        first = [json.loads(process.stdout.readline()) for _ in range(4)]
        shutil.copy(demo / "flange/test/rust/000.png", folder / "new.png")
        new = json.loads(process.stdout.readline())
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=20)
    finally:
        process.kill()
    assert process.returncode == 0, err
    assert out == "" and "ended: 5 pictures judged" in err
    assert sorted(Path(line["path"]).name for line in first) == [f"00{i}.png" for i in range(4)]
    assert Path(new["path"]).name == "new.png" and Path(new["picture"]).is_file()
    assert len((tmp_path / "scores.jsonl").read_text().splitlines()) == 6
