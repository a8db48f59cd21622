"""The service under load, against Inspector called directly in batches.

python -m benchmarks.serve --model_dir exported/flange --pictures data/flange/test --requests 20000
"""

import logging
import tempfile
import time
from itertools import cycle, islice
from pathlib import Path

from benchmarks.http_clients import Found, Picture, Service, load
from common.errors import run
from common.logs import start_logging
from common.options import Parser, whole

WARM = 500  # requests until memory should be flat

logger = logging.getLogger(__name__)


def parse_options():
    parser = Parser("Measure the service under load, against Inspector called directly in batches.")
    parser.add_argument("--model_dir", type=Path, required=True, help="folder of one model")
    parser.add_argument(
        "--pictures", type=Path, required=True, help="folder of pictures, with its subfolders"
    )
    parser.add_argument("--requests", type=whole(1000), default=20000, help="requests at full load")
    parser.add_argument("--clients", type=whole(1), default=16, help="simultaneous clients")
    parser.add_argument(
        "--half", type=whole(100), default=1000, help="requests at half of the full load"
    )
    return parser.parse_args()


def main() -> int:
    options = parse_options()
    start_logging()
    from datasets.samples import pictures_in
    from inspection import Inspector

    paths = pictures_in(options.pictures, recursive=True)
    contents = [path.read_bytes() for path in paths]
    inspector = Inspector.open(options.model_dir).load()
    pictures = [
        Picture(content, judgement.score)
        for content, judgement in zip(contents, inspector.inspect(contents), strict=True)
    ]
    category = inspector.record.category
    before = _direct(inspector, contents)
    del inspector
    with (
        tempfile.TemporaryDirectory() as folder,
        Service(options.model_dir, Path(folder) / "log") as service,
    ):
        memory = {}

        def after(number: int) -> None:
            if number >= WARM and number % 100 == 0:
                memory[number] = service.memory()

        full = load(
            service.address, category, pictures, options.requests, options.clients, after=after
        )
        rate = options.requests / full.elapsed
        half = load(
            service.address, category, pictures, options.half, options.clients, rate=rate / 2
        )
    inspector = Inspector.open(options.model_dir).load()
    after_load = _direct(inspector, contents)
    _report(full, half, rate, (before, after_load), list(memory.values()))
    return 0 if not (full.lost or full.wrong or half.lost or half.wrong) else 1


def _direct(inspector, contents: list[bytes], seconds: float = 20) -> float:
    """Pictures per second that Inspector judges in batches."""
    list(inspector.inspect(contents))
    start, done = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        for judgement in inspector.inspect(islice(cycle(contents), 4 * len(contents))):
            done += 1
            _ = judgement.regions
    return done / (time.perf_counter() - start)


def _report(
    full: Found, half: Found, rate: float, direct: tuple[float, float], memory: list[int]
) -> None:
    best = max(direct)
    print(f"Inspector, batches of 8: {direct[0]:.1f} before, {direct[1]:.1f} after, pictures/s")
    print(f"service, full load: {rate:.1f} pictures/s, {100 * rate / best:.0f} % of the better")
    print(f"answers: {dict(full.statuses)}, lost {full.lost}, wrong {full.wrong}")
    for name, found in (("full", full), ("half", half)):
        p50, p99 = (1000 * found.quantile(share) for share in (0.5, 0.99))
        print(f"{name} load: p50 {p50:.0f} ms, p99 {p99:.0f} ms")
    first, last = memory[0], memory[-1]
    print(
        f"memory after {WARM} requests {first / 1e6:.0f} MB, at the end {last / 1e6:.0f} MB "
        f"({100 * (last / first - 1):+.1f} %), from {min(memory) / 1e6:.0f} to "
        f"{max(memory) / 1e6:.0f} MB"
    )


if __name__ == "__main__":
    run(main)
