"""Pickles that call, loop, expand or point outside; and tensors that lie about their storage."""

import os
import pathlib
import pickle
import struct
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from tests.corpus.rows import Row
from tests.pickle_files import Storage, Tensor, dump, tensor, write_legacy, write_paddle, write_zip

ONES = np.ones(12, "f4")


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def name(module: str, function: str) -> bytes:
    return f"c{module}\n{function}\n".encode()


# A tuple of two equal tuples, 60 levels deep: to hash, compare or print it takes 2^60 steps.
BOMB = b")q\x00" + b"h\x00\x86q\x00" * 60
SHORT = "ends before its tensors do"
STEPS = "more than 1000000 steps"
NO_STATE = "holds no state dict"
ENCODE, DTYPE, RECONSTRUCT = (
    name("_codecs", "encode"),
    name("numpy", "dtype"),
    name("numpy.core.multiarray", "_reconstruct"),
)

# Title → the pickle without its protocol, and words of the error.
PICKLES = {
    "key that explodes when hashed": (b"}" + BOMB + b"Ns.", NO_STATE),
    "key built by DUP": (b"}]" + b"2\x86" * 60 + b"Ns.", "refused.*DUP"),
    "codec that explodes when printed": (ENCODE + text("x") + BOMB + b"\x86R.", "another codec"),
    "type that explodes when printed": (DTYPE + BOMB + b"\x85R.", "refused.*plain numbers"),
    "reference that explodes": (BOMB + b"Q.", "refused.*outside the file"),
    "name that explodes": (BOMB + BOMB + b"\x93.", "damaged pickle"),
    "memo of 4 GB": (b"}r\xff\xff\xff\x7f.", NO_STATE),
    "integer of 2 GB": (b"\x8b\xff\xff\xff\x7f1.", "refused.*LONG4"),
    "bytes of 4 GB": (b"B\xff\xff\xff\xff1.", SHORT),
    "bytes of 4 EB": (b"\x8e" + struct.pack("<Q", 2**62) + b".", SHORT),
    "bytearray of 64 GB": (b"\x96" + struct.pack("<Q", 2**36) + b".", "refused.*BYTEARRAY8"),
    "text of 4 EB": (b"\x8d" + struct.pack("<Q", 2**62) + b".", SHORT),
    "frame of 4 EB": (b"\x95" + struct.pack("<Q", 2**62) + b"}.", NO_STATE),
    "decimal integer": (b"I" + b"9" * 10**6 + b"\n.", "refused.*INT"),
    "decimal long": (b"L" + b"9" * 10**6 + b"L\n.", "refused.*LONG"),
    "decimal memo": (b"}p" + b"9" * 10**6 + b"\n.", "refused.*PUT"),
    "name of a megabyte": (b"c" + b"a" * 10**6 + b"\na\n.", "line that does not end"),
    "marks": (b"(" * 2 * 10**6 + b".", STEPS),
    "many dictionaries": (b"}" * 2 * 10**6 + b".", STEPS),
    "many bytes": (b"C\x00" * 10**6 + b".", STEPS),
    "lists in lists": (b"]" * 200_000 + b"a" * 199_999 + b".", NO_STATE),
    "tuples in tuples": (b")" + b"\x85" * 300_000 + b".", NO_STATE),
    "list in itself": (b"]q\x00h\x00a.", NO_STATE),
    "copies of a list": (
        name("builtins", "tuple") + b"q\x00](" + b"N" * 1000 + b"e\x85q\x010" + b"h\x00h\x01R" * 9,
        "refused.*POP",
    ),
    "tuple of a list": (name("builtins", "tuple") + b"](NNNe\x85R.", "refused.*tuple"),
    "copies of a dictionary": (
        name("collections", "OrderedDict")
        + b"q\x00]("
        + (text("key") + b"N\x86") * 2000
        + b"e\x85q\x01R"
        + b"h\x00h\x01R" * 100_000
        + b".",
        STEPS,
    ),
    "call of a number": (b"K\x01)R.", "refused.*call"),
    "state of a list": (b"]}b.", "refused.*state"),
    "instance by NEWOBJ": (name("collections", "OrderedDict") + b")\x81.", "refused.*NEWOBJ"),
    "persistent id as text": (b"Pabc\n.", "refused.*PERSID"),
    "extension": (b"\x82\x01.", "refused.*EXT1"),
    "protocol 255": (b"\x80\xff}.", "unknown protocol"),
    "empty stack": (b"s.", "damaged pickle"),
    "unknown instruction": (b"\xff.", "damaged pickle"),
    "array of a negative shape": (
        b"}" + text("a") + RECONSTRUCT + b")R(K\x01J\xff\xff\xff\xff\x85" + DTYPE + text("f4")
        # version, shape, type, order, bytes
        + b"\x85R\x89C\x04abcdtbs.",
        "beyond its storage",
    ),
    "array longer than its bytes": (
        b"}" + text("a") + RECONSTRUCT + b")R(K\x01J\xff\xff\xff\x7f\x85" + DTYPE + text("f4")
        + b"\x85R\x89C\x04abcdtbs.",
        "2147483647,. has 1 numbers",
    ),
}  # fmt: skip


def of_tensor(path):
    """A tensor that names a tensor of stride 0 and a declared length of 10^9 as its storage."""
    inner = Tensor(Storage("0", ONES), (10**9,), (0,))
    return {"x": Tensor(inner, (4,), (1,), 5 * 10**8)}


def of_array(path):
    return {"x": Tensor((1, 2), (4,), (1,), 0)}


def of_text(path):
    return {"x": Tensor("storage", (4,), (1,), 0)}


def of_bool_sizes(path):
    return {"x": Tensor(Storage("0", ONES), (True, 2), (1, 1))}


def of_exploding_strides(path):
    return {"x": Tensor(Storage("0", ONES), (2,) * 60, (2**62,) * 60)}


def of_large_strides(path):
    return {"x": Tensor(Storage("0", ONES), (2, 2), (2**62, 2**62))}


TENSORS = {
    of_tensor: "refused.*without a storage",
    of_array: "refused.*without a storage",
    of_text: "refused.*without a storage",
    of_bool_sizes: "not whole numbers",
    of_exploding_strides: "not whole numbers",
    of_large_strides: "beyond its storage",
}
EXPLODING = [title for title in PICKLES if "explodes" in title or "memo" in title]


class Call:
    """Pickles as a call, which the standard unpickler carries out."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


ATTACKS = {
    "os.system": lambda marker: Call(os.system, f"touch '{marker}'"),
    "open": lambda marker: Call(open, str(marker), "w"),
    "pathlib": lambda marker: Call(pathlib.Path.touch, marker),
    "eval": lambda marker: Call(eval, f"open({str(marker)!r}, 'w')"),
    "exec": lambda marker: Call(exec, f"open({str(marker)!r}, 'w')"),
    "numpy": lambda marker: Call(np.ndarray.tofile, np.zeros(1), str(marker)),
}
WRITERS = {"zip": write_zip, "legacy": write_legacy, "paddle": write_paddle}
EVIL = {  # arrays that could point anywhere
    "an array of any memory": Call(np.ndarray, (1,), "u1"),
    "a tuple of objects": Call(tuple, Call(np.ndarray, (1,), "O", b"AAAAAAAA")),
    "a type of objects": Call(np.dtype, "O"),
    "a type of anything": Call(np.dtype, "V8"),
    "an array of objects": np.array([{}], object),
    "an array of records": np.zeros(2, [("a", "i4")]),
}


def pickled(content: bytes) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        path = folder / "a.pdparams"
        path.write_bytes(b"\x80\x02" + content)
        return path

    return make


def zipped(content: bytes) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        with zipfile.ZipFile(folder / "a.pth", "w") as archive:
            archive.writestr("archive/data.pkl", b"\x80\x02" + content)
        return folder / "a.pth"

    return make


LONG = ("many dictionaries", "many bytes", "tuples in tuples")


def _row(name: str, make: Callable[[Path], object], error: str) -> Row:
    """Of a file beside which no file `marker` may appear; the error is short."""
    found, slow = f"(?s)^(?=.*({error})).{{1,500}}$", name in LONG
    return Row("pickles", name, "harmless weights", make, found, slow=slow)


def rows() -> Iterator[Row]:
    for title, (content, error) in PICKLES.items():
        yield _row(title, pickled(content), error)
    for title in EXPLODING:
        yield _row(f"{title}, in an archive", zipped(PICKLES[title][0]), PICKLES[title][1])
    for make, error in TENSORS.items():
        for write in (write_zip, write_legacy):

            def write_it(folder: Path, write=write, make=make) -> Path:
                return write(folder / "a.pth", make(folder))

            yield _row(f"{make.__name__}, {write.__name__}", write_it, error)
    yield from _attacks()
    for name in ("builtins getattr", "torch load", "numpy load", "os getcwd", "os system"):
        module, _, function = name.partition(" ")
        content = b"}X\x01\x00\x00\x00xc" + f"{module}\n{function}\n".encode() + b"s."
        yield _row(f"{name}, uncalled", pickled(content), f"refused: asks for {module}.{function}")
    for title, evil in EVIL.items():
        content = pickle.dumps({"w": evil}, 4)[2:]
        yield _row(title, pickled(content), "refused")
    outside = dump({"w": tensor(np.ones(2, "f4"))})[0][2:]
    yield _row("a storage of another file", pickled(outside), "refused.*outside the file")


def _attacks() -> Iterator[Row]:
    unexecuted = "refused: asks for .*nothing was executed"
    for title, attack in ATTACKS.items():
        for kind, write in WRITERS.items():

            def make(folder: Path, write=write, attack=attack) -> Path:
                return write(folder / "a.pth", {"x": attack(folder / "marker")})

            yield _row(f"{title} called, {kind}", make, unexecuted)
    for place in ("system", "keys"):

        def make(folder: Path, place=place) -> Path:
            attack = {place: ATTACKS["os.system"](folder / "marker")}
            return write_legacy(folder / "a.pth", {"w": tensor(np.ones(2, "f4"))}, **attack)

        yield _row(f"os.system called in the {place} of the old format", make, "refused")
