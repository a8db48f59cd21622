"""Reads safetensors files: a JSON header with types, shapes and places, then the numbers.

The library reads whole tensors, and neither bfloat16 nor float8 into numpy. Here the header is
checked against the file first, and bfloat16 is widened to float32.
"""

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from models.backbones.contents import Allowance, Content, Source, Tensor, width

LARGEST_HEADER = 2**23  # bytes; a tensor needs about 100
LONGEST_NAME = 255
DTYPES = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "BF16": "bfloat16",
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "I8": "<i1",
    "U64": "<u8",
    "U32": "<u4",
    "U16": "bfloat16",  # Paddle has no 16-bit unsigned numbers: it saves bfloat16 as such
    "U8": "<u1",
    "BOOL": "?",
}


def header(path: Path) -> dict:
    """The header. ValueError where it is damaged or too large."""
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > size - 8:
            raise ValueError("the file ends before its header does")
        if length > LARGEST_HEADER:
            raise ValueError(f"a header of more than {LARGEST_HEADER >> 20} MiB")
        found = json.loads(file.read(length))
    if not isinstance(found, dict):
        raise ValueError("a damaged header")
    return found


def metadata(path: Path) -> dict[str, str]:
    """The texts that are stored beside the tensors."""
    found = header(path).get("__metadata__")
    if found is None:
        return {}
    if not isinstance(found, dict) or not all(isinstance(v, str) for v in found.values()):
        raise ValueError("damaged metadata")
    return found


@contextmanager
def open_safetensors(path: Path) -> Iterator[dict[str, Tensor]]:
    """The tensors in a safetensors file by name, not read yet."""
    entries = {key: entry for key, entry in header(path).items() if key != "__metadata__"}
    with path.open("rb") as file:
        start = 8 + int.from_bytes(file.read(8), "little")
        size = path.stat().st_size
        source, end = Source(file, size, Allowance()), start
        tensors = {}
        for name, entry in entries.items():
            content = _content(source, start, name, entry)
            end = max(end, file.tell())
            tensors[name] = Tensor(content, DTYPES[entry["dtype"]], entry["shape"])
        if end != size:
            raise ValueError("the file does not end where its tensors end")
        yield tensors


def _content(source: Source, start: int, name: str, entry) -> Content:
    """The bytes of one tensor, compared with its type and shape."""
    if len(name) > LONGEST_NAME:
        raise ValueError(f"a tensor name of more than {LONGEST_NAME} letters")
    damaged = ValueError(f"the header of tensor {name} is damaged")
    if not isinstance(entry, dict) or not isinstance(entry.get("dtype"), str):
        raise damaged
    if entry["dtype"] not in DTYPES:
        raise ValueError(
            f"tensor {name} has the type {entry['dtype']}, which is not supported; save it as "
            "float32"
        )
    shape, offsets = entry.get("shape"), entry.get("data_offsets")
    if not _are_sizes(shape) or not _are_sizes(offsets) or len(offsets) != 2:
        raise damaged
    if math.prod(shape) * width(DTYPES[entry["dtype"]]) != offsets[1] - offsets[0]:
        raise damaged
    source.file.seek(start + offsets[0])
    return source.content(offsets[1] - offsets[0])


def _are_sizes(numbers) -> bool:
    few = isinstance(numbers, list) and len(numbers) <= 32
    return few and all(type(n) is int and 0 <= n < 2**48 for n in numbers)
