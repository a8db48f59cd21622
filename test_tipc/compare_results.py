"""Compare the scores that logs of inference print with the reference.

    python test_tipc/compare_results.py --gt_file "results/*.txt" \\
        --log_file "output/PaDiM/python_*.log"

A reference has a line for each picture: its path, a tab, its score. A log is compared with the
reference of its precision that names the same pictures. 1 where anything differs.
"""

import argparse
import re
import sys
from glob import glob
from pathlib import Path

HERE = Path(__file__).resolve().parent
LINE = re.compile(r"^([^\t\n]+)\t(-?\d+\.?\d*(?:e[+-]?\d+)?|nan|-?inf)(?:\t\w+)?$", re.MULTILINE)
# What another arithmetic may change, relative; each is compared with fp32 where it has no
# reference of its own.
RTOL = {"fp32": 1e-3, "fp16": 1e-2, "bf16": 5e-2, "int8": 1e-1}


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    help = "patterns; from here, or else from the folder of this script"
    parser.add_argument("--gt_file", nargs="+", default=["results/*.txt"], help=help)
    parser.add_argument("--log_file", nargs="+", default=["output/PaDiM/python_*.log"], help=help)
    parser.add_argument("--atol", type=float, default=1e-3, help="absolute (default: 1e-3)")
    parser.add_argument(
        "--rtol", type=float, help=f"relative (default: that of the precision, {RTOL})"
    )
    options = parser.parse_args()
    for name in ("gt_file", "log_file"):
        patterns = getattr(options, name)
        setattr(options, name, found := find(patterns))
        if not found:
            parser.exit(2, f"error: --{name} {' '.join(patterns)}: no such files\n")
    return options


def find(patterns: list[str]) -> list[Path]:
    """The files that any of the `patterns` names."""
    # Path.glob takes no absolute patterns.
    found = [glob(pattern) or glob(str(HERE / pattern)) for pattern in patterns]  # noqa: PTH207
    return sorted({Path(path) for paths in found for path in paths})


def read_scores(path: Path) -> dict[str, float]:
    """The score of each picture that a log or a reference names."""
    text = path.read_text(encoding="utf-8", errors="replace")
    return {name: float(score) for name, score in LINE.findall(text)}


def precision_of(path: Path) -> str:
    """The precision that a file's name tells, or fp32."""
    named = re.findall("|".join(RTOL), path.name)
    return named[-1] if named else "fp32"


def reference_for(scores: dict, precision: str, references: dict[Path, dict]) -> Path | None:
    """The reference that names the same pictures, of the same precision or else of fp32."""
    for wanted in (precision, "fp32"):
        for path, expected in references.items():
            if precision_of(path) == wanted and expected.keys() == scores.keys():
                return path
    return None


def compare(log: Path, references: dict[Path, dict], atol: float, rtol: float | None) -> bool:
    """Whether the scores in `log` are the expected ones; says so."""
    scores, precision = read_scores(log), precision_of(log)
    if not scores:
        print(f"failed: {log} has no scores")
        return False
    path = reference_for(scores, precision, references)
    if path is None:
        print(f"failed: {log}: no reference names the same {len(scores)} pictures")
        return False
    rtol = RTOL[precision] if rtol is None else rtol
    worst, off = 0.0, []
    for name, expected in references[path].items():
        difference = abs(scores[name] - expected)
        worst = max(worst, difference / abs(expected) if expected else difference)
        if not difference <= atol + rtol * abs(expected):  # NaN differs, too
            off.append(f"  {name}: {scores[name]}, expected {expected}")
    outcome = "failed" if off else "passed"
    print(f"{outcome}: {log} and {path}: {len(scores)} scores, at most {worst:.1e} apart, relative")
    print("\n".join(off), end="\n" if off else "")
    return not off


def main() -> int:
    options = parse_options()
    references = {path: read_scores(path) for path in options.gt_file}
    outcomes = [compare(log, references, options.atol, options.rtol) for log in options.log_file]
    print(f"{outcomes.count(True)} passed, {outcomes.count(False)} failed")
    return int(not all(outcomes))


if __name__ == "__main__":
    sys.exit(main())
