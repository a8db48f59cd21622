"""The inspection API: the same scores for every kind of picture source and model."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from common.errors import UsageError
from datasets.transforms import BadPictureError
from inspection import Inspector
from models import checkpoint
from models.engine import Engine
from models.factory import build_detector
from tests.conftest import call

CPU = Engine(device="cpu")


@pytest.fixture(scope="module")
def deployed(trained, tmp_path_factory):
    folder = tmp_path_factory.mktemp("deployed")
    result = call("export_model", "--model_path", trained / "flange", "--save_dir", folder)
    assert result.code == 0, result.err
    return folder


def same_picture(path) -> list:
    """The picture of a PNG file as path, text, bytes, file object and array."""
    content = path.read_bytes()
    array = np.asarray(Image.open(path).convert("RGB"))
    return [path, str(path), content, io.BytesIO(content), array]


SLOW = [pytest.param(w, marks=pytest.mark.process) for w in ("folder", "exported", "graph")]


@pytest.mark.parametrize("what", ["checkpoint", *SLOW])
def test_every_source_has_the_same_score(what, trained, demo, request):
    exported = what in ("exported", "graph")
    deployed = request.getfixturevalue("deployed") if exported else Path()
    places = {
        "checkpoint": trained / "flange" / "best.pdparams",
        "folder": trained / "flange",
        "exported": deployed,
        "graph": next(deployed.glob("model.[jp]*"), None),
    }
    path = demo / "flange" / "test" / "rust" / "000.png"
    inspector = Inspector.open(places[what], CPU, batch_size=2)
    found = list(inspector.inspect(same_picture(path)))
    expected = call(
        *("predict", "--picture_path", path, "--model_path", trained / "flange"),
        *("--save_picture", "False"),
    )
    score = float(expected.out.split("\t")[1])
    assert [j.score for j in found] == pytest.approx([score] * 5, rel=1e-6)
    assert {j.verdict for j in found} == {expected.out.strip().split("\t")[2]}
    assert found[0].map.shape == (64, 64)
    assert found[0].picture.shape == (64, 64, 3)
    assert found[0].source == path


def test_pictures_may_come_one_by_one_from_a_generator(trained, demo):
    paths = sorted((demo / "flange" / "test").rglob("*.png"))
    given = []

    def pictures():
        for _ in range(20):
            for path in paths:
                given.append(path)
                yield path

    inspector = Inspector.open(trained / "flange", CPU, batch_size=2, workers=1)
    first = next(iter(inspector.inspect(pictures())))
    assert first.source == paths[0]
    assert len(given) < 40  # not all of them are read before the first answer


def test_a_bad_picture_raises_or_is_kept_among_the_skipped(trained, demo):
    good = demo / "flange" / "test" / "rust" / "000.png"
    inspector = Inspector.open(trained / "flange", CPU)
    with pytest.raises(BadPictureError, match="bytes"):
        list(inspector.inspect([good, b"no picture"]))
    skipped = []
    assert len(list(inspector.inspect([good, b"no picture", good], skipped))) == 2
    assert len(skipped) == 1


def test_the_threshold_may_be_replaced(trained, demo):
    good = demo / "flange" / "test" / "rust" / "000.png"
    inspector = Inspector.open(trained / "flange", CPU)
    inspector.threshold = 1e9
    assert next(inspector.inspect([good])).verdict == "good"
    inspector.threshold = None
    assert next(inspector.inspect([good])).verdict == "unknown"


def test_what_is_no_model_is_said_at_once(tmp_path):
    with pytest.raises(UsageError, match="neither best.pdparams nor an exported model"):
        Inspector.open(tmp_path)


@pytest.mark.process
def test_a_detector_fitted_in_python_alone_serves_the_scripts(demo, tmp_path):
    from common.preprocessing import Preprocessing
    from datasets.transforms import Transform

    detector = build_detector(
        pretrained_backbone="random", dims=10, preprocessing=Preprocessing(64, (64, 64)), engine=CPU
    )
    transform = Transform(detector.record.preprocessing)  # normalises as the weights need
    paths = sorted((demo / "flange" / "train" / "good").glob("*.png"))
    images = np.stack([transform.normalize(transform.picture(path)) for path in paths])
    detector.fit([images])
    path = tmp_path / "model.pdparams"
    checkpoint.save(path, detector.arrays(), detector.record)
    result = call(
        *("predict", "--picture_path", paths[0], "--model_path", path),
        *("--save_path", tmp_path / "sheet.png"),
    )
    assert result.code == 0, result.err
    score = float(detector.score(images[:1]).image[0])
    assert float(result.out.split("\t")[1]) == pytest.approx(score, rel=1e-5)
    exported = call("export_model", "--model_path", path, "--save_dir", tmp_path / "deployed")
    assert exported.code == 0, exported.err
