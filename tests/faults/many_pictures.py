"""Train on many pictures and judge them: memory and speed stay the same.

The pictures are links to those of the demo set. Memory and progress are sampled every half second;
the first pictures, while buffers and caches fill, do not count.
"""

import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from tests.faults.commands import ROOT, SMALL

MEMORY, SPEED = 0.05, 0.10  # largest changes; the speed of a machine that others use varies


def parse_options():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=20_000)
    parser.add_argument("--first", type=int, default=500, help="pictures that do not count")
    return parser.parse_args()


def main() -> int:
    from demo_set.generate import generate

    options = parse_options()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        generate(root / "demo", size=96, train=50, good=4, defective=2)
        some = sorted((root / "demo/flange/train/good").iterdir())
        links = root / "links"
        links.mkdir()
        for i in range(options.pictures):
            (links / f"{i:06d}.png").symlink_to(some[i % len(some)])
        out = ("--save_path", root / "out")
        flat = [
            _run(
                *("fit", options),
                *("train.py", "--normal_dir", links, "--category", "many", *out, "--log_dir", root),
                *(*SMALL, "--no-calibrate"),
            ),
            _run(
                *("judge", options),
                *("predict.py", "--picture_path", links, "--model_path", root / "out/many"),
                *(*out, "--no-save_picture"),
            ),
        ]
    return 0 if all(flat) else 1


def _run(what: str, options, *arguments) -> bool:
    """Print how memory and speed change in the phase `what`; whether they stay the same."""
    command = [sys.executable, *map(str, arguments)]
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    progress, samples, lines = [], [], []

    def read() -> None:
        for line in process.stderr:
            lines.append(line)
            if found := re.match(rf"{what}[^:]*: (\d+)/", line):
                progress.append((time.monotonic(), int(found[1])))

    reader = threading.Thread(target=read)
    reader.start()
    while process.poll() is None:
        samples.append((time.monotonic(), _resident(process.pid)))
        time.sleep(0.5)
    reader.join()
    if process.returncode != 0 or len(progress) < 4:
        print(f"{arguments[0]} ended with {process.returncode}:\n{''.join(lines)[-2000:]}")
        return False
    begin = next(moment for moment, done in progress if done >= options.first)
    end = progress[-1][0]
    memory = [size for moment, size in samples if begin <= moment <= end and size]
    usual = statistics.median(memory)
    change = max(max(memory) / usual - 1, 1 - min(memory) / usual)
    counted = [(moment, done) for moment, done in progress if moment >= begin]
    middle = len(counted) // 2
    speeds = [_speed(part) for part in (counted[: middle + 1], counted[middle:])]
    slower = 1 - speeds[1] / speeds[0]
    print(
        f"{arguments[0]}: {progress[-1][1]} pictures, {usual / 1e6:.0f} MB, at most "
        f"{100 * change:.1f} % more or less; {speeds[0]:.0f} pictures/s in the first half, "
        f"{speeds[1]:.0f} in the second"
    )
    return change <= MEMORY and slower <= SPEED


def _speed(part: list[tuple[float, int]]) -> float:
    return (part[-1][1] - part[0][1]) / (part[-1][0] - part[0][0])


def _resident(pid: int) -> int:
    """Bytes of memory; 0 if the process has ended."""
    try:
        pages = Path(f"/proc/{pid}/statm").read_text().split()[1]
    except OSError:
        return 0
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    sys.exit(main())
