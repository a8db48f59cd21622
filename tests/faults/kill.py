"""Kill commands at random moments: all files stay whole, the next run succeeds and sweeps.

Half of the kills come at any time, half just after something in the output folder has changed.
"""

import argparse
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from common.transaction import settle
from tests.faults.commands import COMMANDS, Command, Place, prepare, seconds_of
from tests.faults.whole import exported, leftovers, problems

KILLED = ("train", "calibrate", "val", "export", "update", "merge", "predict")
AFTER = 0.02  # seconds between a change and the kill, at most


def parse_options():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=100, help="kills (default: 100)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=KILLED, nargs="+", default=KILLED)
    return parser.parse_args()


def main() -> int:
    options = parse_options()
    rng = random.Random(options.seed)
    counts, bad = Counter(), []
    with tempfile.TemporaryDirectory() as folder:
        place = prepare(Path(folder))
        seconds = {name: seconds_of(place, COMMANDS[name]) for name in options.only}
        print("seconds:", {name: round(value, 1) for name, value in seconds.items()}, flush=True)
        for i in range(options.times):
            name = options.only[i % len(options.only)]
            found = _try(place, COMMANDS[name], seconds[name], rng, counts, i // len(options.only))
            for line in found:
                print(f"{name}: {line}", flush=True)
            bad += found
    for key, count in sorted(counts.items()):
        print(f"{key}: {count}")
    print(f"{options.times} kills, {len(bad)} problems")
    return 1 if bad else 0


def _try(
    place: Place, command: Command, seconds: float, rng: random.Random, counts: Counter, turn: int
) -> list[str]:
    """Kill `command` once, and run it again; returns a line for each thing that is wrong."""
    out = place.output(command, "out")
    process = place.start(command, out)
    if turn % 2:
        _wait_for_change(process, out, rng.randrange(1, 8))
        time.sleep(AFTER * rng.random())
    else:
        time.sleep(seconds * rng.random())
    ended = process.poll() is not None
    process.send_signal(signal.SIGKILL)
    process.communicate()
    counts[f"{command.name}: {'ended before' if ended else 'killed'}"] += 1
    left = leftovers(out, *place.swept)
    counts["temporary folders that kills left"] += len(left)
    for path in (out, out / "exported"):
        settle(path)
    found = problems(out)
    if (out / "exported").exists() and (wrong := exported(out / "exported")):
        found.append(wrong)
    done = place.run(command, out)
    if done.returncode != 0 or "Traceback" in done.stderr:
        found.append(f"the next run ended with {done.returncode}: {done.stderr[-2000:]}")
    found += problems(out)
    found += [f"left: {path}" for path in leftovers(out, *place.swept)]
    return found


def _wait_for_change(process, out: Path, changes: int) -> None:
    """Until the names in the output folder have changed so often, or the process has ended."""
    before = _names(out)
    while changes and process.poll() is None:
        if (now := _names(out)) != before:
            before, changes = now, changes - 1


def _names(folder: Path) -> set[str]:
    found = set()
    for place, folders, files in os.walk(folder):
        found.update(f"{place}/{name}" for name in (*folders, *files))
    return found


if __name__ == "__main__":
    sys.exit(main())
