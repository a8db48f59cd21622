"""Run the corpus of hostile inputs: each row in a child process with 10 s and 2 GB of memory.

Exit code 1 if a row gives a traceback, a crash by a signal, a hang, too much memory, or another
error than the documented one.
"""

import argparse
import gc
import importlib
import json
import os
import sys
import tempfile
from collections import Counter
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # children have one thread


def parse_options():
    from tests.corpus.tables import FAMILIES

    parser = argparse.ArgumentParser(prog="python -m tests.corpus", description=__doc__)
    parser.add_argument("family", nargs="*", help=f"only these: {', '.join(FAMILIES)}")
    parser.add_argument("--row", help="only rows whose title contains this")
    parser.add_argument("--quick", action="store_true", help="without rows that start Paddle")
    parser.add_argument("--every", type=int, default=1, help="only every n-th row")
    parser.add_argument("--json", type=Path, help="write the problems to this file")
    parser.add_argument("--given", type=Path, help="a folder as tests.corpus.given makes it")
    options = parser.parse_args()
    if unknown := set(options.family) - set(FAMILIES):
        parser.error(f"unknown family {', '.join(sorted(unknown))}")
    return options


def main() -> int:
    from tests.corpus import given, tables, watch
    from tests.corpus.rows import SCRIPTS

    options = parse_options()
    # Imported before children are made, which then start at once.
    for module in ("tests.conftest", "tests.corpus.readers", *SCRIPTS):
        importlib.import_module(module)
    rows = tables.rows(options.family)
    rows = [row for row in rows if (options.row or "") in row.title]
    rows = [row for row in rows if not (options.quick and row.slow)][:: options.every]
    with tempfile.TemporaryDirectory() as folder:
        needs = any(row.slow for row in rows)
        given.use(options.given or Path(folder), make=needs and options.given is None)
        gc.freeze()
        outcomes = list(zip(rows, watch.watched(rows), strict=True))
    wrong = [(row, found) for row, outcome in outcomes if (found := outcome.problem(row))]
    _print_table(outcomes, wrong)
    if options.json:
        found = [f"{row.title}: {problem}" for row, problem in wrong]
        options.json.write_text(json.dumps({"rows": len(rows), "wrong": found}))
    return 1 if wrong else 0


def _print_table(outcomes: list, wrong: list) -> None:
    print(
        f"{'family':15s} {'rows':>5s} {'works':>6s} {'errors':>7s} {'wrong':>6s} {'s, most':>8s}",
        end="",
    )
    print(f" {'MiB, most':>10s}")
    wrongs = Counter(row.family for row, _ in wrong)
    for family in dict.fromkeys(row.family for row, _ in outcomes):
        own = [outcome for row, outcome in outcomes if row.family == family]
        works = sum(outcome.code == 0 for outcome in own)
        print(
            f"{family:15s} {len(own):5d} {works:6d} {len(own) - works:7d} {wrongs[family]:6d} "
            f"{max(o.seconds for o in own):8.1f} {max(o.peak for o in own) >> 20:10d}"
        )
    print(f"{len(outcomes)} rows, {len(wrong)} wrong")
    for row, problem in wrong:
        print(f"WRONG {row.title}: {problem}".encode("ascii", "backslashreplace").decode())


if __name__ == "__main__":
    sys.exit(main())
