"""Damaged arrays, unfit exports, sizes beyond memory: one clear error and exit code 1 or 2."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from common.errors import UsageError, WorkError
from models import checkpoint, loading
from models.memory import require_memory
from models.methods import METHODS, PaDiMSettings
from tests.conftest import SMALL, call, fails
from tests.corpus.samples import contents, rewritten
from tests.model_files import predict
from tests.test_checkpoint import FEATURES, RECORD


@pytest.fixture(scope="module")
def deployed(model, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("deployed")
    assert call("export_model", "--model_path", model, "--save_dir", folder).code == 0
    return folder


def broken_backbones() -> dict:
    def nan(state):
        state["backbone.conv1.weight"][0, 0, 0, 0] = np.nan

    def zeros(state):
        for key in state:
            if key.startswith("backbone."):
                state[key][...] = 0

    def negative(state):
        state["backbone.bn1.running_var"][3] = -1

    def missing(state):
        del state["backbone.conv1.weight"]

    def nan_mean(state):
        state["head.mean0"][0, 0] = np.nan

    def reshaped(state):
        state["head.own0"] = state["head.own0"][:, :-1]

    def integers(state):
        state["head.mean0"] = state["head.mean0"].astype(np.int64)

    def channels(state):
        state["channels"] = state["channels"] + 10**6

    return {
        f.__name__: f
        for f in (nan, zeros, negative, missing, nan_mean, reshaped, integers, channels)
    }


@pytest.mark.parametrize("what", broken_backbones())
def test_arrays_that_cannot_be_are_refused(what, model, demo, tmp_path):
    arrays, record = contents(model)
    arrays = {key: array.copy() for key, array in arrays.items()}
    broken_backbones()[what](arrays)
    path = rewritten(tmp_path / "model.pdparams", arrays, record)
    fails(predict(path, demo, tmp_path), 1, path, "damaged")
    exported = call("export_model", "--model_path", path, "--save_dir", tmp_path / "out")
    fails(exported, 1, path, "damaged")
    assert not list((tmp_path / "out").glob("*"))


def test_one_changed_number_is_noticed(model, demo, tmp_path):
    arrays, record = contents(model)
    arrays["head.mean0"] = arrays["head.mean0"] + np.float32(1e-6)
    path = rewritten(tmp_path / "model.pdparams", arrays, record, digest=False)
    fails(predict(path, demo, tmp_path), 1, path, "changed after they were written")


def test_other_types_of_numbers_are_refused(model, demo, tmp_path):
    """bfloat16 and float8, which NumPy does not have, by the header alone."""
    path = tmp_path / "model.pdparams"
    content = model.read_bytes()
    for kind in (b"BF16", b"F8_E4M3", b"I8"):
        size = int.from_bytes(content[:8], "little")
        header = json.loads(content[8 : 8 + size])
        name = "head.mean0"
        start, end = header[name]["data_offsets"]
        header[name] |= {
            "dtype": kind.decode(),
            "shape": [(end - start) // (2 if kind == b"BF16" else 1)],
        }
        encoded = json.dumps(header).encode()
        encoded += b" " * (-len(encoded) % 8)
        path.write_bytes(len(encoded).to_bytes(8, "little") + encoded + content[8 + size :])
        fails(predict(path, demo, tmp_path), 1, path, kind.decode())


def test_a_model_larger_than_memory_is_refused_before_it_is_read(model, monkeypatch):
    monkeypatch.setattr(checkpoint, "total_memory", lambda: 10**6)
    with pytest.raises(WorkError, match="GB of memory"):
        checkpoint.load(model)


@pytest.mark.process
@pytest.mark.parametrize("place", ["model", "params"])
def test_a_flipped_bit_in_exported_files_is_noticed(place, deployed, demo, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(deployed, folder)
    model = next(p for p in folder.iterdir() if p.name in ("model.json", "model.pdmodel"))
    path = model if place == "model" else folder / "model.pdiparams"
    whole = path.read_bytes()
    for at in (2, 6, 9, len(whole) // 2, len(whole) - 1):
        content = bytearray(whole)
        content[at] ^= 1 << 3
        path.write_bytes(content)
        picture = demo / "flange" / "test" / "good" / "000.png"
        result = call("infer", "-i", picture, "--model_dir", folder)
        fails(result, 1, path, "damaged", "export")


@pytest.mark.process
def test_an_absurd_distribution_is_one_line(deployed, demo, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(deployed, folder)
    path = folder / "distribution"
    arrays, record = contents(path)
    picture = demo / "flange" / "test" / "good" / "000.png"
    for change in (
        {"exported": None},
        {"exported": {**record["exported"], "graphs": []}},
        {"exported": {**record["exported"], "probe_map": [0.0] * 64}},
        {"exported": {**record["exported"], "probe_map": [1.0] * 3}},
        {"exported": {**record["exported"], "probe_image": [1e9]}},
        {"exported": {**record["exported"], "probe_embedding": [1e9] * 20}},
        {"features": {**record["features"], "stages": [[20, [16, 16]]]}},
        {"pictures": 0},
    ):
        rewritten(path, arrays, {**record, **change})
        fails(call("infer", "-i", picture, "--model_dir", folder), 1, path)


def test_sizes_beyond_memory_are_refused_before_the_work(demo, tmp_path):
    data = ("--data_path", demo, "--category", "flange", "--save_path", tmp_path)
    small = [*data, *SMALL, "--log_dir", tmp_path]
    for size in ("12000", "16384"):
        result = call("train", *small, "--resize", size, "--img_size", size)
        fails(result, 2, "GB of memory", "picture size")
    fails(call("train", *small, "--resize", 10**6, "--img_size", 10**6), 2, "img_size", "16384")
    fails(call("train", *small, "--batch_size", 10**20), 2, "batch_size")


def test_the_estimate_covers_network_pictures_and_statistics(monkeypatch):
    monkeypatch.setattr("models.memory.total_memory", lambda: 10**9)
    common = ("padim", PaDiMSettings(epsilon=0.01, gaussians="joint"), "resnet18", ("layer1",))
    fine = {"stages": [(10, (16, 16))], "size": (64, 64), "batch_size": 4, "pictures": 0}
    require_memory(*common, **fine)
    for change in (
        {"size": (4096, 4096)},
        {"batch_size": 65536},
        {"stages": [(400, (128, 128))]},
    ):
        with pytest.raises(UsageError, match="GB of memory"):
            require_memory(*common, **{**fine, **change})


def test_a_model_can_be_loaded_where_it_could_not_be_trained(monkeypatch):
    method = "patchcore"
    settings, stages = METHODS[method].settings(), [(100, (28, 28)), (28, (7, 7))]
    features = replace(FEATURES, dims=128, stages=tuple(stages))
    record = replace(RECORD, method=method, settings=settings, features=features, pictures=3000)
    learning = METHODS[method].head_class().memory(settings, stages, 3000)
    monkeypatch.setattr("models.memory.total_memory", lambda: learning)
    common = (method, settings, "resnet18", features.layers, stages, record.size, 1, 3000)
    with pytest.raises(UsageError, match="GB of memory"):
        require_memory(*common)
    loading.check_record_memory(record, Path("best.pdparams"), 1)
    assert loading.head_bytes(record) < learning
    monkeypatch.setattr("models.memory.total_memory", lambda: learning // 10)
    with pytest.raises(WorkError, match=r"best\.pdparams.*GB of memory"):
        loading.check_record_memory(record, Path("best.pdparams"), 1)


def test_a_checkpoint_beyond_memory_is_refused(model, demo, tmp_path, monkeypatch):
    monkeypatch.setattr("models.memory.total_memory", lambda: 10**6)
    with pytest.raises(WorkError, match=r"best\.pdparams.*GB of memory"):
        loading.load_detector(model)


def test_scores_that_are_not_finite_name_the_model(model, demo, tmp_path, monkeypatch):
    from models.detector import Detector

    def no_numbers(self, images):
        return self.judge([np.full((len(images), *shape), np.nan, np.float32) for shape in shapes])

    shapes = [(c, *grid) for c, grid in checkpoint.load_record(model).features.stages]
    monkeypatch.setattr(Detector, "score", no_numbers)
    fails(predict(model, demo, tmp_path), 1, "not finite", model)
