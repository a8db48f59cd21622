"""Training in one and in several processes, in turns: `python -m benchmarks.scaling`.

Every row is the median of the rounds, of rank 0. `learning` is from the first picture to the last
of the process's own share; `merging` includes the wait for slower processes.
"""

import logging
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

from common.errors import UsageError, WorkError, run
from common.logs import start_logging
from common.options import Parser, checked, whole
from datasets.samples import pictures_in

logger = logging.getLogger(__name__)

ROOT = Path(__file__).resolve().parent.parent
LEARNING = ("waiting for decoding", "network", "statistics")  # phases of the log


@dataclass(frozen=True)
class Layout:
    processes: int
    threads: int

    @classmethod
    def parse(cls, text: str) -> "Layout":
        if not (found := re.fullmatch(r"([1-9]\d?)x([1-9]\d?)", text)):
            raise ValueError(f"expected processes x threads, as 2x1, not {text}")
        return cls(int(found[1]), int(found[2]))

    def __str__(self) -> str:
        return f"{self.processes} × {self.threads}"


def parse_options():
    parser = Parser(__doc__)
    parser.add_argument(
        "--pictures",
        type=Path,
        default=Path("demo/data/flange/train/good"),
        help="a folder of good pictures",
    )
    parser.add_argument("--copies", type=whole(1), default=4, help="times that each is learned")
    parser.add_argument("--rounds", type=whole(1), default=3)
    parser.add_argument(
        "--layouts",
        nargs="+",
        type=checked(Layout.parse),
        default=[Layout(1, 2), Layout(1, 1), Layout(2, 1), Layout(4, 1)],
        metavar="PxT",
        help="processes and threads of each (default: 1x2 1x1 2x1 4x1); the first is the reference",
    )
    return parser.parse_args()


def main() -> int:
    options = parse_options()
    start_logging()
    if not (pictures := pictures_in(options.pictures.resolve())):
        raise UsageError(f"{options.pictures}: no pictures", "pictures")
    taken = defaultdict(lambda: defaultdict(list))
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        count = _links(pictures, options.copies, root / "links")
        for _ in range(options.rounds):
            for layout in options.layouts:
                for what, seconds in _train(layout, root, count).items():
                    taken[layout][what].append(seconds)
        models = {layout: load_file(_model(root, layout)) for layout in options.layouts}
    _report(taken, models, count)
    return 0


def _links(pictures: list[Path], copies: int, folder: Path) -> int:
    folder.mkdir()
    for copy in range(copies):
        for path in pictures:
            (folder / f"{copy}_{path.name}").symlink_to(path)
    return copies * len(pictures)


def _model(root: Path, layout: Layout) -> Path:
    return root / f"{layout.processes}x{layout.threads}" / "many" / "best.pdparams"


def _train(layout: Layout, root: Path, count: int) -> dict[str, float]:
    """Seconds of each part of one training, and the rate of learning."""
    own = root / f"{layout.processes}x{layout.threads}"
    command = [sys.executable]
    if layout.processes > 1:
        command += ["-m", "paddle.distributed.launch", "--log_dir", str(own / "launch")]
        command += ["--nproc_per_node", str(layout.processes)]
    command += [str(ROOT / "train.py"), "--normal_dir", str(root / "links"), "--category", "many"]
    command += ["--save_path", str(own), "--log_dir", str(own), "--no-calibrate"]
    (own / "many.log").unlink(missing_ok=True)
    with _processors(layout.processes * layout.threads):
        start = time.perf_counter()
        done = subprocess.run(command, cwd=ROOT, capture_output=True)
        whole_command = time.perf_counter() - start
    if done.returncode:
        raise WorkError(f"{' '.join(command)}: {done.stderr.decode(errors='replace')[-2000:]}")
    log = (own / "many.log").read_text()
    training = float(re.findall(r"fitted on \d+ pictures in ([\d.]+) s", log)[-1])
    line = re.findall(r"INFO seconds: (.*)", log)[-1]
    phases = {name: float(value) for name, value in re.findall(r"([^,]+?) ([\d.]+)(?:, |$)", line)}
    learning = sum(phases.get(name, 0) for name in LEARNING)
    return {
        "whole": whole_command,
        "training": training,
        "rate": count / layout.processes / learning,
        "merging": phases.get("merging", 0),
    }


@contextmanager
def _processors(number: int) -> Iterator[None]:
    """What is started during the block may use so many; the processes share them."""
    before = os.sched_getaffinity(0)
    if number > len(before):
        logger.warning("%d processors for %d threads", len(before), number)
    os.sched_setaffinity(0, sorted(before)[:number])
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _report(taken: dict, models: dict[Layout, dict[str, np.ndarray]], count: int) -> None:
    reference = next(iter(models))
    print(f"{count} pictures\n")
    print(
        "| processes × threads | whole command (s) | training (s) | learning, pictures/s per "
        "process | all processes | merging (s) | difference from the first |"
    )
    print("|---|---|---|---|---|---|---|")
    for layout, found in taken.items():
        whole_command, training, rate, merging = (
            statistics.median(found[what]) for what in ("whole", "training", "rate", "merging")
        )
        other = _difference(models[reference], models[layout])
        print(
            f"| {layout} | {whole_command:.1f} | {training:.1f} | {rate:.1f} | "
            f"{rate * layout.processes:.1f} | {merging:.2f} | {other:.1e} |"
        )


def _difference(first: dict[str, np.ndarray], second: dict[str, np.ndarray]) -> float:
    """The largest difference of an array over its largest value."""
    return max(
        float(np.abs(second[name].astype(float) - array).max() / max(np.abs(array).max(), 1e-30))
        for name, array in first.items()
    )


if __name__ == "__main__":
    run(main)
