"""Checkpoints, distributions and the states of a training: cut, changed, and made by strangers."""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from tests.corpus import samples
from tests.corpus.changed_files import KINDS, NAMES, changed, content_of, of_bytes
from tests.corpus.huge_files import sizes
from tests.corpus.rows import Row, written

REMEDIES = {"checkpoint": "train it again", "distribution": "export it", "state": "start again"}
ANY = "damaged|truncated|not a|of format version"


def family(kind: str) -> Callable[[], Iterator[Row]]:
    def rows() -> Iterator[Row]:
        for part in (cut, flipped, no_files, other_files, records, absurd, arrays, sizes):
            yield from part(kind)

    return rows


def cut(kind: str) -> Iterator[Row]:
    for k in range(16):
        make = of_bytes(kind, lambda content, k=k: content[: len(content) * k // 16])
        yield Row(NAMES[kind], f"cut at {k}/16", kind, make, f"truncated.*{REMEDIES[kind]}")
    make = of_bytes(kind, lambda content: content[:-1])
    yield Row(NAMES[kind], "without its last byte", kind, make, "truncated")
    make = of_bytes(kind, lambda content: content + b"\0")
    yield Row(NAMES[kind], "with a byte behind it", kind, make, "truncated")


def flipped(kind: str) -> Iterator[Row]:
    def flip(content: bytearray, place: int, bit: int) -> bytes:
        content[place * (len(content) - 1) // 31] ^= 1 << bit
        return content

    for place in range(32):
        make = of_bytes(kind, lambda content, p=place: flip(content, p, p % 8))
        yield Row(NAMES[kind], f"bit {place % 8} flipped at {place}/31", kind, make, ANY)


def no_files(kind: str) -> Iterator[Row]:
    def folder_of(folder: Path) -> Path:
        (folder / "x").mkdir()
        return folder / "x"

    def pipe(folder: Path) -> Path:
        os.mkfifo(folder / "x")
        return folder / "x"

    def link(target: str):
        def make(folder: Path) -> Path:
            (folder / "x").symlink_to(target)
            return folder / "x"

        return make

    def secret(folder: Path) -> Path:
        path = KINDS[kind](folder / "x")
        path.chmod(0)
        return path

    no_file = f"no such {NAMES[kind]} file"
    for name, make in {
        "no file": lambda folder: folder / "x",
        "a folder": folder_of,
        "a pipe": pipe,
        "a device": link("/dev/zero"),
        "a dangling link": link("nowhere"),
        "a link to itself": link("x"),
    }.items():
        yield Row(NAMES[kind], name, kind, make, no_file, 2)
    for path, error in {"a\0b": f"null|{no_file}", "x" * 300: "name too long"}.items():
        make = lambda folder, p=path: folder / p  # noqa: E731
        yield Row(NAMES[kind], f"a path {path[:3]!r}…", kind, make, error, 2)
    denied = "Permission denied"
    yield Row(NAMES[kind], "no permission", kind, secret, denied, unprivileged=True)


def other_files(kind: str) -> Iterator[Row]:
    for other in KINDS:
        if other != kind:
            make = written(lambda other=other: content_of(KINDS[other]))
            yield Row(NAMES[kind], f"a {other}", kind, make, f"not a {NAMES[kind]}")
    for make in (samples.torch_zip, samples.torch_legacy, samples.paddle_pickle):
        name = make.__name__.replace("_", " ")
        yield Row(NAMES[kind], name, kind, lambda f, make=make: make(f / "x"), "not a")
    yield Row(NAMES[kind], "weights", kind, lambda f: samples.safetensors(f / "x"), "not a")
    for name, content in {
        "a text": b"hello",
        "zeros": bytes(10_000),
        "a pickle that calls": b"cos\nsystem\n(S'true'\ntR.",
        "an empty header": (2).to_bytes(8, "little") + b"{}",
        "a header of 2^63 bytes": (2**63).to_bytes(8, "little") + bytes(100),
        "a header of 2^64 bytes": bytes([255] * 8) + bytes(100),
        "a deep header": (10**5).to_bytes(8, "little") + b"[" * 10**5,
    }.items():
        yield Row(NAMES[kind], name, kind, written(content), "truncated|not a")


def with_record(kind: str, text: str):
    def make(folder: Path) -> Path:
        path = KINDS[kind](folder / "model")
        found, _ = samples.contents(path)
        return samples.rewritten(path, found, text)

    return make


def records(kind: str) -> Iterator[Row]:
    """Texts that are no record, versions, and a record that was changed alone."""
    texts = ("", "null", "3", "[]", '"x"', "[" * 10**5, "{" * 10**5, '{"a":' * 10**5, "{}")
    for text in (*texts, "x" * 2**21, '{"format":1}', "\ud800"):
        make = with_record(kind, text.encode("utf-8", "replace").decode())
        yield Row(NAMES[kind], f"record {text[:14]!r} of {len(text)}", kind, make, "not a")
    for version in (None, 0, 99, -1, 10**30, "5", [], "x" * 10**5):
        text = json.dumps({"format": f"padim-paddle {NAMES[kind]}", "version": version})
        name = f"version {str(version)[:20]!r} of {type(version).__name__}"
        yield Row(NAMES[kind], name, kind, with_record(kind, text), "of format version")

    def unsigned(folder: Path) -> Path:
        from safetensors.numpy import save_file

        found, record = samples.contents(KINDS[kind](folder / "model"))
        record["category"] = "bolt"
        metadata = {"record": json.dumps(record), "record_sha256": "0" * 64}
        save_file(found, folder / "model", metadata)
        return folder / "model"

    yield Row(NAMES[kind], "a record changed alone", kind, unsigned, "its record changed")


ABSURD = [
    ("sigma", 1e7),
    ("preprocessing", {"resize": 10**5, "crop": [10**5, 10**5]}),
    ("preprocessing", {"resize": None}),
    ("preprocessing", {"resize": -1}),
    ("preprocessing", {"crop": [8, 8]}),
    ("preprocessing", {"std": [0.1, 0.0, 0.1]}),
    ("layers", ["layer1"] * 5000),
    ("method", "../../evil"),
]


def absurd(kind: str) -> Iterator[Row]:
    """Fields of a record whose digest fits."""
    for field, value in ABSURD:

        def change(found: dict, record: dict, field=field, value=value) -> None:
            (record["features"] if field == "layers" else record)[field] = value

        title = f"{field} is {str(value)[:40]}"
        yield Row(NAMES[kind], title, kind, changed(kind, change), "damaged")


def arrays(kind: str) -> Iterator[Row]:
    """Arrays that do not fit, by themselves and for each method."""

    def every(change):
        def apply(found: dict, record: dict) -> None:
            for name in list(found):
                if name.startswith("head."):
                    found[name] = change(found[name])

        return apply

    methods = ("padim",) if kind == "state" else ("padim", "patchcore", "spade")
    for method in methods:
        for name, change in {
            "one more axis": lambda a: a[None],
            "no axis": lambda a: a.reshape(-1)[:1].reshape(()),
            "no element": lambda a: a.reshape(-1)[:0],
            "one row less": lambda a: a[:-1],
            "turned round": lambda a: np.ascontiguousarray(a.T)[..., None],
            "in float64 and cut": lambda a: a[..., :-1].astype("f8"),
            "as whole numbers": lambda a: np.zeros(a.shape, "i8"),
        }.items():
            make = changed(kind, every(change), method=method)
            yield Row(NAMES[kind], f"{method}: arrays {name}", kind, make, "damaged")
        make = changed(
            kind, lambda found, record: found.clear() or found.update(roi=ROI), True, method
        )
        yield Row(NAMES[kind], f"{method}: no array", kind, make, "damaged")
        for value in (np.nan, np.inf):
            make = changed(kind, every(lambda a, v=value: filled(a, v)), method=method)
            yield Row(NAMES[kind], f"{method}: arrays of {value}", kind, make, "not finite")
    make = changed(kind, every(lambda a: a + 1), digest=False)
    yield Row(NAMES[kind], "numbers changed alone", kind, make, "changed after they were written")
    if kind == "state":
        for name, array in {"learned": np.arange(4), "data": np.zeros(5, np.uint8)}.items():
            for bad in (array, array[:0], array.astype("f4"), -array.astype("i8"), array[None]):
                make = changed(kind, lambda found, record, n=name, b=bad: found.update({n: b}))
                title = f"{name} as {bad.dtype} {bad.shape} from {bad.reshape(-1)[-1:]}"
                yield Row(NAMES[kind], title, kind, make, "damaged")
        return
    for bad in (np.zeros(512, np.uint8), np.ones(5, np.uint8), np.ones((512, 1), np.uint8)):
        make = changed(kind, lambda found, record, b=bad: found.update(roi=b))
        yield Row(NAMES[kind], f"region {bad.shape} of {bad.max()}", kind, make, "damaged")
    make = changed(kind, lambda found, record: found.pop("roi"))
    yield Row(NAMES[kind], "no region", kind, make, "damaged")


ROI = np.packbits(np.ones((64, 64), bool))


def filled(array: np.ndarray, value: float) -> np.ndarray:
    return np.full_like(array, value) if array.dtype.kind == "f" else array
