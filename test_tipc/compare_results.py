"""Compare the scores in inference logs with a reference.

    python test_tipc/compare_results.py --gt_file "results/*.txt" \\
        --log_file "output/PaDiM/python_*.log"

A reference has one line per picture: path, tab, score. A log is compared with the reference that
has its precision and names the same pictures. The exit code is 1 if a score differs or is missing,
2 if there is nothing to compare or a reference is not valid.
"""

import argparse
import math
import re
import sys
from glob import escape, glob
from pathlib import Path
from typing import NoReturn

HERE = Path(__file__).resolve().parent
LINE = re.compile(r"^([^\t\n]+)\t(-?\d+\.?\d*(?:e[+-]?\d+)?|nan|-?inf)(?:\t\w+)?$", re.MULTILINE)
# Tolerance of each precision, relative. A precision without its own reference is compared with
# fp32's.
RTOL = {"fp32": 1e-3, "fp16": 1e-2, "bf16": 5e-2, "int8": 1e-1}


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    help = "patterns, relative to the current folder or to this script's (default: %(default)s)"
    parser.add_argument("--gt_file", nargs="+", default=["results/*.txt"], help=help)
    logs = "output/PaDiM/**/python_infer_*.log"  # `**`: further trainings have their own folders
    parser.add_argument("--log_file", nargs="+", default=[logs], help=help)
    parser.add_argument("--atol", type=float, default=1e-3, help="absolute (default: 1e-3)")
    parser.add_argument(
        "--rtol", type=float, help=f"relative (default: depends on the precision, {RTOL})"
    )
    options = parser.parse_args()
    for name in ("gt_file", "log_file"):
        found = [(pattern, find(pattern)) for pattern in getattr(options, name)]
        for pattern, paths in found:
            if not paths:
                wrong(f"--{name} {pattern}: no such files")
        setattr(options, name, sorted({path for _, paths in found for path in paths}))
    return options


def wrong(message: str) -> NoReturn:
    print(f"error: {message}", file=sys.stderr)
    sys.exit(2)


def find(pattern: str) -> list[Path]:
    """The files that match `pattern`."""
    # Path.glob does not accept absolute patterns.
    here = glob(pattern, recursive=True)  # noqa: PTH207
    found = here or glob(str(Path(escape(str(HERE))) / pattern), recursive=True)  # noqa: PTH207
    return [path for name in found if (path := Path(name)).is_file()]


def read_log(path: Path) -> list[tuple[str, float]]:
    """Picture and score of each line of a log that contains them."""
    text = path.read_text(encoding="utf-8", errors="replace")
    return [(name, float(score)) for name, score in LINE.findall(text)]


def read_reference(path: Path) -> dict[str, float]:
    """The score of each picture; the file can be a log. Exits if the reference is not valid."""
    found = read_log(path)
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line]
    scores = dict(found)
    if path.suffix == ".txt" and len(found) != len(lines):
        wrong(f"{path}: {len(lines) - len(found)} lines are not a path, a tab and a score")
    if not scores or len(scores) != len(found) or not all(map(math.isfinite, scores.values())):
        wrong(f"{path}: each picture must have exactly one finite score")
    return scores


def precision_of(path: Path) -> str:
    """The precision in the name of a file, or fp32."""
    named = re.findall("|".join(RTOL), path.name)
    return named[-1] if named else "fp32"


def reference_for(names: set, precision: str, references: dict[Path, dict]) -> Path | None:
    """The reference with the same pictures and the same precision, or else fp32."""
    for wanted in (precision, "fp32"):
        fit = [p for p, r in references.items() if precision_of(p) == wanted and r.keys() == names]
        if len(fit) > 1:
            wrong(f"{fit[0]} and {fit[1]} name the same pictures; remove one of them")
        if fit:
            return fit[0]
    return None


def compare(log: Path, references: dict[Path, dict], atol: float, rtol: float | None) -> bool:
    """Whether the scores in `log` are the expected ones; prints the result."""
    found, precision = read_log(log), precision_of(log)
    scores = dict(found)
    if not scores or len(scores) != len(found):
        print(f"failed: {log} has {'several scores of a picture' if scores else 'no scores'}")
        return False
    path = reference_for(scores.keys(), precision, references)
    if path is None:
        print(f"failed: {log}: no reference names the same {len(scores)} pictures")
        return False
    rtol = RTOL[precision] if rtol is None else rtol
    worst, off = 0.0, []
    for name, expected in references[path].items():
        difference = abs(scores[name] - expected)
        worst = max(worst, difference / abs(expected) if expected else difference)
        if not difference <= atol + rtol * abs(expected):  # true for NaN too
            off.append(f"  {name}: {scores[name]}, expected {expected}")
    outcome = "failed" if off else "passed"
    print(f"{outcome}: {log} and {path}: {len(scores)} scores, at most {worst:.1e} apart, relative")
    print("\n".join(off), end="\n" if off else "")
    return not off


def main() -> int:
    options = parse_options()
    references = {path: read_reference(path) for path in options.gt_file}
    outcomes = [compare(log, references, options.atol, options.rtol) for log in options.log_file]
    print(f"{outcomes.count(True)} passed, {outcomes.count(False)} failed")
    return int(not all(outcomes))


if __name__ == "__main__":
    sys.exit(main())
