"""Shows how many processors a command keeps busy over time: `python -m benchmarks.overlap CMD ...`.

For example `python -m benchmarks.overlap train.py --data_path data/mvtec --category bottle`; a name
that ends with .py is run by this Python. Each line is one step of time: the processors that the
process and its children used on average, and a bar of that length.
"""

import os
import subprocess
import sys
import time
from pathlib import Path

from common.errors import UsageError, run

STEP = 0.25  # seconds
WIDTH = 20  # characters for one processor
TICKS = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100


def used(process: int) -> float:
    """Seconds of processor time of a process and of its children that have ended; Linux only."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / TICKS


def profile(command: list[str]) -> list[tuple[float, float]]:
    """(seconds from the start, processors used since the step before) until the command ends."""
    begin = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        steps, before, then = [], 0.0, begin
        while process.poll() is None:
            time.sleep(STEP)
            try:
                now, sum_now = time.perf_counter(), used(process.pid)
            except OSError:  # it has just ended
                break
            if sum_now >= before:
                steps.append((now - begin, (sum_now - before) / (now - then)))
            before, then = sum_now, now
    if process.returncode:
        raise UsageError(f"{' '.join(command)}: ended with exit code {process.returncode}")
    return steps


def main() -> int:
    command = sys.argv[1:]
    if not command or command[0] in ("-h", "--help"):
        print(__doc__)
        return 0 if command else 2
    if not Path("/proc/self/stat").exists():
        raise UsageError("this system has no /proc; run it on Linux")
    if command[0].endswith(".py"):
        command = [sys.executable, *command]
    steps = profile(command)
    for second, processors in steps:
        print(f"{second:6.2f} s {processors:5.2f} {'#' * round(WIDTH * processors)}")
    if steps:
        mean = sum(processors for _, processors in steps) / len(steps)
        print(f"mean: {mean:.2f} processors over {steps[-1][0]:.1f} s")
    return 0


if __name__ == "__main__":
    run(main)
