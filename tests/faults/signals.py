"""Send SIGTERM and SIGINT to commands at random moments: 143 and 130 within 2 s, nothing is left.

Before a script has taken its signals over, in the first tenths of a second, the system ends it by
the signal itself, which a shell also reports as 143 and 130, and Python by a traceback of its own
start. A command whose work is done may end with 0.
"""

import argparse
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests.faults.commands import COMMANDS, ROOT, Command, Place, prepare, seconds_of
from tests.faults.whole import leftovers, problems

CODES = {signal.SIGTERM: (143, "terminated"), signal.SIGINT: (130, "interrupted")}
MOST = 2.0  # s


def parse_options():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=10, help="of each command and signal")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=COMMANDS, nargs="+", default=list(COMMANDS))
    return parser.parse_args()


def main() -> int:
    options = parse_options()
    rng = random.Random(options.seed)
    counts, bad, slowest, sent = Counter(), 0, 0.0, 0
    with tempfile.TemporaryDirectory() as folder:
        place = prepare(Path(folder))
        for name in options.only:
            command = COMMANDS[name]
            begins, seconds = 2 * _begins(place, command), seconds_of(place, command)
            for i in range(2 * options.times):
                number = list(CODES)[i % 2]
                # One moment in each part of the time that the command takes.
                moment = seconds * (i // 2 + rng.random()) / options.times
                result, took, wrong = _try(place, command, number, moment, begins)
                counts[f"{name} {number.name}: {result}"] += 1
                sent, slowest = sent + 1, max(slowest, took)
                for line in wrong:
                    bad += 1
                    print(f"{name}, {number.name} after {moment:.2f} s: {line}", flush=True)
    for key, count in sorted(counts.items()):
        print(f"{key}: {count}")
    print(f"{sent} signals, {bad} problems, slowest answer {slowest:.2f} s")
    return 1 if bad else 0


def _begins(place: Place, command: Command) -> float:
    """Seconds until the script has taken its signals over, at most: it says its options then."""
    start = time.monotonic()
    script = command.arguments[: 2 if command.arguments[0] == "-m" else 1]
    place.run(Command(command.name, (*script, "--help")), place.root)
    return time.monotonic() - start


def _try(
    place: Place, command: Command, number: signal.Signals, moment: float, begins: float
) -> tuple[str, float, list[str]]:
    """What happened, the seconds until the process ended, and a line for each thing wrong."""
    out = place.output(command, "out")
    process = place.start(command, out)
    time.sleep(moment)
    if process.poll() is not None:
        process.communicate()
        return "ended before", 0.0, []
    start = time.monotonic()
    process.send_signal(number)
    _, err = process.communicate()
    took, wrong = time.monotonic() - start, []
    code, text = CODES[number]
    result = {code: str(code), 0: "0, its work was done"}.get(process.returncode)
    python = process.returncode == 1 and "KeyboardInterrupt" in err and str(ROOT) not in err
    if (process.returncode == -number or python) and moment < begins:
        result = "by the system or by Python, before the script began"
    if result is None:
        wrong.append(f"exit code {process.returncode}: {err[-1000:]}")
        result = "wrong"
    if took > MOST and process.returncode != 0:
        wrong.append(f"ended after {took:.2f} s")
    if process.returncode == code and not err.endswith(f"error: {text}\n"):
        wrong.append(f"message: {err[-300:]}")
    wrong += problems(out)
    wrong += [f"left: {path}" for path in leftovers(out, *place.swept)]
    return result, took, wrong


if __name__ == "__main__":
    sys.exit(main())
