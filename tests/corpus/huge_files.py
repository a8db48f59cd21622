"""Model files that declare far more than they hold, or more than memory holds."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

from tests.corpus.changed_files import KINDS, NAMES, changed, of_bytes
from tests.corpus.rows import Row


def sizes(kind: str) -> Iterator[Row]:
    """Declared sizes far beyond the file, or beyond memory."""

    def header_of(name: str, entry: dict):
        def change(content: bytearray) -> bytes:
            length = int.from_bytes(content[:8], "little")
            header = json.loads(content[8 : 8 + length])
            first = next(key for key in header if key.startswith("head."))
            header[first] |= entry
            text = json.dumps(header).encode()
            return len(text).to_bytes(8, "little") + text + content[8 + length :]

        return Row(NAMES[kind], name, kind, of_bytes(kind, change), "truncated|not a")

    yield header_of("an array of 2^40 numbers", {"shape": [2**40]})
    yield header_of("an array of 2^40 × 2^40", {"shape": [2**40, 2**40]})
    yield header_of("an array of 2^64", {"shape": [2**64 - 1, 2]})
    yield header_of("offsets of exabytes", {"data_offsets": [0, 2**60]})
    yield header_of("turned offsets", {"data_offsets": [64, 0]})
    yield header_of("a type of its own", {"dtype": "F8_E4M3"})

    def sparse(folder: Path) -> Path:
        path = KINDS[kind](folder / "model")
        os.truncate(path, 2**36)
        return path

    yield Row(NAMES[kind], "64 GB of zeros behind it", kind, sparse, "truncated|memory")

    def large_header(folder: Path) -> Path:
        path = folder / "model"
        path.write_bytes((2**33).to_bytes(8, "little") + b"{")
        os.truncate(path, 2**34)
        return path

    yield Row(NAMES[kind], "a header of 8 GB", kind, large_header, "truncated|memory")

    def of_record(**changes):
        def change(found: dict, record: dict) -> None:
            for key, value in changes.items():
                inner = record["features"] if key in record["features"] else record
                inner[key] = value

        return changed(kind, change)

    preprocessing = {"resize": 16384, "crop": [16384, 16384], "mean": [0.5] * 3, "std": [0.2] * 3}
    preprocessing["decoder"] = "pillow"
    # A training compares the state's record with its own before it makes anything of that size.
    other = ("was of", 2) if kind == "state" else ("memory", 1)
    for name, changes, error in (
        ("a grid of 2^20", {"stages": [[3, [2**20, 2**20]], [4, [1, 1]]]}, ("damaged", 1)),
        (
            "a grid of 9000",
            {"stages": [[3, [9000, 9000]], [4, [9000, 9000]]], "preprocessing": preprocessing},
            other,
        ),
        ("pictures of 16384²", {"preprocessing": preprocessing}, other),
    ):
        yield Row(NAMES[kind], name, kind, of_record(**changes), *error)
    many = of_record(pictures=2**62)
    yield Row(NAMES[kind], "2^62 pictures", kind, many, "damaged|memory", either=kind != "state")
