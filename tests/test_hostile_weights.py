"""Weight files with wrong sizes or changed bytes: one clear error, little memory."""

import json
import os
import pickle
import struct
import time
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest

from common.errors import WorkError
from models.backbones import archives, contents, network, weights
from models.backbones.catalogue import BACKBONES
from models.backbones.pickles import LEGACY_MAGIC
from tests.corpus.pickles import DTYPE, ONES, RECONSTRUCT, text
from tests.pickle_files import SYSTEM, Storage, Tensor, dump, tensor, write_legacy, write_zip


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
@pytest.mark.process
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


def test_a_safetensors_header_of_gigabytes_is_not_read(tmp_path):
    path = tmp_path / "a.safetensors"
    path.write_bytes(struct.pack("<Q", 2**31) + b'{"a"')
    os.truncate(path, 2**31 + 16)
    with pytest.raises(WorkError, match="a header of more than 8 MiB"):
        weights.load(path, "resnet18", "x")


@pytest.mark.parametrize("backbone", ["resnet18", "resnet152"])
def test_a_message_about_many_tensors_is_short(backbone):
    some = {key: np.ones(1, "f4") for key in list(network.full_shapes(backbone))[50:]}
    some |= {f"{'long' * 100}{i}": np.ones(1, "f4") for i in range(1000)}
    with pytest.raises(WorkError, match="50 missing: conv1.weight, .* and 47 more") as error:
        weights.convert(some, backbone, Path("a.pth"))
    assert len(str(error.value)) <= 400
