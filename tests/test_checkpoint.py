import json
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from common.errors import UsageError, WorkError
from models import checkpoint
from models.loading import load_detector
from models.methods import PaDiMSettings
from models.record import Record, RecordError, decode, encode
from tests.corpus import samples

ROOT = Path(__file__).resolve().parent.parent
FEATURES = replace(samples.FEATURES, stages=((3, (56, 56)), (4, (28, 28))))
RECORD = Record("padim", PaDiMSettings(epsilon=0.01, gaussians="joint"), FEATURES, pictures=3)
ARRAYS = {"mean": np.arange(6, dtype=np.float32).reshape(2, 3), "channels": np.array([1, 5])}


@pytest.fixture
def saved(tmp_path) -> Path:
    path = tmp_path / "best.pdparams"
    checkpoint.save(path, ARRAYS, RECORD)
    return path


def test_what_is_saved_is_loaded(saved):
    arrays, record = checkpoint.load(saved)
    assert record == replace(RECORD, arrays_sha256=record.arrays_sha256)
    for key, array in ARRAYS.items():
        np.testing.assert_array_equal(arrays[key], array)
        assert arrays[key].dtype == array.dtype


def test_a_view_is_saved_as_what_it_shows(tmp_path):
    path = tmp_path / "view.pdparams"
    checkpoint.save(path, {"view": ARRAYS["mean"].T}, RECORD)
    np.testing.assert_array_equal(checkpoint.load(path)[0]["view"], ARRAYS["mean"].T)


def test_a_missing_file_is_wrong_use(tmp_path):
    with pytest.raises(UsageError, match="no such checkpoint"):
        checkpoint.load(tmp_path / "none.pdparams")


@pytest.mark.parametrize("keep", [0, 4, 30, -1])
def test_a_truncated_file_is_refused(saved, keep):
    saved.write_bytes(saved.read_bytes()[:keep])
    with pytest.raises(WorkError, match="truncated") as error:
        checkpoint.load(saved)
    assert str(saved) in str(error.value)


def test_another_format_version_is_refused(saved):
    newer = replace(checkpoint.CHECKPOINT, version=6)
    with pytest.raises(WorkError, match="version 5.*version 6"):
        checkpoint.load(saved, newer)


def test_another_kind_of_file_is_refused(saved):
    with pytest.raises(WorkError, match="not a distribution"):
        checkpoint.load(saved, checkpoint.DISTRIBUTION)


def test_the_record_alone_is_that_of_the_file(saved):
    assert checkpoint.load_record(saved) == checkpoint.load(saved)[1]


@pytest.mark.parametrize("metadata", [None, {"record": "{"}, {"record": json.dumps({"a": 1})}])
def test_a_safetensors_file_of_others_is_refused(tmp_path, metadata):
    path = tmp_path / "other.pdparams"
    save_file(ARRAYS, path, metadata)
    with pytest.raises(WorkError, match="not a checkpoint of this project"):
        checkpoint.load(path)


def test_a_pickle_is_refused_without_being_executed(tmp_path):
    marker, path = tmp_path / "marker", tmp_path / "evil.pdparams"
    path.write_bytes(f"cos\nsystem\n(S'touch {marker}'\ntR.".encode())
    with pytest.raises(WorkError, match="not a checkpoint"):
        checkpoint.load(path)
    assert not marker.exists()


def test_a_checkpoint_without_its_parts_is_called_damaged(saved):
    with pytest.raises(WorkError, match="damaged"):
        load_detector(saved)


def test_a_failure_while_saving_leaves_the_old_file_and_nothing_else(saved, monkeypatch):
    before = saved.read_bytes()

    def half(arrays, path, metadata):
        Path(path).write_bytes(b"half of it")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("safetensors.numpy.save_file", half)
    with pytest.raises(WorkError, match="No space left"):
        checkpoint.save(saved, ARRAYS, RECORD)
    assert saved.read_bytes() == before
    assert [path.name for path in saved.parent.iterdir()] == ["best.pdparams"]


def test_a_record_survives_its_journey_through_json():
    record = replace(RECORD, arrays_sha256="0" * 64)
    assert decode(encode(record, "x", 1)) == record


def test_a_detector_that_has_not_learned_is_not_saved(tmp_path):
    with pytest.raises(RecordError, match="not fitted"):
        checkpoint.save(tmp_path / "model.pdparams", ARRAYS, replace(RECORD, pictures=0))
    assert not list(tmp_path.iterdir())


SAVE_FOREVER = """
import sys, numpy as np
from dataclasses import replace
from models import checkpoint
from tests.test_checkpoint import RECORD
for i in range(1, 1_000_000):
    record = replace(RECORD, pictures=i)
    checkpoint.save(sys.argv[1], {"mean": np.full((512, 1024), i, np.float32)}, record)
    print(i, flush=True)
"""


@pytest.mark.process
def test_killed_while_saving_the_file_stays_whole(tmp_path):
    path = tmp_path / "best.pdparams"
    for pause in (0.0, 0.003, 0.007, 0.013):
        process = subprocess.Popen(
            [sys.executable, "-c", SAVE_FOREVER, str(path)], stdout=subprocess.PIPE, cwd=ROOT
        )
        process.stdout.readline()  # it has saved once and is at it again
        time.sleep(pause)
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        arrays, record = checkpoint.load(path)
        assert (arrays["mean"] == record.pictures).all()
