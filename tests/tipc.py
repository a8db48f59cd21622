"""A copy of test_tipc's chains, and a stand-in for Python that only notes what it is asked."""

import os
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CONFIG = "test_tipc/configs/PaDiM/train_infer_python.txt"
LITE = "lite_train_lite_infer"
RED, GREEN, YELLOW = ("\033[31m", "\033[32m", "\033[33m")

# Notes its arguments and prints a score; fails where one argument is $FAILS; lacks what $MISSING
# says; leaves the script $REAL to $REAL_PYTHON.
STAND_IN = """#!/usr/bin/env bash
if [ "$1 $2" = "-m test_tipc.machine" ]; then
    for what in $MISSING; do printf '%s\\tno %s here\\n' "$what" "$what"; done
    exit
fi
[ "$1" != "${REAL-}" ] || exec "$REAL_PYTHON" "$@"
printf '%s\\n' "$*" >> "$CALLS"
printf 'a/000.png\\t12.500000\\tgood\\n'
for argument; do [ "$argument" != "$FAILS" ] || exit 3; done
"""


def copy_chains(tmp_path: Path) -> Path:
    """A copy of the chains in a folder of their own."""
    ignore = shutil.ignore_patterns("data", "output", "__pycache__")
    shutil.copytree(ROOT / "test_tipc", tmp_path / "test_tipc", ignore=ignore)
    stand_in = tmp_path / "stand-in"
    stand_in.write_text(STAND_IN)
    stand_in.chmod(0o755)
    return tmp_path


def bash(project: Path, script: str, *arguments, missing="gpu tensorrt bf16", fails="", **env):
    ours = {"PYTHON": str(project / "stand-in"), "CALLS": str(project / "calls")}
    env = {**os.environ, **ours, "MISSING": missing, "FAILS": fails, **env}
    command = ["bash", f"test_tipc/{script}", *arguments]
    done = subprocess.run(command, cwd=project, env=env, capture_output=True, text=True)
    assert "unbound variable" not in done.stderr
    return done


def chain(project: Path, mode: str = LITE, **settings):
    return bash(project, "test_train_inference_python.sh", CONFIG, mode, **settings)


def calls(project: Path) -> list[str]:
    return (project / "calls").read_text().splitlines()


def results(project: Path) -> list[str]:
    return (project / "test_tipc/output/PaDiM/results_python.log").read_text().splitlines()


def change(project: Path, *pairs: tuple[str, str]) -> None:
    path = project / CONFIG
    text = path.read_text()
    for old, new in pairs:
        assert old in text
        text = text.replace(old, new)
    path.write_text(text)
