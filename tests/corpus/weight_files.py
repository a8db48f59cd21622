"""Weight files: cut, changed, and with headers and archives made by strangers."""

import json
import os
import struct
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from tests.corpus import samples
from tests.corpus.rows import Row, written
from tests.pickle_files import dump, tensor, write_legacy, write_zip

FORMATS = {
    "zip": samples.torch_zip,
    "legacy": samples.torch_legacy,
    "paddle": samples.paddle_pickle,
    "safetensors": samples.safetensors,
}
ANY = "cannot be read as weights|refused|damaged metadata"


def entry(**changes):
    whole = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]} | changes
    return json.dumps({"a": whole}).encode()


HEADERS = {
    "offsets beyond the end": entry(shape=[4], data_offsets=[0, 16]),
    "offsets of exabytes": entry(shape=[2**40], data_offsets=[0, 2**42]),
    "turned offsets": entry(data_offsets=[8, 0]),
    "negative offsets": entry(data_offsets=[-8, 0]),
    "three offsets": entry(data_offsets=[0, 4, 8]),
    "another size": entry(shape=[3]),
    "negative shape": entry(shape=[-1, -2]),
    "fraction": entry(shape=[2.0]),
    "shape that is true": entry(shape=[True, 2]),
    "many axes": entry(shape=[1] * 100 + [2]),
    "huge product": entry(shape=[2**47] * 32),
    "no shape": b'{"a":{"dtype":"F32","data_offsets":[0,8]}}',
    "type that is no text": entry(dtype=[]),
    "tensor that is a list": b'{"a":[]}',
    "long name": entry().replace(b'"a"', b'"' + b"module." * 10_000 + b'"'),
    "deep nesting": b'{"a":' + b"[" * 10**6,
    "long integer": b'{"a":' + b"9" * 10**6 + b"}",
    "no end": b'{"a":',
    "bytes that are no text": b'{"\xff":1}',
    "bytes behind the tensors": b"{}",
    "gap": entry(shape=[1], data_offsets=[0, 4]),
}


def _row(name: str, make: Callable[[Path], object], error: str | None, **known) -> Row:
    return Row("weights", name, "weights", make, error, **known)


def changed(make: Callable, change: Callable[[bytearray], bytes]) -> Callable[[Path], Path]:
    def apply(folder: Path) -> Path:
        path = make(folder / "a.pth")
        path.write_bytes(change(bytearray(path.read_bytes())))
        return path

    return apply


def damaged() -> Iterator[Row]:
    def flip(content: bytearray, place: int) -> bytes:
        content[place * (len(content) - 1) // 31] ^= (1, 0x80, 0xFF, 0x20)[place % 4]
        return content

    for name, make in FORMATS.items():
        yield _row(f"{name}", lambda folder, make=make: make(folder / "a.pth"), None)
        for k in range(16):
            cut = changed(make, lambda content, k=k: content[: len(content) * k // 16])
            yield _row(f"{name} cut at {k}/16", cut, ANY)
        for place in range(32):
            flipped = changed(make, lambda content, place=place: flip(content, place))
            yield _row(f"{name} changed at {place}/31", flipped, ANY, either=True)
        behind = changed(make, lambda content: content + b"\0" * 100)
        yield _row(f"{name} with bytes behind it", behind, ANY, either=name != "safetensors")


def headers() -> Iterator[Row]:
    for name, header in HEADERS.items():
        content = struct.pack("<Q", len(header)) + header + bytes(8)
        error = "(?s)^(?=.*cannot be read as weights).{1,500}$"
        yield _row(f"header with {name}", written(content), error)
    for metadata in (b"[]", b'"x"', b'{"variant":1}', b"3", b'{"variant":null}'):
        header = b'{"__metadata__":' + metadata + b"}"
        content = struct.pack("<Q", len(header)) + header
        yield _row(f"metadata {metadata.decode()}", written(content), "damaged metadata")
    for variant in (
        "",
        "[]",
        "3",
        '{"padding":1}',
        '{"padding":"same","epsilon":"x"}',
        "[" * 10**5,
    ):
        header = json.dumps({"__metadata__": {"variant": variant}}).encode()
        content = struct.pack("<Q", len(header)) + header
        make = written(content)
        yield Row("weights", f"variant {variant[:30]}", "variant", make, "damaged metadata")

    def large(folder: Path) -> Path:
        path = written(struct.pack("<Q", 2**31) + b'{"a"')(folder)
        os.truncate(path, 2**31 + 16)
        return path

    yield _row("a header of gigabytes", large, "a header of more than 8 MiB")

    def giant(folder: Path) -> Path:
        path = written(struct.pack("<Q", 2) + b"{}")(folder)
        os.truncate(path, 2**35)
        return path

    yield _row("a file of 32 GB", giant, "weights have less than 4 GiB")


def archives() -> Iterator[Row]:
    ones = np.ones(12, "f4")
    content = dump({"x": tensor(ones)})[0]

    def archive(entries, compression=zipfile.ZIP_STORED, change=None):
        def make(folder: Path) -> Path:
            with zipfile.ZipFile(folder / "a.pth", "w", compression) as file:
                for name, data in entries:
                    file.writestr(name, data)
            if change is not None:
                whole = change(bytearray((folder / "a.pth").read_bytes()))
                (folder / "a.pth").write_bytes(whole)
            return folder / "a.pth"

        return make

    pickled, data = ("archive/data.pkl", content), ("archive/data/0", ones.tobytes())
    noise = np.random.default_rng(0).bytes(2000)
    for name, make, error in (
        ("of nothing", archive([]), "not one of PyTorch's"),
        ("without a pickle", archive([data]), "not one of PyTorch's"),
        ("with two pickles", archive([pickled, ("b/data.pkl", b"")]), "not one of PyTorch's"),
        ("without data", archive([pickled]), "lacks archive/data/0"),
        ("with short data", archive([pickled, ("archive/data/0", b"abc")]), "elements in place"),
        ("that expands", archive([pickled, ("archive/data/0", bytes(2**24))], 8), "expands"),
        ("of another compression", archive([("a/data.pkl", noise)], 14), "unknown compression"),
        ("of big endian", archive([pickled, data, ("archive/byteorder", "big")]), "byte order"),
        (
            "that claims 4 GB",
            archive([pickled, data], change=lambda c: c.replace(b"\x30\0\0\0", b"\xff" * 4)),
            ANY,
        ),
        (
            "that is encrypted",
            archive(
                [pickled, data], change=lambda c: c.replace(b"PK\1\2\x14\3\x14\0\0", ENCRYPTED)
            ),
            ANY,
        ),
    ):
        yield _row(f"an archive {name}", make, error)
    many = [(f"archive/{i:0500}", "") for i in range(20_000)]
    crowd = archive([pickled, *many])
    yield _row("an archive of many entries", crowd, "too long a list", slow=True)
    for key in ("../../../../etc/passwd", "/etc/passwd", "..", "", "0\0", "data.pkl", "x" * 10**5):
        state = {"x": tensor(ones, key)}

        def make(folder: Path, state=state) -> Path:
            pickled = dump(state)[0]
            return archive([("archive/data.pkl", pickled)])(folder)

        yield _row(f"a storage named {key[:24]!r}", make, ANY)
    legacy = {"x": tensor(ones, "../../x")}
    yield _row("a path in the old format", lambda f: write_legacy(f / "a.pth", legacy), None)
    cut = {"x": tensor(ones)}
    for keys in ([], ["1"], [0], "0", None, ["0"] * 1000, {}):
        make = lambda f, keys=keys: write_legacy(f / "a.pth", cut, keys=keys)  # noqa: E731
        fine = keys is None
        yield _row(f"the old format with keys {str(keys)[:20]}", make, None if fine else ANY)
    for system in ({}, [], {"little_endian": False}, 3, {"little_endian": None}):
        make = lambda f, s=system: write_legacy(f / "a.pth", cut, system=s)  # noqa: E731
        yield _row(f"the old format with system {system}", make, None if system == {} else ANY)
    yield _row("an archive of PyTorch", lambda f: write_zip(f / "a.pth", cut), None)


ENCRYPTED = b"PK\1\2\x14\3\x14\0\1"


def other_files() -> Iterator[Row]:
    for name, content in {
        "no byte": b"",
        "a text": b"hello, this is no weight file",
        "an array": b"\x93NUMPY\x01\x00",
        "zeros": bytes(10**6),
        "HTML": b"<!DOCTYPE html>",
        "a program": b"\x7fELF" + bytes(100),
        "a picture": b"\x89PNG\r\n\x1a\n" + bytes(100),
    }.items():
        yield _row(name, written(content), ANY)

    def special(kind: str):
        def make(folder: Path) -> Path:
            path = folder / "a.pth"
            if kind == "a pipe":
                os.mkfifo(path)
            elif kind == "a folder":
                path.mkdir()
            elif kind == "a device":
                path.symlink_to("/dev/zero")
            elif kind == "a link to itself":
                path.symlink_to("a.pth")
            return path

        return make

    for kind in ("no file", "a pipe", "a folder", "a device", "a link to itself"):
        error = "no such weight file"
        yield Row("weights", kind, "backbone", special(kind), error, 2)
    for path in ("a\0b", "x" * 300):
        make = lambda folder, path=path: folder / path  # noqa: E731
        yield Row("weights", f"a path {path[:3]!r}…", "backbone", make, "weight file", 2)

    def secret(folder: Path) -> Path:
        path = samples.safetensors(folder / "a.pth")
        path.chmod(0)
        return path

    yield Row(*("weights", "no permission", "backbone", secret), "denied", unprivileged=True)


def rows() -> Iterator[Row]:
    for part in (damaged, headers, archives, other_files):
        yield from part()
