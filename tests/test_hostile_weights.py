"""Malicious weight files give one clear error, in little time and little memory.

Files that could crash or block Python are read in a separate process.
"""

import json
import os
import pickle
import resource
import struct
import subprocess
import sys
import time
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from common.errors import WorkError, run
from models.backbones import archives, contents, network, weights
from models.backbones.catalogue import BACKBONES
from models.backbones.pickles import LEGACY_MAGIC
from tests.test_pickles import SYSTEM, Storage, Tensor, dump, tensor, write_legacy, write_zip

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


def peak_of(path):
    """The arrays of a file and the bytes of memory that reading it takes."""
    tracemalloc.start()
    try:
        return weights.read(path), tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("write", [write_zip, write_legacy])
def test_tensors_that_share_a_storage_share_its_memory(tmp_path, write):
    storage = Storage("0", np.arange(2**20, dtype="f4"))
    views = {f"v{i}": Tensor(storage, (100,), (1,), i * 100) for i in range(60)}
    found, peak = peak_of(write(tmp_path / "a.pth", views))
    assert found["v7"].tolist() == list(range(700, 800))
    assert peak < 2.5 * storage.array.nbytes + archives.LONGEST_READ


@pytest.mark.parametrize("write", [write_zip, write_legacy])
def test_a_shared_bfloat16_storage_is_widened_once(tmp_path, write):
    storage = Storage("0", np.full(2**20, 0x3F80, np.uint16), "BFloat16")
    state = {f"v{i}": Tensor(storage, (2**20,), (1,)) for i in range(60)}
    state["wide"] = Tensor(storage, (10**12,), (0,))
    found, peak = peak_of(write(tmp_path / "a.pth", state))
    assert found["v7"].dtype == np.float32 and found["wide"][10**11] == 1
    assert peak < 5 * 2**21 + archives.LONGEST_READ


@pytest.mark.parametrize("protocol", [2, 4])
def test_an_array_under_many_names_is_read_once(tmp_path, protocol):
    array = np.full(2**20, 0x3F80, np.uint16)
    path = tmp_path / "a.pdparams"
    path.write_bytes(pickle.dumps({f"v{i}": array for i in range(60)}, protocol))
    found, peak = peak_of(path)
    assert found["v59"].shape == (2**20,) and found["v59"][5] == 1
    assert peak < 5 * 2**21


def test_a_zip_archive_that_expands_is_refused_by_its_size(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.pth", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("archive/data.pkl", dump({"x": tensor(ONES)})[0])
        archive.writestr("archive/data/0", bytes(2**24))
    with pytest.raises(WorkError, match="expands to more than 4 times its size"):
        weights.read(tmp_path / "a.pth")


def test_a_compressed_archive_of_real_numbers_is_read(tmp_path):
    array = np.random.default_rng(0).standard_normal(10_000, np.float32)
    content, storages = dump({"x": tensor(array)})
    with zipfile.ZipFile(tmp_path / "a.pth", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", content)
        archive.writestr("archive/data/0", storages["0"].array.tobytes())
    assert np.array_equal(weights.read(tmp_path / "a.pth")["x"], array)


def test_other_compressions_are_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.pth", "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("archive/data.pkl", np.random.default_rng(0).bytes(2000))
    with pytest.raises(WorkError, match="unknown compression"):
        weights.read(tmp_path / "a.pth")


def test_an_archive_with_very_many_entries_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "LONGEST_READ", 2**16)
    path = write_zip(
        tmp_path / "a.pth", {"x": tensor(ONES)}, extra=[(f"{i:0500}", "") for i in range(200)]
    )
    with pytest.raises(WorkError, match="too long a list of entries"):
        weights.read(path)


def test_a_zip_archive_with_a_large_pickle_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "MOST_PICKLE", 100)
    with pytest.raises(WorkError, match="data.pkl has more than"):
        weights.read(write_zip(tmp_path / "a.pth", {"x": tensor(ONES)}))


def test_more_tensors_than_memory_are_refused_before_they_are_read(tmp_path, monkeypatch):
    monkeypatch.setattr(contents.Allowance.__init__, "__defaults__", (2**20,))
    state = {f"x{i}": tensor(np.ones(2**16, "f4"), str(i)) for i in range(5)}
    for write in (write_zip, write_legacy):
        with pytest.raises(WorkError, match="its tensors need more than"):
            weights.read(write(tmp_path / "a.pth", state))


def sparse_safetensors(path, shape, length):
    entry = {"dtype": "F32", "shape": shape, "data_offsets": [0, length]}
    header = json.dumps({"conv1.weight": entry}).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header)
    os.truncate(path, 8 + len(header) + length)
    return path


def sparse_paddle(path):
    """An array of 2 GiB of zeros in a Paddle pickle of few kilobytes on the disk."""
    with path.open("wb") as file:
        file.write(b"\x80\x04}" + text("conv1.weight") + RECONSTRUCT + b")R(K\x01J")
        file.write(struct.pack("<i", 2**29) + b"\x85" + DTYPE + text("f4") + b"\x85R\x89\x8e")
        file.write(struct.pack("<Q", 2**31))
        file.seek(2**31, os.SEEK_CUR)
        file.write(b"tbs.")
    return path


def sparse_legacy(path):
    """A storage of 2 GiB of zeros in PyTorch's old format."""
    storage = Storage("0", ONES)
    storage.count = 2**29
    content, _ = dump({"conv1.weight": Tensor(storage, (2**29,), (1,))}, (None,))
    with path.open("wb") as file:
        for header in (LEGACY_MAGIC, 1001, SYSTEM):
            pickle.dump(header, file, protocol=2)
        file.write(content)
        pickle.dump(["0"], file, protocol=2)
        file.write(struct.pack("<q", 2**29))
        file.truncate(file.tell() + 2**31)
    return path


@pytest.mark.parametrize(
    "make", [lambda p: sparse_safetensors(p, [2**29], 2**31), sparse_paddle, sparse_legacy]
)
def test_a_sparse_file_costs_no_memory(tmp_path, make):
    path = make(tmp_path / "a.pth")
    for backbone in BACKBONES:
        network.full_shapes(backbone)  # Paddle's import and networks would be counted
    tracemalloc.start()
    start = time.perf_counter()
    with pytest.raises(WorkError, match=r"does not match resnet18.*1 misshapen: conv1\.weight"):
        weights.load(path, "resnet18", "x")
    assert tracemalloc.get_traced_memory()[1] < 2**24 and time.perf_counter() - start < 5
    tracemalloc.stop()
    with pytest.raises(WorkError, match="need more than 1 GiB"):
        weights.read(path)


def test_a_giant_file_is_refused_by_its_size(tmp_path):
    path = sparse_safetensors(tmp_path / "a.safetensors", [2**33], 2**35)
    with pytest.raises(WorkError, match="weights have less than 4 GiB"):
        weights.read(path)


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


@pytest.mark.parametrize("header", HEADERS.values(), ids=HEADERS)
def test_safetensors_with_a_crafted_header_are_a_clear_error(tmp_path, header):
    path = tmp_path / "a.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(8))
    with pytest.raises(WorkError) as error:
        weights.read(path)
    assert str(error.value).startswith(f"{path}: cannot be read as weights (")
    assert len(str(error.value)) < 500


def test_a_safetensors_header_of_gigabytes_is_not_read(tmp_path):
    path = tmp_path / "a.safetensors"
    path.write_bytes(struct.pack("<Q", 2**31) + b'{"a"')
    os.truncate(path, 2**31 + 16)
    with pytest.raises(WorkError, match="a header of more than 8 MiB"):
        weights.load(path, "resnet18", "x")


@pytest.mark.parametrize("metadata", [b"[]", b'"x"', b'{"variant":1}'])
def test_metadata_that_is_no_text_is_a_clear_error(tmp_path, metadata):
    header = b'{"__metadata__":' + metadata + b"}"
    (tmp_path / "a.safetensors").write_bytes(struct.pack("<Q", len(header)) + header)
    with pytest.raises(WorkError, match="damaged metadata"):
        weights.metadata(tmp_path / "a.safetensors")


def test_attributes_of_a_dictionary_do_not_hide_its_methods(tmp_path):
    evil = dict.fromkeys(("get", "items", "__class__"), 5)
    attributes = pickle.dumps(evil, 2)[2:-1]
    content = name("collections", "OrderedDict") + b")R" + attributes + b"b" + text("a") + b"Ns."
    (tmp_path / "a.pdparams").write_bytes(b"\x80\x02" + content)
    assert weights.read(tmp_path / "a.pdparams") == {}


@pytest.mark.parametrize("write", [write_zip, write_legacy, "paddle", "safetensors"])
def test_a_file_with_changed_bytes_is_read_or_a_clear_error(tmp_path, write):
    path, state = tmp_path / "a.pth", {"x": ONES.reshape(3, 4), "y": ONES}
    if write == "paddle":
        path.write_bytes(pickle.dumps(state, 4))
    elif write == "safetensors":
        save_file(state, path)
    else:
        write(path, {key: tensor(array, key) for key, array in state.items()})
    whole, random = path.read_bytes(), np.random.default_rng(0)
    for _ in range(250):
        changed = bytearray(whole)
        for at in random.integers(0, len(whole), random.integers(1, 4)):
            changed[at] = random.integers(0, 256)
        path.write_bytes(changed)
        try:
            arrays = weights.read(path)
        except WorkError as error:
            assert str(path) in str(error) and len(str(error)) < 500
        else:
            assert all(array.nbytes <= 96 for array in arrays.values())


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


@pytest.mark.parametrize("backbone", ["resnet18", "resnet152"])
def test_a_message_about_many_tensors_is_short(backbone):
    some = {key: np.ones(1, "f4") for key in list(network.full_shapes(backbone))[50:]}
    some |= {f"{'long' * 100}{i}": np.ones(1, "f4") for i in range(1000)}
    with pytest.raises(WorkError, match="50 missing: conv1.weight, .* and 47 more") as error:
        weights.convert(some, backbone, Path("a.pth"))
    assert len(str(error.value)) <= 400
