"""Signals end a script with their exit code at any moment; libraries cannot take their handlers."""

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from common.signals import kept_handlers

ROOT = Path(__file__).resolve().parent.parent
pytestmark = [pytest.mark.once, pytest.mark.skipif(os.name != "posix", reason="no sigaction")]


def replaced_by_a_library(keep: bool) -> bool:
    """Whether our handler of SIGTERM is lost after a thread let C ignore the signal."""
    ignore = ctypes.c_void_p(1)  # SIG_IGN
    libc = ctypes.CDLL(None)
    libc.signal.argtypes = [ctypes.c_int, ctypes.c_void_p]
    caught = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: caught.append(number))
    masked = signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})

    def library():
        if keep:
            with kept_handlers():
                libc.signal(int(signal.SIGTERM), ignore)
        else:
            libc.signal(int(signal.SIGTERM), ignore)

    try:
        thread = threading.Thread(target=library)
        thread.start()
        thread.join()
        signal.pthread_kill(threading.get_ident(), signal.SIGTERM)  # not in a thread of a library
        return not caught
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, masked)
        signal.signal(signal.SIGTERM, before)


def test_handlers_are_kept():
    assert replaced_by_a_library(keep=False)
    assert not replaced_by_a_library(keep=True)


BEGIN = """import ctypes, os, signal, sys, time
from pathlib import Path
from common.errors import run
from common.signals import answering, at_end, held
from common.temporary import temporary_folder
folder = Path(sys.argv[1])
libc = ctypes.CDLL(None)
libc.signal.argtypes = [ctypes.c_int, ctypes.c_void_p]
def ready():
    print("ready", flush=True)
"""


def ended(folder, main: str, *numbers, before=None) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a script that gets signals after it printed `ready`."""
    command = [sys.executable, "-c", f"{BEGIN}def main():\n{main}\nrun(main)", str(folder)]
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=ROOT, preexec_fn=before, **streams) as process:
        assert process.stdout.readline() == "ready\n"
        start = time.monotonic()
        for number in numbers:
            process.send_signal(number)
        out, err = process.communicate(timeout=30)
        assert time.monotonic() - start < 2
    return process.returncode, out, err


BUSY = {
    "Python, after a library changed the handler": "libc.signal(15, 1)\n        while True: pass",
    "a library that keeps the interpreter": "while True: ctypes.PyDLL(None).usleep(300000)",
    "a library that never returns": "libc.pause()",
    "after multiprocessing": "signal.pthread_sigmask(signal.SIG_UNBLOCK, {2, 15}); time.sleep(30)",
}


@pytest.mark.process
@pytest.mark.parametrize("work", BUSY)
@pytest.mark.parametrize(
    ("number", "code", "text"),
    [(signal.SIGTERM, 143, "terminated"), (signal.SIGINT, 130, "interrupted")],
)
def test_a_signal_ends_any_work_and_leaves_nothing(number, code, text, work, tmp_path):
    main = f"""
    with temporary_folder(folder) as own:
        (own / "new").touch()
        ready()
        {BUSY[work]}
"""
    assert ended(tmp_path, main, number) == (code, "", f"error: {text}\n")
    assert not list(tmp_path.iterdir())


@pytest.mark.process
def test_files_change_places_before_a_signal_ends_the_process(tmp_path):
    main = """
    with held():
        ready()
        time.sleep(0.2)
        (folder / "moved").touch()
    with held():
        (folder / "later").touch()
"""
    assert ended(tmp_path, main, signal.SIGTERM)[0] == 143
    assert [path.name for path in tmp_path.iterdir()] == ["moved"]


@pytest.mark.process
def test_a_clean_up_that_fails_or_hangs_does_not_keep_the_process(tmp_path):
    main = """
    with at_end(lambda text: (folder / text).touch()):
        with at_end(lambda text: 1 / 0):
            ready()
            libc.pause()
"""
    assert ended(tmp_path, main, signal.SIGTERM)[0] == 143
    assert [path.name for path in tmp_path.iterdir()] == ["terminated"]
    main = """
    with at_end(lambda text: libc.pause()):
        ready()
        libc.pause()
"""
    assert ended(tmp_path, main, signal.SIGTERM)[0] == 143


@pytest.mark.process
def test_a_signal_that_the_parent_ignores_stays_ignored(tmp_path):
    """So it is after `nohup` and in the background of a shell."""

    def ignore():
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    main = "    ready(); time.sleep(0.2); print('done')"
    assert ended(tmp_path, main, signal.SIGINT, before=ignore) == (0, "done\n", "")


@pytest.mark.process
def test_a_service_answers_signals_itself(tmp_path):
    main = """
    import threading
    got, event = [], threading.Event()
    with answering(lambda number: (got.append(number), event.set())):
        ready()
        event.wait(10)
    print(list(map(int, got)))
"""
    assert ended(tmp_path, main, signal.SIGTERM) == (0, "[15]\n", "")
