"""Model files from anywhere: what is damaged, absurd or exchanged is one line and exit code 1."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

from common.errors import UsageError, WorkError
from models import checkpoint, factory
from models.checkpoint import arrays_digest
from models.memory import require_memory
from models.methods import PaDiMSettings
from models.record import RecordError, decode
from tests.conftest import SMALL, call, fails

ROOT = Path(__file__).resolve().parent.parent
ABSURD = [
    *(None, True, -1, 0, 1e7, 1e300, 10**30, "x", "x" * 5000, [], {}, [1, 2, 3], [[]]),
    [None] * 3,
    ["layer1"] * 5000,
]
FINE = {  # what is absurd elsewhere, and right here
    "settings.epsilon": [1e7, 1e300, 10**30],
    "features.variant": [None],
    "features.seed": [None, 0],
    "features.weights.name": ["x"],
    "features.weights.sha256": ["x"],
    "features.weights.origin": ["x"],
    "category": ["x"],
    "unit": [1e7, 1e300, 10**30],
    "calibration": [None],
    "calibration.image_threshold": [-1, 0, 1e7, 1e300, 10**30],
    "calibration.peak_threshold": [-1, 0, 1e7, 1e300, 10**30],
    "calibration.pixel_threshold": [-1, 0, 1e7, 1e300, 10**30],
    "calibration.normal_score": [-1, 0, 1e7, 1e300, 10**30],
    "calibration.source": ["x"],
    "exported": [None],
}
FREE = {"preprocessing", "sigma"}  # of values near the right ones, tested below


@pytest.fixture(scope="module")
def model(trained) -> Path:
    return trained / "flange" / "best.pdparams"


@pytest.fixture(scope="module")
def deployed(model, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("deployed")
    assert call("export_model", "--model_path", model, "--save_dir", folder).code == 0
    return folder


def contents(path: Path) -> tuple[dict, dict]:
    with safe_open(path, "numpy") as file:
        record = json.loads(file.metadata()["record"])
        return {key: file.get_tensor(key) for key in file.keys()}, record  # noqa: SIM118


def write(path: Path, arrays: dict, record: dict | str, digest: bool = True) -> Path:
    """A file as a stranger could make it, its digest right unless said otherwise."""
    if isinstance(record, dict):
        if digest:
            record = {**record, "arrays_sha256": arrays_digest(arrays)}
        record = json.dumps(record)
    save_file({k: np.ascontiguousarray(v) for k, v in arrays.items()}, path, {"record": record})
    return path


def predict(path: Path, demo: Path, tmp_path: Path):
    picture = demo / "flange" / "test" / "good" / "000.png"
    return call(
        *("predict", "--picture_path", picture, "--model_path", path),
        *("--save_path", tmp_path / "sheet.png"),
    )


def fields(record: dict, before: str = "") -> list[str]:
    """`a`, `a.b`, … of all fields."""
    names = []
    for key, value in record.items():
        names.append(f"{before}{key}")
        if isinstance(value, dict):
            names += fields(value, f"{before}{key}.")
    return names


def test_no_field_of_a_record_takes_an_absurd_value(model):
    _, record = contents(model)
    names = [name for name in fields(record) if name not in ("format", "version")]
    assert len(names) > 30
    for name in names:
        *parents, last = name.split(".")
        for value in ABSURD:
            changed = json.loads(json.dumps(record))
            inner = changed
            for parent in parents:
                inner = inner[parent]
            inner[last] = value
            text = json.dumps(changed)
            if value in FINE.get(name, []) and not isinstance(value, bool):
                decode(text)
                continue
            if name.partition(".")[0] in FREE and not isinstance(value, bool):
                try:
                    decode(text)
                except RecordError:
                    continue
                assert value in (0, -1, [1, 2, 3]), (name, value)  # a mean of 0 may be meant
                continue
            with pytest.raises(RecordError) as error:
                decode(text)
            assert len(str(error.value)) < 400, name
            del inner[last]
            with pytest.raises(RecordError):
                decode(json.dumps(changed))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("sigma", 1e7),
        ("preprocessing", {"resize": 10**5, "crop": [10**5, 10**5]}),
        ("preprocessing", {"resize": None}),
        ("preprocessing", {"resize": -1}),
        ("preprocessing", {"crop": [8, 8]}),
        ("preprocessing", {"std": [0.1, 0.0, 0.1]}),
        ("layers", ["layer1"] * 5000),
        ("method", "../../evil"),
    ],
)
def test_an_absurd_record_is_one_line(field, value, model, demo, tmp_path):
    arrays, record = contents(model)
    inner = record["features"] if field == "layers" else record
    inner[field] = value
    path = write(tmp_path / "model.pdparams", arrays, record)
    fails(predict(path, demo, tmp_path), 1, path, "damaged")


@pytest.mark.parametrize(
    "text",
    ["", "null", "3", "[]", '"x"', "[" * 10**5, "{" * 10**5, '{"a":' * 10**5, "{}", "x" * 2**21],
)
def test_what_is_no_record_is_said(text, model, demo, tmp_path):
    arrays, _ = contents(model)
    path = write(tmp_path / "model.pdparams", arrays, text)
    fails(predict(path, demo, tmp_path), 1, path, "not a checkpoint")


def test_infinite_and_missing_numbers_are_no_json(model):
    _, record = contents(model)
    for number in ("NaN", "Infinity", "-Infinity", "1e999"):
        text = json.dumps(record).replace('"sigma": 4.0', f'"sigma": {number}')
        with pytest.raises(RecordError):
            decode(text)


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
        state["mean0"][0, 0] = np.nan

    def reshaped(state):
        state["own0"] = state["own0"][:, :-1]

    def integers(state):
        state["mean0"] = state["mean0"].astype(np.int64)

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
    path = write(tmp_path / "model.pdparams", arrays, record)
    fails(predict(path, demo, tmp_path), 1, path, "damaged")
    exported = call("export_model", "--model_path", path, "--save_dir", tmp_path / "out")
    fails(exported, 1, path, "damaged")
    assert not list((tmp_path / "out").glob("*"))


def test_one_changed_number_is_noticed(model, demo, tmp_path):
    arrays, record = contents(model)
    arrays["mean0"] = arrays["mean0"] + np.float32(1e-6)
    path = write(tmp_path / "model.pdparams", arrays, record, digest=False)
    fails(predict(path, demo, tmp_path), 1, path, "not those that were written")


def test_other_types_of_numbers_are_refused(model, demo, tmp_path):
    """bfloat16 and float8, which NumPy does not have, by the header alone."""
    path = tmp_path / "model.pdparams"
    content = model.read_bytes()
    for kind in (b"BF16", b"F8_E4M3", b"U8"):
        size = int.from_bytes(content[:8], "little")
        header = json.loads(content[8 : 8 + size])
        name = "mean0"
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
        {"exported": {**record["exported"], "probe_embedding": [1e9] * 20}},
        {"features": {**record["features"], "stages": [[20, [16, 16]]]}},
        {"pictures": 0},
    ):
        write(path, arrays, {**record, **change})
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
    common = ("padim", PaDiMSettings(), "resnet18", ("layer1",))
    fine = {"stages": [(10, (16, 16))], "size": (64, 64), "batch_size": 4}
    require_memory(*common, **fine)
    for change in (
        {"size": (4096, 4096)},
        {"batch_size": 65536},
        {"stages": [(400, (128, 128))]},
    ):
        with pytest.raises(UsageError, match="GB of memory"):
            require_memory(*common, **{**fine, **change})


def test_a_checkpoint_beyond_memory_is_refused(model, demo, tmp_path, monkeypatch):
    monkeypatch.setattr("models.memory.total_memory", lambda: 10**6)
    with pytest.raises(WorkError, match=r"best\.pdparams.*GB of memory"):
        factory.load_detector(model)


@pytest.mark.process
@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes in the file system here")
def test_a_pipe_as_log_file_does_not_hang(demo, tmp_path):
    os.mkfifo(tmp_path / "flange.log")
    command = [sys.executable, "train.py", "--data_path", demo, "--category", "flange"]
    command += ["--log_dir", tmp_path, "--save_path", tmp_path / "out"]
    done = subprocess.run(
        [str(part) for part in command], cwd=ROOT, capture_output=True, text=True, timeout=30
    )
    assert done.returncode == 2
    assert "not a regular file" in done.stderr


@pytest.mark.process
def test_a_closed_stderr_costs_no_result(model, demo, tmp_path):
    picture = demo / "flange" / "test" / "good" / "000.png"
    arguments = f"predict.py --picture_path {picture} --model_path {model}"
    arguments += f" --save_path {tmp_path}/sheet.png"
    done = subprocess.run(
        ["bash", "-c", f"{sys.executable} {arguments} 2>&-"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0
    assert done.stdout.startswith(str(picture))


def test_scores_that_are_not_finite_name_the_model(model, demo, tmp_path, monkeypatch):
    from models.detector import Detector

    def no_numbers(self, images):
        return self.judge([np.full((len(images), *shape), np.nan, np.float32) for shape in shapes])

    shapes = [(c, *grid) for c, grid in checkpoint.load_record(model).features.stages]
    monkeypatch.setattr(Detector, "score", no_numbers)
    fails(predict(model, demo, tmp_path), 1, "not finite", model)


def test_control_characters_of_names_do_not_reach_the_terminal(trained, demo, tmp_path):
    picture = tmp_path / "a\x1b[31mred\nline.png"
    shutil.copy(demo / "flange" / "test" / "good" / "000.png", picture)
    broken = tmp_path / "b\x1b[2Jroken.png"
    broken.write_bytes(b"no picture")
    result = call(
        *("predict", "--picture_path", tmp_path, "--model_path", trained / "flange"),
        *("--save_path", tmp_path / "out"),
    )
    assert result.code == 1
    assert "\x1b" not in result.out + result.err
    assert len(result.lines) == 1


def test_a_folder_that_is_not_utf8_is_exported_to_and_read(model, demo, tmp_path):
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    exported = call("export_model", "--model_path", model, "--save_dir", folder, "--fused")
    assert exported.code == 0, exported.err
    assert (folder / "distribution").is_file()
    picture = demo / "flange" / "test" / "good" / "000.png"
    inferred = call("infer", "-i", picture, "--model_dir", folder)
    assert inferred.code == 0, inferred.err


def test_long_messages_are_cut(demo, tmp_path):
    name = "x" * 200
    deep = Path(*[tmp_path, *[name] * 12])
    result = call("predict", "--picture_path", deep, "--model_path", tmp_path)
    assert result.code in (1, 2)
    assert len(result.err) < 800


def test_a_full_temporary_folder_is_named(model, demo, tmp_path, monkeypatch):
    """Paddle itself does not notice that its files are cut off."""
    import paddle

    def cut_off(graph, prefix):
        for suffix in (".json", ".pdiparams"):
            Path(f"{prefix}{suffix}").touch()

    monkeypatch.setattr(paddle.jit, "save", cut_off)
    fails(predict(model, demo, tmp_path), 1, "MB are free", "TMPDIR")
    monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=10**6))
    fails(predict(model, demo, tmp_path), 1, "1.0 MB are free", "TMPDIR")
