"""Compare this project with other implementations of a method, on a CPU: `make bench`.

All use the same pictures and processors, each in its own environment, and are measured in turn.
This project runs twice: with its default network, and with the network, weights and channels of the
peers. A peer without an environment is left out, and so is one that does not have the --method.
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
from common.options import Parser, add_boolean, checked, folder_name, positive, whole
from models.device import cpu_threads

logger = logging.getLogger(__name__)

NETWORKS = {
    "default": {},
    "the peers' network": {"backbone": "resnet18", "pretrained_backbone": "embedded"},
}
OURS = {
    f"ours, {network}, {precision}": (network, precision)
    for network in NETWORKS
    for precision in ("fp32", "bf16")
}
PEERS = {"padim": ("anomalib", "AnomaVision"), "patchcore": ("anomalib",)}
DEMO = {"size": 900, "train": 200, "good": 24, "defective": 12}  # like a category of MVTec AD
SINGLES = 32  # pictures scored one by one for the latencies
BATCHES = 2  # batches for the throughputs
PAUSE = 0.3  # seconds until the threads of the contender before are idle


def parse_options():
    parser = Parser(__doc__)
    parser.add_argument(
        "--data_path",
        type=Path,
        help="folder of categories in MVTec AD's layout (default: the demo set at 900 × 900 "
        "pixels, drawn below demo/bench)",
    )
    parser.add_argument(
        "--category", type=checked(folder_name), default="flange", help="its category"
    )
    parser.add_argument("--method", choices=tuple(PEERS), default="padim", help="what is compared")
    parser.add_argument(
        "--coreset_ratio",
        type=checked(positive),
        default=0.1,
        help="of patchcore, for all contenders; the peer's fit takes time in proportion to it",
    )
    parser.add_argument("--rounds", type=whole(1), default=5, help="measurements of each kind")
    for name in PEERS["padim"]:
        text = f"Python of {name}'s environment (default: {_default_python(name)}, if it exists)"
        parser.add_argument(f"--{name.lower()}", type=Path, metavar="PYTHON", help=text)
    parser.add_argument("--batch_size", type=whole(1), default=32, help="of the throughputs")
    parser.add_argument(
        "--threads", type=whole(1), default=cpu_threads(), help="processors per contender"
    )
    parser.add_argument(
        "--peer_workers",
        type=whole(0),
        help="processes that decode for a peer, besides its own (default: --threads)",
    )
    text = "run the peers channels-last, which is faster than PyTorch's default that they use"
    add_boolean(parser, "--peer_channels_last", False, text)
    add_boolean(
        parser,
        "--fit_process",
        None,
        "time the whole train.py process too (default: only with --data_path)",
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
    """The interpreter of each peer that exists; logs a line for each that does not."""
    found = {}
    for name in PEERS[options.method]:
        option = name.lower()
        named, default = getattr(options, name.lower()), _default_python(name)
        if named is not None and not named.is_file():
            raise UsageError(f"{named}: no such file; expected a Python interpreter", option)
        if (python := named or default).is_file():
            found[name] = python
        else:
            logger.info("%s is left out: no %s; give another with --%s", name, default, option)
    return found


def limit_processors(threads: int) -> None:
    """Limit this process and all that it starts to `threads` processors."""
    if threads > cpu_threads():
        raise UsageError(f"{threads} is more than the {cpu_threads()} processors", "threads")
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])


def open_pictures(options) -> tuple[list[str], list[str], list[bool]]:
    """Paths of training and of test pictures, and which test pictures are defective."""
    from datasets import mvtec
    from datasets.samples import require_test, require_training
    from demo_set.generate import generate

    if options.data_path is None:
        options.data_path = Path("demo/bench")
        logger.info("pictures: the demo set in %s", options.data_path)
        generate(options.data_path, categories=(options.category,), **DEMO)
    mvtec.choose_categories(options.data_path, options.category)
    category, where = mvtec.open_category(options.data_path, options.category), options.data_path
    require_training(category, where)
    require_test(category, where)
    train, test = (
        [str(s.path.resolve()) for s in part] for part in (category.train, category.test)
    )
    for path in train + test:  # so that the first contender too finds them in memory
        Path(path).read_bytes()
    return train, test, [sample.defective for sample in category.test]


def start(options, pythons: dict, results: Results, stack: ExitStack) -> dict[str, Process]:
    """One process per contender; `results.absent` gets those that cannot run here."""
    folder, threads = ROOT / "benchmarks", options.threads
    workers = threads if options.peer_workers is None else options.peer_workers
    started = {}
    for name, (network, precision) in OURS.items():
        settings = {"threads": threads, "precision": precision, "model": NETWORKS[network]}
        settings |= {"method": options.method, "settings": method_settings(options)}
        started[name] = Process(sys.executable, folder / "ours.py", settings, True)
        stack.enter_context(started[name])
    for name, python in pythons.items():
        settings = {"threads": threads, "workers": workers}
        settings["channels_last"] = options.peer_channels_last
        if options.method != "padim":
            settings |= {"method": options.method, **method_settings(options)}
        started[name] = Process(python, folder / f"peer_{name.lower()}.py", settings, False)
        stack.enter_context(started[name])
    for name, process in list(started.items()):
        try:
            results.about[name] = process.ask("hello")["about"]
        except Unavailable as reason:
            results.absent[name] = str(reason)
            del started[name]
    return started


def method_settings(options) -> dict:
    """Settings of the method that all contenders have."""
    return {"coreset_ratio": options.coreset_ratio} if options.method == "patchcore" else {}


def measure(options, processes: dict, train: Sequence, test: Sequence, results: Results) -> None:
    """All rounds; in a round each measurement runs once for each contender."""
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
    only_first = {
        "memory_fit",
        "save",
        "scores",
    }  # equal in all rounds, or valid in the first only

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
    """`count` of the items, evenly spread; repeated where there are fewer than `count`."""
    return [items[i * len(items) // count] for i in range(count)]


def whole_processes(options, processes: dict, results: Results) -> None:
    """Times of the train.py process; for peers the time of the fit just measured."""
    for name in processes:
        if name in OURS:
            time.sleep(PAUSE)
            seconds = train_process(options, *OURS[name])
        else:
            seconds = results.rounds[name]["fit"][-1]["seconds"]
        results.add(name, "process", {"seconds": seconds})


def train_process(options, network: str, precision: str) -> float:
    """Seconds from the start of `python train.py …` to its end, with the model saved."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, str(ROOT / "train.py"), "--method", options.method]
        settings = NETWORKS[network] | method_settings(options)
        command += [part for key, value in settings.items() for part in (f"--{key}", str(value))]
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
    """Add the AUROC of the image scores to the answers that contain them."""
    import numpy as np

    from evaluation.metrics import rank

    for measures in results.rounds.values():
        for answer in measures.get("scores", []):
            ranking = rank(np.array(defective), np.array(answer["scores"]))
            answer["auroc"] = ranking.auroc if ranking else float("nan")


def report(options, results: Results, peers: list[str], train: int, test: int) -> str:
    """A table for each of our networks, with the explanations that they need."""
    lines = [
        f"{options.category}: {train} pictures to fit, {test} to test; {options.threads} "
        f"processors for each; {options.rounds} rounds; batches of {options.batch_size}. "
        "Values are medians over the rounds; `a : b` says how many times better a is than b: the "
        "median of the ratios within rounds (smallest–largest).",
        "",
    ]
    for network in NETWORKS:
        ours = [name for name, (its, _) in OURS.items() if its == network]
        lines += [table(results, ours, peers), ""]
    lines += [f"- {name}: {about}." for name, about in results.about.items()]
    lines += [f"- {name}: –, because {reason}." for name, reason in results.absent.items()]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    run(main)
