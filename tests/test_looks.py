"""Pictures unlike the training pictures are warned of; every run says how much it looks at."""

import json
import shutil
import time

import numpy as np
import pytest
from PIL import Image

from common.looks import Look, Looks
from common.preprocessing import Preprocessing
from datasets.looks import look_of
from datasets.samples import pictures_in
from inspection import Inspector, fit
from models import checkpoint
from models.engine import Engine
from tests.conftest import NO_GRAPH, SMALL, call, fails
from tests.corpus.samples import contents, rewritten

KNOWN = Looks.of(Look((300, 300), 40.0, 120.0)) | Looks.of(Look((300, 330), 50.0, 140.0))


def test_a_look_is_size_contrast_and_brightness():
    checks = np.indices((224, 224)).sum(axis=0) % 2 * np.uint8(200)
    look = look_of(np.repeat(checks.astype(np.uint8)[..., None], 3, axis=2), (900, 600))
    assert look == Look((900, 600), pytest.approx(100, rel=0.01), pytest.approx(100, rel=0.01))
    assert look.aspect == 1.5
    white = look_of(np.full((1, 1, 3), 255, np.uint8), (1, 1))
    assert (white.contrast, white.brightness) == (0, pytest.approx(255))


@pytest.mark.parametrize(
    ("look", "kinds"),
    [
        (Look((300, 300), 45, 130), set()),
        (Look((600, 600), 90, 170), set()),  # at the limits
        (Look((601, 601), 45, 130), {"size"}),
        (Look((1, 1), 0, 255), {"size", "contrast", "brightness"}),
        (Look((330, 300), 45, 130), {"aspect ratio"}),
        (Look((300, 300), 19, 130), {"contrast"}),
        (Look((300, 300), 45, 70), {"brightness"}),
    ],
)
def test_what_is_unlike(look, kinds):
    found = KNOWN.unlike(look)
    assert found.keys() == kinds
    assert all(text.startswith(kind) for kind, text in found.items())


def test_the_texts_name_both_sides():
    found = KNOWN.unlike(Look((1, 2), 1.0, 20))
    assert found["size"] == "size 1×2; training pictures have 300×300 to 300×330"
    assert found["contrast"] == "contrast 1.0; training pictures have 40.0 to 50.0"


def test_measuring_takes_less_than_a_hundredth_of_judging():
    """Judging takes 4 ms at least."""
    picture = np.zeros((224, 224, 3), np.uint8)
    seconds = []
    for _ in range(50):
        start = time.perf_counter()
        look_of(picture, (224, 224))
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 0.01 * 4e-3


@pytest.fixture
def odd(demo, tmp_path):
    """Pictures that are no part, one of another shape, and a good one."""
    folder = tmp_path / "odd"
    folder.mkdir()
    good = Image.open(demo / "flange/test/good/000.png").convert("RGB")
    good.save(folder / "good.png")
    good.resize((192, 96)).save(folder / "wide.png")
    for name, size, colour in (("white", 96, 255), ("grey", 96, 128), ("dot", 1, 200)):
        Image.new("L", (size, size), colour).save(folder / f"{name}.png")
    return folder


def test_the_json_and_the_console_say_it(model, odd):
    options = ("--model_path", model, "--picture_path", odd, "--no-save_picture", *NO_GRAPH)
    result = call("predict", *options, "--json")
    assert result.code == 0, result.err
    found = {
        row["path"][len(str(odd)) + 1 :]: row["warnings"] for row in map(json.loads, result.lines)
    }
    kinds = {name: [text.split()[0] for text in texts] for name, texts in found.items()}
    assert kinds["good.png"] == [] and "aspect" in kinds["wide.png"]
    for name in ("white", "grey", "dot"):
        assert "contrast" in kinds[f"{name}.png"]
    assert "size" in kinds["dot.png"] and "brightness" in kinds["white.png"]
    lines = [line for line in result.err.splitlines() if "unlike" in line]
    assert len({line.split("the ")[1].split(" is")[0] for line in lines}) == len(lines) <= 4
    assert any("3 of 5 pictures: the contrast is unlike" in line for line in lines)
    assert "100 % of a 1×1 picture is looked at" in result.err


def test_good_test_pictures_are_not_warned_of(model, demo):
    judged = Inspector.open(model, Engine(device="cpu")).inspect(
        pictures_in(demo / "flange/test/good")
    )
    assert [judgement.warnings for judgement in judged] == [[]] * 4


def test_models_of_earlier_programs_are_read(model, demo, tmp_path):
    arrays, record = contents(model)
    assert record.pop("looks")["width"] == [96, 96]
    old = rewritten(tmp_path / "old.pdparams", arrays, record)
    assert checkpoint.load_record(old).looks is None
    white = np.full((96, 96), 255, np.uint8)
    (judgement,) = Inspector.open(old, Engine(device="cpu")).inspect([white])
    assert judgement.warnings == []


@pytest.mark.parametrize("looks", [{"width": [2, 1]}, {"contrast": [0, "x"]}, 5])
def test_looks_that_make_no_sense_are_refused(model, tmp_path, demo, looks):
    arrays, record = contents(model)
    record["looks"] = {**record["looks"], **looks} if isinstance(looks, dict) else looks
    bad = rewritten(tmp_path / "bad.pdparams", arrays, record)
    options = ("--model_path", bad, "--picture_path", demo / "flange/test/good")
    fails(call("predict", *options), 1, "bad.pdparams", "damaged")


def test_a_model_that_learns_on_knows_the_new_looks(model, demo, tmp_path):
    mine = shutil.copy(model, tmp_path / "best.pdparams")
    (tmp_path / "more").mkdir()
    for i, path in enumerate(pictures_in(demo / "flange/test/good")[:2]):
        Image.open(path).resize((200, 150)).save(tmp_path / f"more/{i}.png")
    options = ("--update", mine, "--normal_dir", tmp_path / "more", "--log_dir", tmp_path)
    result = call("train", *options, "--save_path", tmp_path, *NO_GRAPH)
    assert result.code == 0, result.err
    found = checkpoint.load_record(tmp_path / "flange/best.pdparams").looks
    assert (found.width, found.height) == ((96, 200), (96, 150))


def test_whole_pictures_are_looked_at(demo, tmp_path):
    good = tmp_path / "good"
    good.mkdir()
    for path in pictures_in(demo / "flange/train/good")[:3]:
        Image.open(path).resize((150, 96)).save(good / path.name)
    options = ("--normal_dir", good, "--save_path", tmp_path, "--log_dir", tmp_path)
    few = ("--img_size", 64, "--resize", 64, *SMALL[4:], *NO_GRAPH)
    result = call("train", *options, *few, "--whole")
    assert "100 % of a 150×96 picture is looked at\n" in result.err
    preprocessing = checkpoint.load_record(tmp_path / "custom/best.pdparams").preprocessing
    assert preprocessing.resize == preprocessing.crop == (64, 96)
    cropped = call("train", *options, *few)
    assert "only 64 % of a 150×96 picture is looked at" in cropped.err
    assert "--whole" in cropped.err


def test_whole_keeps_the_aspect_ratio_in_steps():
    known = Preprocessing()
    assert known.whole((900, 900)).crop == (224, 224)
    assert known.whole((1280, 720)).crop == (224, 384)
    assert known.whole((480, 640)).seen((480, 640)) == 1


def test_fitting_in_python_measures_too(demo):
    small = {"backbone": "resnet18", "pretrained_backbone": "embedded", "dims": 10}
    pictures = pictures_in(demo / "flange/train/good")[:3]
    preprocessing = Preprocessing(64, (64, 64))
    engine = Engine(device="cpu", static=False)
    fitted = fit(pictures, engine, calibrate=False, preprocessing=preprocessing, **small)
    assert fitted.detector.record.looks.side == (96, 96)
