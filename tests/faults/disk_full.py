"""Let the disk run full during each write of each command: a clear error, the old files intact.

Mounts a small file system in memory, which needs root on Linux; otherwise nothing is done.
"""

import argparse
import hashlib
import os
import subprocess
import sys
import tempfile
from collections import Counter
from contextlib import contextmanager
from pathlib import Path

from tests.faults.commands import COMMANDS, Command, Place, prepare
from tests.faults.whole import exported, leftovers, problems

MEGABYTES = 256
KEPT = ("best.pdparams", "distribution", "model.json", "model.pdmodel", "model.pdiparams")
# Bytes that are free when a command starts.
FREE = (0, 4_096, 20_000, 100_000, 300_000, 1_000_000, 2_500_000, 5_000_000, 10_000_000, 15_000_000)
FREE += (25_000_000, 40_000_000)


def parse_options():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=COMMANDS, nargs="+", default=list(COMMANDS))
    return parser.parse_args()


def main() -> int:
    options = parse_options()
    if sys.platform != "linux" or os.geteuid() != 0:
        print("skipped: only root on Linux can mount a small disk")
        return 0
    counts, bad = Counter(), 0
    with tempfile.TemporaryDirectory() as folder, _disk(Path(folder) / "disk") as disk:
        place = prepare(Path(folder) / "work")
        for name in options.only:
            for free in FREE:
                result, wrong = _try(place, COMMANDS[name], disk, free)
                counts[f"{name}: {result}"] += 1
                for line in wrong:
                    bad += 1
                    print(f"{name}, {free} bytes free: {line}", flush=True)
    for key, count in sorted(counts.items()):
        print(f"{key}: {count}")
    print(f"{sum(counts.values())} runs, {bad} problems")
    return 1 if bad else 0


@contextmanager
def _disk(path: Path):
    path.mkdir()
    size = f"size={MEGABYTES}m"
    subprocess.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", path], check=True)
    try:
        yield path
    finally:
        subprocess.run(["umount", "-l", path], check=True)


def _try(place: Place, command: Command, disk: Path, free: int) -> tuple[str, list[str]]:
    """What happened, and a line for each thing wrong."""
    out = place.output(command, disk / "out")
    before = _digests(out)
    filler = disk / "filler"
    with filler.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, max(1, _free(disk) - free))
    done = place.run(command, out)
    filler.unlink()
    wrong = problems(out) + [f"left: {path}" for path in leftovers(out, *place.swept)]
    if done.returncode not in (0, 1, 2) or "Traceback" in done.stderr:
        wrong.append(f"exit code {done.returncode}: {done.stderr[-1500:]}")
    said = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    if done.returncode != 0 and not said:
        wrong.append(f"no error is named: {done.stderr[-1500:]}")
    # A command writes several files: those before the one that failed are new, and whole.
    after = _digests(out)
    for path, digest in before.items():
        if path in "".join(said) and after.get(path) != digest:
            wrong.append(f"{path} changed, though it could not be written")
    if (out / "exported").exists() and (broken := exported(out / "exported")):
        wrong.append(broken)
    return f"exit code {done.returncode}", wrong


def _free(disk: Path) -> int:
    status = os.statvfs(disk)
    return status.f_bavail * status.f_frsize


def _digests(folder: Path) -> dict[str, str]:
    files = [path for path in folder.rglob("*") if path.name in KEPT]
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


if __name__ == "__main__":
    sys.exit(main())
