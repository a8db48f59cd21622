"""Compares the decoders, and the least time that a picture needs: `python -m benchmarks.decoders`.

Medians in milliseconds per picture; the ways run in turn on each picture. The floor of a PNG is to
inflate its data, nothing else.
"""

import statistics
import time
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from common.errors import UsageError, run
from common.logs import start_logging
from common.options import Parser, whole
from common.preprocessing import DECODERS, Preprocessing
from datasets import headers, vips
from datasets.samples import pictures_in
from datasets.transforms import Transform


def parse_options():
    parser = Parser(__doc__)
    parser.add_argument(
        "--pictures",
        type=Path,
        default=Path("demo/data"),
        help="a folder: all pictures in it and in its subfolders",
    )
    parser.add_argument("--number", type=whole(1), default=40, help="pictures that are used")
    parser.add_argument("--rounds", type=whole(1), default=5, help="times that each is read")
    return parser.parse_args()


def inflated(png: bytes) -> Callable[[], bytes] | None:
    """A function that only inflates the data of a PNG; None for other files."""
    if not png.startswith(headers.PNG):
        return None
    whole, start, data = headers.in_one_piece(png), len(headers.PNG), b""
    while start < len(whole):
        size = int.from_bytes(whole[start : start + 4], "big")
        if whole[start + 4 : start + 8] == b"IDAT":
            data = whole[start + 8 : start + 8 + size]
        start += 12 + size
    return lambda: zlib.decompress(data)


def timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return (time.perf_counter() - start) * 1000


def one_after_the_other(contents: Sequence[bytes], ways: dict[str, Transform], rounds: int) -> None:
    taken: dict[str, list[float]] = {}
    for turn in range(rounds + 1):
        for content in contents:
            works = {"inflate": inflated(content)}
            works |= {
                name: lambda way=way, content=content: way.picture(content)
                for name, way in ways.items()
            }
            for name, work in works.items():
                if work is not None and (milliseconds := timed(work)) and turn:
                    taken.setdefault(name, []).append(milliseconds)
    for name, values in taken.items():
        values.sort()
        print(f"{name}: median {statistics.median(values):.1f}, least {values[0]:.1f} ms a picture")


def two_threads(contents: Sequence[bytes], ways: dict[str, Transform], rounds: int) -> None:
    with ThreadPoolExecutor(2) as pool:
        for name, way in ways.items():
            rates = []
            for _ in range(rounds):
                milliseconds = timed(lambda way=way: list(pool.map(way.picture, contents)))
                rates.append(1000 * len(contents) / milliseconds)
            print(f"{name}, two threads: median {statistics.median(rates):.0f} pictures/s")


def differences(contents: Sequence[bytes], ways: dict[str, Transform]) -> None:
    first, *others = ways
    for other in others:
        steps = [
            np.abs(ways[first].picture(c).astype(int) - ways[other].picture(c)) for c in contents
        ]
        most, mean = max(map(np.max, steps)), np.mean([step.mean() for step in steps])
        print(f"{other} and {first}: at most {most}, on average {mean:.2f} of 255 grey levels")


def main() -> int:
    options = parse_options()
    start_logging()
    if not options.pictures.is_dir():
        raise UsageError(f"{options.pictures}: no such folder", "pictures")
    paths = pictures_in(options.pictures, recursive=True)
    if not paths:
        raise UsageError(f"{options.pictures}: no pictures in it", "pictures")
    used = paths[:: max(1, len(paths) // options.number)][: options.number]
    contents = [path.read_bytes() for path in used]
    names = [name for name in DECODERS if name != "vips" or vips.installed()]
    ways = {name: Transform(Preprocessing(decoder=name)) for name in names}
    one_after_the_other(contents, ways, options.rounds)
    two_threads(contents, ways, options.rounds)
    differences(contents, ways)
    return 0


if __name__ == "__main__":
    run(main)
