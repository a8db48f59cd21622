"""Exported graphs that are damaged, swapped, or of another model."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from common.files import sha256
from tests.corpus import given, samples
from tests.corpus.rows import Row
from tests.corpus.special import occupy

FILES = ("model.json", "model.pdiparams", "distribution")


def copied(change: Callable[[Path], object]) -> Callable[[Path], Path]:
    """A `make`: an exported folder that `change` changed."""

    def make(folder: Path) -> Path:
        place = folder / "export"
        place.mkdir()
        (place / "model.json").write_bytes(b'{"a graph": 1}' * 50)
        (place / "model.pdiparams").write_bytes(bytes(range(256)) * 4)
        path = samples.distribution(place / "distribution")
        arrays, record = samples.contents(path)
        known = {"model": sha256(place / "model.json"), "params": sha256(place / "model.pdiparams")}
        record["exported"]["graphs"] = [{**record["exported"]["graphs"][0], **known}]
        samples.rewritten(path, arrays, record)
        change(place)
        return place

    return make


def cut(name: str, sixteenths: int) -> Callable[[Path], None]:
    def change(place: Path) -> None:
        content = (place / name).read_bytes()
        (place / name).write_bytes(content[: len(content) * sixteenths // 16])

    return change


def flipped(name: str, place: int) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        content = bytearray((folder / name).read_bytes())
        content[place * (len(content) - 1) // 16] ^= 1 << (place % 8)
        (folder / name).write_bytes(content)

    return change


def swapped(first: str, second: str) -> Callable[[Path], None]:
    def change(place: Path) -> None:
        (place / first).rename(place / "x")
        (place / second).rename(place / first)
        (place / "x").rename(place / second)

    return change


def special(name: str, kind: str) -> Callable[[Path], None]:
    def change(place: Path) -> None:
        (place / name).unlink()
        if kind != "no file":
            occupy(place / name, kind)

    return change


def rows() -> Iterator[Row]:
    damaged = "damaged|truncated|from another export|not a distribution"
    for name in FILES:
        for k in range(16):
            yield Row("graphs", f"{name} cut at {k}/16", "exported", copied(cut(name, k)), damaged)
            make = copied(flipped(name, k))
            yield Row("graphs", f"{name} changed at {k}/16", "exported", make, damaged)
        for kind in ("no file", "a folder", "a pipe", "a dangling link", "a device"):
            make = copied(special(name, kind))
            yield Row("graphs", f"{kind} as {name}", "exported", make, "no such|has no", 2)
        for other in FILES[: FILES.index(name)]:
            make = copied(swapped(name, other))
            yield Row("graphs", f"{name} and {other} exchanged", "exported", make, damaged)
    yield Row("graphs", "an empty folder", "exported", lambda folder: folder, "has no model", 2)
    yield from of_scripts()


def of_scripts() -> Iterator[Row]:
    """The real export, through infer.py."""

    def infer(change: Callable[[Path], object]) -> Callable[[Path], list]:
        def make(folder: Path) -> list:
            place = folder / "export"
            shutil.copytree(given.exported(), place)
            change(place)
            return ["-i", given.picture(), "--model_dir", place]

        return make

    graph = "model.json"
    for title, change, error in (
        ("whole", lambda place: None, None),
        ("with a changed graph", lambda place: flipped(graph, 8)(place), "damaged"),
        ("with changed parameters", flipped("model.pdiparams", 8), "damaged"),
        ("with half of the parameters", cut("model.pdiparams", 8), "damaged"),
        ("with a checkpoint", lambda p: shutil.copy(given.model(), p / "distribution"), "not a d"),
        ("with garbage that a record vouches for", vouched, "does not fit|cannot"),
    ):
        yield Row("graphs", f"an export {title}", "infer", infer(change), error, slow=True)


def vouched(place: Path) -> None:
    """A graph of noise whose digest the record has: only a stranger writes this."""
    model = next(path for path in place.iterdir() if path.suffix in (".json", ".pdmodel"))
    model.write_bytes(b'{"base_code":{"magic":"pir","trainable":true,"version":1},"program":1}')
    arrays, record = samples.contents(place / "distribution")
    for graph in record["exported"]["graphs"]:
        graph["model"] = sha256(model)
    samples.rewritten(place / "distribution", arrays, record)
