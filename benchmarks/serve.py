"""The service under load, against Inspector called directly in batches.

python -m benchmarks.serve --model_dir exported/flange --pictures data/flange/test --requests 20000
"""

import logging
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.http_clients import Found, Service, add_load_options, load, scored
from common.errors import run
from common.logs import start_logging
from common.options import Parser, whole

WARM = 500  # requests until memory should be flat
ROUNDS = 10

logger = logging.getLogger(__name__)


def parse_options():
    parser = Parser("Measure the service under load, against Inspector called directly in batches.")
    add_load_options(parser)
    parser.add_argument("--requests", type=whole(1000), default=20000, help="requests at full load")
    parser.add_argument(
        "--half", type=whole(100), default=1000, help="requests at half of the full load"
    )
    return parser.parse_args()


def main() -> int:
    options = parse_options()
    start_logging()
    from inspection import Inspector

    inspector = Inspector.open(options.model_dir).load()
    pictures = scored(inspector, options.pictures)
    contents = [picture.content for picture in pictures]
    category = inspector.record.category
    found, direct, memory = Found(), [], []

    def after(number: int) -> None:
        if number % 100 == 0:
            memory.append(service.memory())

    with (
        tempfile.TemporaryDirectory() as folder,
        Service(options.model_dir, Path(folder) / "log") as service,
    ):
        fire = partial(load, service.address, category, pictures, clients=options.clients)
        fire(WARM)
        for _ in range(ROUNDS):  # in turns, since other work on the machine disturbs both
            direct.append(_direct(inspector, contents))
            found.add(fire(options.requests // ROUNDS, after=after))
        half = fire(options.half, rate=found.rate / 2)
    _report(found, half, direct, memory)
    return 1 if found.lost or found.wrong or half.lost or half.wrong else 0


def _direct(inspector, contents: list[bytes], seconds: float = 5) -> float:
    """Pictures per second that Inspector judges in batches."""
    start, done = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        for judgement in inspector.inspect(contents):
            done += 1
            _ = judgement.regions
    return done / (time.perf_counter() - start)


def _report(full: Found, half: Found, direct: list[float], memory: list[int]) -> None:
    print(f"Inspector, batches of 8: {np.mean(direct):.1f} pictures/s, rounds {np.round(direct)}")
    print(f"service, full load: {full.rate:.1f} pictures/s, rounds {np.round(full.rates)}")
    shares = np.divide(full.rates, direct)
    print(f"the service's share: {full.rate / np.mean(direct):.2f}, median {np.median(shares):.2f}")
    print(f"answers: {dict(full.statuses)}, lost {full.lost}, wrong {full.wrong}")
    for name, found in (("full", full), ("half", half)):
        p50, p99 = (1000 * found.quantile(share) for share in (0.5, 0.99))
        print(f"{name} load: p50 {p50:.0f} ms, p99 {p99:.0f} ms")
    tenth = len(memory) // 10  # the memory in use swings with every batch
    first, last = np.mean(memory[:tenth]) / 1e6, np.mean(memory[-tenth:]) / 1e6
    print(
        f"memory after {WARM} requests: {first:.0f} MB in the first tenth, {last:.0f} MB in the "
        f"last ({100 * (last / first - 1):+.1f} %), {min(memory) / 1e6:.0f} to "
        f"{max(memory) / 1e6:.0f} MB"
    )


if __name__ == "__main__":
    run(main)
