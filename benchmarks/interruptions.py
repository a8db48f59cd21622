"""The service is stopped, and its models are reloaded, while clients send as fast as they can.

python -m benchmarks.interruptions --model_dir exported/flange --pictures data/flange/test
"""

import logging
import random
import signal
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.http_clients import Found, Picture, Service, add_load_options, load, post, scored
from common.errors import run
from common.logs import start_logging
from common.options import Parser, whole

MANY = 10**6  # requests, more than are sent before a stop
STOP_SECONDS = 120

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Setting:
    model_dir: Path
    category: str
    pictures: Sequence[Picture]
    clients: int


def stopped(setting: Setting, log: Path, number: int) -> tuple[Found, int]:
    """SIGTERM with request `number`; what the clients saw, and the exit code."""
    with Service(setting.model_dir, log) as service:

        def after(sent: int) -> None:
            if sent == number:
                service.process.send_signal(signal.SIGTERM)

        found = load(
            *(service.address, setting.category, setting.pictures, MANY, setting.clients),
            after=after,
        )
        return found, service.process.wait(STOP_SECONDS)


def reloaded(setting: Setting, log: Path, times: int) -> tuple[Found, list[int]]:
    """Reloads one after the other; what the clients saw, and the answers to the reloads."""
    found, stop = Found(), threading.Event()

    def fire() -> None:
        while not stop.is_set():
            found.add(load(service.address, setting.category, setting.pictures, 200, clients))

    clients = setting.clients
    with Service(setting.model_dir, log) as service:
        thread = threading.Thread(target=fire)
        thread.start()
        answers = [post(service.address, "/v1/reload") for _ in range(times)]
        stop.set()
        thread.join()
    return found, answers


def parse_options():
    parser = Parser("Stop and reload a service under load; count lost and wrong answers.")
    add_load_options(parser)
    parser.add_argument("--stops", type=whole(0), default=10, help="number of stops (SIGTERM)")
    parser.add_argument("--reloads", type=whole(0), default=10, help="number of reloads")
    parser.add_argument("--seed", type=whole(0), default=0, help="seed of the moments of the stops")
    return parser.parse_args()


def main() -> int:
    options = parse_options()
    start_logging()
    from inspection import Inspector

    inspector = Inspector.open(options.model_dir)
    pictures = scored(inspector, options.pictures)
    category = inspector.record.category
    setting = Setting(options.model_dir, category, pictures, options.clients)
    chance = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        right = [_tell_stop(setting, log, chance.randrange(100, 600)) for _ in range(options.stops)]
        if options.reloads:
            right.append(_tell_reloads(setting, log, options.reloads))
    return 0 if all(right) else 1


def _tell_stop(setting: Setting, log: Path, number: int) -> bool:
    found, code = stopped(setting, log, number)
    print(f"stop with request {number}: exit code {code}, {_told(found)}", flush=True)
    return code == 0 and _all_answered(found)


def _tell_reloads(setting: Setting, log: Path, times: int) -> bool:
    start = time.monotonic()
    found, answers = reloaded(setting, log, times)
    seconds = time.monotonic() - start
    print(f"reloads: {answers}, in {seconds:.0f} s; {_told(found)}", flush=True)
    return answers == [200] * times and _all_answered(found)


def _told(found: Found) -> str:
    return f"answers {dict(found.statuses)}, lost {found.lost}, wrong {found.wrong}"


def _all_answered(found: Found) -> bool:
    return not (found.lost or found.wrong) and set(found.statuses) == {200}


if __name__ == "__main__":
    run(main)
