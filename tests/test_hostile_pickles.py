"""Malicious pickles give one clear error, in little time and little memory.

Files that could crash or block Python are read in a separate process.
"""

import json
import os
import pickle
import resource
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from common.errors import WorkError, run
from models.backbones import weights
from tests.pickle_files import Storage, Tensor, write_legacy, write_zip

ROOT = Path(__file__).resolve().parent.parent
GIB = 2**30
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
READER = """
import json, sys, time
from pathlib import Path
from common.errors import WorkError
from models.backbones import weights
for path in sorted(Path(sys.argv[1]).iterdir()):
    start, error = time.perf_counter(), None
    try:
        weights.read(path)
    except WorkError as caught:
        error = str(caught)
    print(json.dumps([path.name, error, time.perf_counter() - start]), flush=True)
"""


def few_resources():
    resource.setrlimit(resource.RLIMIT_AS, (GIB, GIB))
    resource.setrlimit(resource.RLIMIT_CPU, (30, 30))


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    """File name → the error and the seconds of reading it with 1 GiB of memory."""
    folder = tmp_path_factory.mktemp("hostile")
    for title, (content, _) in PICKLES.items():
        (folder / f"{title}.pdparams").write_bytes(b"\x80\x02" + content)
    for title in EXPLODING:
        with zipfile.ZipFile(folder / f"{title}.pth", "w") as archive:
            archive.writestr("archive/data.pkl", b"\x80\x02" + PICKLES[title][0])
    for make in TENSORS:
        write_zip(folder / f"{make.__name__}.pth", make(folder))
        write_legacy(folder / f"{make.__name__}.pt", make(folder))
    command = [sys.executable, "-c", READER, str(folder)]
    settings = {"OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=os.environ | settings,
        stdout=subprocess.PIPE,
        text=True,
        timeout=60,
        preexec_fn=few_resources,
    )
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    return {file: (error, seconds) for file, error, seconds in rows}


def matches(outcome, words):
    error, seconds = outcome
    assert seconds < 5 and len(error) < 500
    pytest.raises(WorkError, lambda: raised(error)).match(words)


def raised(error):
    raise WorkError(error)


@pytest.mark.parametrize("title", PICKLES)
def test_a_pickle_that_explodes_is_a_clear_error(outcomes, title):
    matches(outcomes[f"{title}.pdparams"], PICKLES[title][1])


@pytest.mark.parametrize("title", EXPLODING)
def test_a_pickle_that_explodes_in_an_archive_is_a_clear_error(outcomes, title):
    matches(outcomes[f"{title}.pth"], PICKLES[title][1])


@pytest.mark.parametrize("make", TENSORS)
@pytest.mark.parametrize("ending", ["pth", "pt"])
def test_a_tensor_is_compared_with_its_real_storage(outcomes, make, ending):
    matches(outcomes[f"{make.__name__}.{ending}"], TENSORS[make])


def test_attributes_of_a_dictionary_do_not_hide_its_methods(tmp_path):
    evil = dict.fromkeys(("get", "items", "__class__"), 5)
    attributes = pickle.dumps(evil, 2)[2:-1]
    content = name("collections", "OrderedDict") + b")R" + attributes + b"b" + text("a") + b"Ns."
    (tmp_path / "a.pdparams").write_bytes(b"\x80\x02" + content)
    assert weights.read(tmp_path / "a.pdparams") == {}


def test_the_converter_prints_one_line_and_ends_with_1(tmp_path, monkeypatch, capsys):
    path = write_zip(tmp_path / "a.pth", of_tensor(tmp_path))
    command = ["weights", "convert", str(path), str(tmp_path / "out.safetensors")]
    monkeypatch.setattr(sys, "argv", command)
    monkeypatch.setattr(weights, "start_logging", lambda: None)
    with pytest.raises(SystemExit) as ended:
        run(weights.main)
    error = capsys.readouterr().err
    assert ended.value.code == 1 and error.startswith("error: ") and error.count("\n") == 1
    assert [file.name for file in tmp_path.iterdir()] == ["a.pth"]
