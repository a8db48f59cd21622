"""Clients of the service, for load and for hostile requests."""

import http.client
import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from common.options import whole

ROOT = Path(__file__).resolve().parent.parent
TOKEN = "a-token-for-tests-and-benchmarks"
TOLERANCE = 1e-4  # relative


class Service:
    """A process of serve.py on a free port, which ends with the context; `extra` are options."""

    def __init__(self, model_dir: Path, log: Path, *extra: object):
        self.command = [sys.executable, "serve.py", "--model_dir", model_dir, "--port", 0, *extra]
        self.log = log

    def __enter__(self) -> "Service":
        surroundings = {**os.environ, "SERVE_TOKEN": TOKEN}
        with self.log.open("wb") as log:
            command = list(map(str, self.command))
            self.process = subprocess.Popen(command, cwd=ROOT, stderr=log, env=surroundings)
        try:
            self.address = self._address()
        except BaseException:
            self.process.kill()
            raise
        return self

    def __exit__(self, *_) -> None:
        if self.process.poll() is None:
            self.process.terminate()
        self.process.wait(60)

    def _address(self) -> tuple[str, int]:
        end = time.monotonic() + 120
        while time.monotonic() < end and self.process.poll() is None:
            found = re.search(r"listening on http://([\d.]+):(\d+)", self.log.read_text())
            if found and _open(address := (found[1], int(found[2]))):
                return address
            time.sleep(0.05)
        raise RuntimeError(f"the service did not start: {self.log.read_text()}")

    def memory(self) -> int:
        """Resident memory in bytes, with the processes that it started."""
        return sum(map(self.resident, self.processes()))  # none may end meanwhile

    def processes(self) -> list[int]:
        """The service and the processes that it started."""
        return _family(self.process.pid)

    @staticmethod
    def resident(process: int) -> int:
        """Resident memory of a process in bytes."""
        status = Path(f"/proc/{process}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) * 1024


def _family(process: int) -> list[int]:
    threads = Path(f"/proc/{process}/task").iterdir()  # each knows only its own children
    children = [child for thread in threads for child in (thread / "children").read_text().split()]
    return [process, *(one for child in children for one in _family(int(child)))]


def _open(address: tuple[str, int]) -> bool:
    try:
        socket.create_connection(address, 5).close()
        return True
    except OSError:
        return False


@dataclass(frozen=True)
class Picture:
    """A picture to send, and the score that its answer must have."""

    content: bytes
    score: float


def add_load_options(parser) -> None:
    """The model that the service has, the pictures to send, and how many clients send them."""
    parser.add_argument("--model_dir", type=Path, required=True, help="folder of one model")
    parser.add_argument(
        "--pictures", type=Path, required=True, help="folder of pictures, with its subfolders"
    )
    parser.add_argument("--clients", type=whole(1), default=16, help="simultaneous clients")


def scored(inspector, folder: Path) -> list[Picture]:
    """The pictures in `folder` and its subfolders, with the scores of `inspector`."""
    from datasets.samples import pictures_in

    contents = [path.read_bytes() for path in pictures_in(folder, recursive=True)]
    return [Picture(one.source, one.score) for one in inspector.inspect(contents)]


@dataclass
class Found:
    """What clients saw.

    lost, wrong : requests without an answer, answers with another score
    errors : why requests were lost
    refused : connections that were not accepted
    rates : answers per second of each round
    """

    seconds: list[float] = field(default_factory=list)
    statuses: Counter = field(default_factory=Counter)
    lost: int = 0
    wrong: int = 0
    refused: int = 0
    errors: list[str] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)

    def add(self, other: "Found") -> None:
        """Count what other clients saw, after these."""
        self.seconds += other.seconds
        self.statuses += other.statuses
        self.lost, self.wrong = self.lost + other.lost, self.wrong + other.wrong
        self.refused += other.refused
        self.errors += other.errors
        self.rates += other.rates

    @property
    def rate(self) -> float:
        """Answers per second: the harmonic mean of rounds of as many requests."""
        return len(self.rates) / sum(1 / rate for rate in self.rates)

    def quantile(self, share: float) -> float:
        """Of the times of answers, in seconds."""
        ordered = sorted(self.seconds)
        return ordered[min(int(share * len(ordered)), len(ordered) - 1)]


class Client:
    """One connection, opened again where the service closed it."""

    def __init__(self, address: tuple[str, int], category: str):
        self.connection = http.client.HTTPConnection(*address, timeout=60)
        self.path = f"/v1/{category}/inspect"

    def send(self, picture: Picture, found: Found, lock: threading.Lock) -> bool:
        """Send one picture; returns whether the service still accepts connections."""
        start = time.perf_counter()
        headers = {"Content-Type": "image/png", "Authorization": f"Bearer {TOKEN}"}
        try:
            self.connection.request("POST", self.path, picture.content, headers)
            answer = self.connection.getresponse()
            status, body = answer.status, json.loads(answer.read())
        except ConnectionRefusedError:
            found.refused += 1
            return False
        except (OSError, http.client.HTTPException) as error:
            self.connection.close()
            with lock:
                found.lost += 1
                found.errors.append(repr(error))
            return True
        with lock:
            found.statuses[status] += 1
            found.seconds.append(time.perf_counter() - start)
            found.wrong += status == 200 and not _right(body, picture)
        return True


def _right(body: dict, picture: Picture) -> bool:
    score = body["pictures"][0]["score"]
    return abs(score - picture.score) <= TOLERANCE * abs(picture.score)


def load(
    address: tuple[str, int],
    category: str,
    pictures: Sequence[Picture],
    requests: int,
    clients: int = 16,
    rate: float | None = None,
    after: Callable[[int], None] = lambda done: None,
) -> Found:
    """Send `requests` pictures over `clients` connections, one after the other in each.

    rate : requests per second, evenly spread; None: as fast as answers come
    after : called with the number of requests that were sent before
    """
    found, lock, numbers = Found(), threading.Lock(), iter(range(requests))
    start = time.perf_counter()

    def run() -> None:
        client, goes_on = Client(address, category), True
        while goes_on:
            with lock:
                number = next(numbers, None)
            if number is None:
                return
            if rate is not None:
                time.sleep(max(0.0, start + number / rate - time.perf_counter()))
            after(number)
            goes_on = client.send(pictures[number % len(pictures)], found, lock)

    threads = [threading.Thread(target=run) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found.rates.append(len(found.seconds) / (time.perf_counter() - start))
    return found


def post(address: tuple[str, int], path: str) -> int:
    """The status of an empty POST with the token."""
    connection = http.client.HTTPConnection(*address, timeout=120)
    connection.request("POST", path, headers={"Authorization": f"Bearer {TOKEN}"})
    status = connection.getresponse().status
    connection.close()
    return status
