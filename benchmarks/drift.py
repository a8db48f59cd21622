"""How soon drift is found, and how often there is a false alarm, on drawn scores.

`python -m benchmarks.drift` prints the tables of docs/drift.md.
"""

import numpy as np

from common.calibration import NormalScores
from common.options import Parser, whole
from evaluation.drift.check import Drift, Question

PICTURES, DEFECTIVE, BEFORE = 2000, 0.05, 500
CHANGES = {
    "0.5 deviations higher": lambda scores: scores + 0.5,
    "1 deviation higher": lambda scores: scores + 1,
    "1 deviation lower": lambda scores: scores - 1,
    "half the deviation": lambda scores: scores / 2,
    "all above the threshold": lambda scores: scores + 9,
}


def drift(random: np.random.Generator, training: int, change, question: Question) -> Drift:
    """Normal scores that change after BEFORE pictures; DEFECTIVE of them are of defects."""
    scores = random.normal(size=PICTURES)
    scores[BEFORE:] = change(scores[BEFORE:])
    scores[random.random(PICTURES) < DEFECTIVE] += 9
    normal = NormalScores.of(random.normal(size=training).tolist())
    return Drift(normal, scores, question)


def false_alarms(random: np.random.Generator, trials: int) -> None:
    print("| training pictures | alpha | files with a false alarm |\n|---|---|---|")
    for training in (20, 60, 300):
        for alpha in (0.1, 0.01):
            question, found = Question(alpha=alpha), 0
            for _ in range(trials):
                found += drift(random, training, np.copy, question).alarm is not None
            print(f"| {training} | {alpha:g} | {found} of {trials} |")


def delays(random: np.random.Generator, trials: int) -> None:
    print("\n| training pictures | change | found | pictures until the alarm, median |")
    print("|---|---|---|---|")
    for training in (20, 60, 300):
        for name, change in CHANGES.items():
            drawn = [drift(random, training, change, Question()) for _ in range(trials)]
            late = [one.alarm - BEFORE + 1 for one in drawn if one.alarm is not None]
            late = [pictures for pictures in late if pictures > 0]
            median = f"{np.median(late):.0f}" if late else ""
            print(f"| {training} | {name} | {len(late)} of {trials} | {median} |")


def main() -> None:
    parser = Parser("Measure false alarms and delays of evaluation.drift on drawn scores.")
    parser.add_argument("--trials", type=whole(1), default=100, help="files per row of the tables")
    trials, random = parser.parse_args().trials, np.random.default_rng(0)
    false_alarms(random, trials)
    delays(random, trials)


if __name__ == "__main__":
    main()
