"""Compare this project with other implementations of PaDiM, on a CPU: `make bench`.

All run with the same pictures, weights, channels and processors, each in an environment of its own,
and are measured in turn. A peer whose environment is not there is left out.
"""

import logging
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from benchmarks.process import ROOT, Process, Unavailable
from benchmarks.table import Results, table
from common.errors import UsageError, WorkError, run
from common.files import whole_file, writable_folder
from common.logs import start_logging
from common.options import Parser, add_boolean, checked, folder_name, whole
from models.device import cpu_threads

logger = logging.getLogger(__name__)

OURS = {"ours fp32": "fp32", "ours bf16": "bf16"}
PEERS = ("anomalib", "AnomaVision")
DEMO = {"size": 900, "train": 200, "good": 24, "defective": 12}  # like a category of MVTec AD
SINGLES = 32  # pictures scored one by one for a latency
BATCHES = 2  # batches for a throughput
PAUSE = 0.3  # seconds until the threads of whoever was measured last have gone to sleep


def parse_options():
    parser = Parser(__doc__)
    parser.add_argument(
        "--data_path",
        type=Path,
        help="folder of categories in MVTec AD's layout (default: the demo set at 900 × 900 "
        "pixels, drawn below demo/bench)",
    )
    parser.add_argument("--category", type=checked(folder_name), default="flange", help="which")
    parser.add_argument("--rounds", type=whole(1), default=5, help="measurements of each kind")
    for name in PEERS:
        text = f"Python of {name}'s environment (default: {_default_python(name)} if there)"
        parser.add_argument(f"--{name.lower()}", type=Path, metavar="PYTHON", help=text)
    parser.add_argument("--batch_size", type=whole(1), default=32, help="for the throughputs")
    parser.add_argument(
        "--threads", type=whole(1), default=cpu_threads(), help="processors for each contender"
    )
    parser.add_argument(
        "--peer_workers",
        type=whole(0),
        help="processes that decode for a peer, beside its own (default: as many as --threads)",
    )
    text = "run the peers channels-last, which is faster than PyTorch's default that they leave"
    add_boolean(parser, "--peer_channels_last", False, text)
    add_boolean(
        parser,
        "--fit_process",
        None,
        "time the whole train.py process too (default: if --data_path is given)",
    )
    text = "Markdown file to write"
    parser.add_argument("--output", type=Path, default=Path("output/bench.md"), help=text)
    return parser.parse_args()


def main() -> int:
    options = parse_options()
    start_logging()
    pythons = find_peers(options)
    limit_processors(options.threads)
    writable_folder(options.output.parent, "output")
    if options.fit_process is None:
        options.fit_process = options.data_path is not None
    train, test, defective = open_pictures(options)
    with ExitStack() as stack:
        results = Results()
        processes = start(options, pythons, results, stack)
        measure(options, processes, train, test, results)
    rate(results, defective)
    text = report(options, results, [*pythons], len(train), len(test))
    with whole_file(options.output) as draft:
        draft.write_text(text, encoding="utf-8")
    print(text, end="")
    logger.info("written: %s", options.output)
    return 0


def _default_python(name: str) -> Path:
    return Path(f".venv-{name.lower()}/bin/python")


def find_peers(options) -> dict[str, Path]:
    """The interpreter of each peer that is there; a line for each that is not."""
    found = {}
    for name in PEERS:
        option = f"--{name.lower()}"
        named, default = getattr(options, name.lower()), _default_python(name)
        if named is not None and not named.is_file():
            raise UsageError(f"{option} {named}: no such file; expected a Python interpreter")
        if (python := named or default).is_file():
            found[name] = python
        else:
            logger.info("%s is left out: there is no %s; name one by %s", name, default, option)
    return found


def limit_processors(threads: int) -> None:
    """All that is started from here has `threads` processors, decoding included."""
    if threads > cpu_threads():
        raise UsageError(f"--threads {threads}: there are {cpu_threads()} processors")
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])


def open_pictures(options) -> tuple[list[str], list[str], list[bool]]:
    """Paths to train with and to test with, and which of the latter are defective."""
    from datasets import mvtec
    from datasets.samples import require_test, require_training
    from demo_set.generate import generate

    if options.data_path is None:
        options.data_path = Path("demo/bench")
        logger.info("pictures: the demo set, below %s", options.data_path)
        generate(options.data_path, categories=(options.category,), **DEMO)
    mvtec.choose_categories(options.data_path, options.category)
    category, where = mvtec.open_category(options.data_path, options.category), options.data_path
    require_training(category, where)
    require_test(category, where)
    train, test = (
        [str(s.path.resolve()) for s in part] for part in (category.train, category.test)
    )
    for path in train + test:  # so that the first contender finds them in memory as the last does
        Path(path).read_bytes()
    return train, test, [sample.defective for sample in category.test]


def start(options, pythons: dict, results: Results, stack: ExitStack) -> dict[str, Process]:
    """A process each contender; those that cannot run here are in `results.absent`."""
    folder, threads = ROOT / "benchmarks", options.threads
    workers = threads if options.peer_workers is None else options.peer_workers
    started = {}
    for name, precision in OURS.items():
        settings = {"threads": threads, "precision": precision}
        started[name] = Process(sys.executable, folder / "ours.py", settings, True)
        stack.enter_context(started[name])
    for name, python in pythons.items():
        settings = {"threads": threads, "workers": workers}
        settings["channels_last"] = options.peer_channels_last
        started[name] = Process(python, folder / f"peer_{name.lower()}.py", settings, False)
        stack.enter_context(started[name])
    for name, process in list(started.items()):
        try:
            results.about[name] = process.ask("hello")["about"]
        except Unavailable as reason:
            results.absent[name] = str(reason)
            del started[name]
    return started


def measure(options, processes: dict, train: Sequence, test: Sequence, results: Results) -> None:
    """All rounds; within a round each measurement goes once through all contenders."""
    singles, many = spread(test, SINGLES), spread(test, BATCHES * options.batch_size)
    batch = options.batch_size
    plan = (
        ("fit", "fit", {"pictures": train}),
        ("memory_fit", "memory", {}),
        ("predict_decoded", "predict_decoded", {"pictures": singles}),
        ("predict_png", "predict_png", {"pictures": singles}),
        ("throughput_decoded", "throughput_decoded", {"pictures": many, "batch": batch}),
        ("throughput_png", "throughput_png", {"pictures": many, "batch": batch}),
        ("memory", "memory", {}),
        ("save", "save", {}),
        ("scores", "scores", {"pictures": test, "batch": batch}),
    )
    only_first = {"memory_fit", "save", "scores"}  # the same in each round, or true in it alone

    def ask(name: str, do: str, **arguments) -> dict:
        time.sleep(PAUSE)
        return processes[name].ask(do, **arguments)

    for name in processes:
        logger.info("warming up: %s", name)
        ask(name, "fit", pictures=train[:8])
    for turn in range(options.rounds):
        for key, do, arguments in plan:
            if turn and key in only_first:
                continue
            logger.info("round %d of %d: %s", turn + 1, options.rounds, key)
            for name in processes:
                results.add(name, key, ask(name, do, **arguments))
            if key == "fit" and options.fit_process:
                whole_processes(options, processes, results)


def spread(items: Sequence, count: int) -> list:
    """`count` of the items, evenly spread over all of them; again and again where they are few."""
    return [items[i * len(items) // count] for i in range(count)]


def whole_processes(options, processes: dict, results: Results) -> None:
    """train.py from its start to its end; beside it the fit alone that peers did just now."""
    for name in processes:
        if name in OURS:
            time.sleep(PAUSE)
            seconds = train_process(options, OURS[name])
        else:
            seconds = results.rounds[name]["fit"][-1]["seconds"]
        results.add(name, "process", {"seconds": seconds})


def train_process(options, precision: str) -> float:
    """Seconds from the start of `python train.py …` to its end, the model saved."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, str(ROOT / "train.py"), "--pretrained_backbone", "embedded"]
        command += ["--data_path", str(options.data_path), "--category", options.category]
        command += ["--save_path", folder, "--log_dir", folder]
        command += ["--precision", precision] if precision != "fp32" else []
        start = time.perf_counter()
        done = subprocess.run(command, capture_output=True, text=True, errors="replace")
        seconds = time.perf_counter() - start
    if done.returncode != 0:
        raise WorkError(f"train.py failed: {done.stderr.strip().splitlines()[-1:]}")
    return seconds


def rate(results: Results, defective: list[bool]) -> None:
    """The AUROC of the image scores, into the answers that hold them."""
    import numpy as np

    from evaluation.metrics import rank

    for measures in results.rounds.values():
        for answer in measures.get("scores", []):
            ranking = rank(np.array(defective), np.array(answer["scores"]))
            answer["auroc"] = ranking.auroc if ranking else float("nan")


def report(options, results: Results, peers: list[str], train: int, test: int) -> str:
    """The table and what one must know to read it."""
    lines = [
        f"{options.category}: {train} pictures to fit, {test} to test; {options.threads} "
        f"processors for each; rounds: {options.rounds}, in turn; batches of {options.batch_size}. "
        "Values are medians over the rounds; `a : b` is how many times better a is than b, the "
        "median of the rounds' own ratios (least–most).",
        "",
        table(results, list(OURS), peers),
        "",
    ]
    lines += [f"- {name}: {about}." for name, about in results.about.items()]
    lines += [f"- {name}: –, because {reason}." for name, reason in results.absent.items()]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    run(main)
