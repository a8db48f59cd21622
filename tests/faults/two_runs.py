"""Run two commands on one category at once: neither fails, and every file is whole and of one.

Also reads models and exports all the time while others replace them.
"""

import argparse
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from models import checkpoint
from tests.faults.commands import COMMANDS, Command, Place, prepare
from tests.faults.whole import exported, leftovers, problems

OTHER = ("--seed", "3")  # other channels
TRAIN, EXPORT = COMMANDS["train"], COMMANDS["export"]
PAIRS = (
    (TRAIN, Command("train", (*TRAIN.arguments, *OTHER), TRAIN.needs)),
    (TRAIN, COMMANDS["val"]),
    (COMMANDS["val"], COMMANDS["val"]),
    (TRAIN, EXPORT),
    (TRAIN, COMMANDS["predict"]),
    (EXPORT, EXPORT),
    (EXPORT, COMMANDS["infer"]),
    (COMMANDS["update"], COMMANDS["val"]),
    (COMMANDS["merge"], COMMANDS["predict"]),
)


def parse_options():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=5, help="of each pair (default: 5)")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def main() -> int:
    options = parse_options()
    rng = random.Random(options.seed)
    counts, bad = Counter(), 0
    with tempfile.TemporaryDirectory() as folder:
        place = prepare(Path(folder))
        for pair in PAIRS:
            for _ in range(options.times):
                name = " and ".join(command.name for command in pair)
                wrong = _try(place, pair, 2 * rng.random())
                counts[f"{name}: {'wrong' if wrong else 'right'}"] += 1
                for line in wrong:
                    bad += 1
                    print(f"{name}: {line}", flush=True)
    for key, count in sorted(counts.items()):
        print(f"{key}: {count}")
    print(f"{sum(counts.values())} pairs, {bad} problems")
    return 1 if bad else 0


def _try(place: Place, pair: tuple[Command, Command], later: float) -> list[str]:
    """Start the second of the commands so many seconds `later`; a line for each thing wrong."""
    needs = pair[0].needs | pair[1].needs
    out = place.output(Command("both", (), needs), "out")
    started = []
    for command, wait in zip(pair, (later, 0), strict=True):
        started.append(place.start(command, out))
        time.sleep(wait)
    wrong = []
    for command, process in zip(pair, started, strict=True):
        _, err = process.communicate()
        if process.returncode != 0:
            wrong.append(f"{command.name} ended with {process.returncode}: {err[-1500:]}")
    wrong += problems(out) + [f"left: {path}" for path in leftovers(out, *place.swept)]
    model = out / "flange" / "best.pdparams"
    if model.exists() and checkpoint.load_record(model).category != "flange":
        wrong.append("the model is of another category")
    if (out / "exported").exists() and (broken := exported(out / "exported")):
        wrong.append(broken)
    return wrong


if __name__ == "__main__":
    sys.exit(main())
