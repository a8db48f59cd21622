"""`python -m models.merge`: models of several machines become one."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models import checkpoint
from models.checkpoint import arrays_digest
from tests.conftest import NO_GRAPH, SMALL, call, fails

RANDOM = ("--pretrained_backbone", "random")
METHODS = ("padim", "patchcore", "spade")


def train(output: Path, folder: Path, *arguments):
    logs = ("--log_dir", output / "logs", "--category", "flange")
    found = call(
        *("train", "--normal_dir", folder, "--save_path", output, *logs, *SMALL, *NO_GRAPH),
        *arguments,
    )
    assert found.code == 0, found.err
    return output / "flange"


def merge(*arguments):
    return call("models.merge", *arguments)


def scores(model: Path, demo: Path) -> list[float]:
    found = call(
        *("predict", "--model_path", model, "--picture_path", demo / "flange" / "test" / "good"),
        *("--no-save_picture", *NO_GRAPH),
    )
    assert found.code == 0, found.err
    return [float(line.split("\t")[1]) for line in found.lines]


@pytest.fixture(scope="session")
def shards(demo, tmp_path_factory) -> list[Path]:
    """Two folders with 5 and 3 of the training pictures, and one with all of them."""
    root = tmp_path_factory.mktemp("shards")
    pictures = sorted((demo / "flange" / "train" / "good").iterdir())
    for name, part in (("first", pictures[:5]), ("second", pictures[5:]), ("all", pictures)):
        (root / name).mkdir()
        for path in part:
            shutil.copy(path, root / name)
    return [root / name for name in ("first", "second", "all")]


@pytest.fixture(scope="module")
def two(shards, tmp_path_factory) -> dict:
    """Models of both shards and of all pictures, by method."""
    found = {}
    for method in METHODS:
        root = tmp_path_factory.mktemp(method)
        found[method] = [train(root / s.name, s, "--method", method) for s in shards]
    return found


@pytest.mark.parametrize("method", METHODS)
def test_two_models_become_that_of_all_pictures(method, two, demo, tmp_path):
    first, second, whole = two[method]
    result = merge(first, second / "best.pdparams", "-o", tmp_path / "new")
    assert (result.code, result.lines) == (0, [str(tmp_path / "new" / "best.pdparams")])
    record = checkpoint.load_record(tmp_path / "new" / "best.pdparams")
    assert (record.pictures, record.category, record.method) == (8, "flange", method)
    assert record.calibration.normal is None and "--calibration_dir DIR" in result.err
    near = 0.3 if method == "patchcore" else 1e-4  # another coreset; float32 with n < d
    found = scores(tmp_path / "new" / "best.pdparams", demo)
    assert found == pytest.approx(scores(whole, demo), rel=near)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--method", "spade"), ("method spade", "padim")),
        (("--dims", 30), ("dims 30", "20")),
        (("--seed", 8), ("seed 8", "7")),
        (("--layers", "layer1,layer2"), ("layers ('layer1', 'layer2')",)),
        (("--img_size", 56), ("crop (56, 56)", "(64, 64)")),
        (("--epsilon", 0.1), ("epsilon 0.1", "0.01")),
        (("--backbone", "resnet34", *RANDOM), ("resnet34", "resnet18")),
        (("--backbone", "resnet18", *RANDOM), ("best.pdparams: weights ",)),
    ],
)
def test_models_of_other_options_are_refused(options, words, two, shards, tmp_path):
    other = train(tmp_path / "other", shards[1], *options, "--calibrate", "False")
    first = two["padim"][0]
    result = merge(first, other, "-o", tmp_path / "new")
    fails(result, 2, other / "best.pdparams", first, *words, "same options and weights")
    assert list((tmp_path / "new").iterdir()) == []


def test_models_of_other_regions_are_refused(two, shards, tmp_path):
    from PIL import Image

    masks = [tmp_path / f"{i}.png" for i in range(2)]
    for i, mask in enumerate(masks):
        pixels = np.zeros((96, 96), np.uint8)
        pixels[20 + 20 * i :] = 255
        Image.fromarray(pixels).save(mask)
    models = [train(tmp_path / mask.stem, shards[i], "--roi", mask) for i, mask in enumerate(masks)]
    new = ("-o", tmp_path / "new")
    fails(merge(two["padim"][0], models[0], *new), 2, "roi True", "has False")
    fails(merge(*models, *new), 2, models[1] / "best.pdparams", "roi is not that of", models[0])


def test_networks_with_other_numbers_are_refused(two, tmp_path):
    """Even where the record says that they are the same."""
    arrays, record = checkpoint.load(two["padim"][1] / "best.pdparams")
    arrays["channels"] = arrays["channels"][::-1].copy()
    record = replace(record, arrays_sha256=arrays_digest(arrays))
    checkpoint.save(tmp_path / "other.pdparams", arrays, record)
    result = merge(two["padim"][0], tmp_path / "other.pdparams", "-o", tmp_path / "new")
    fails(result, 2, tmp_path / "other.pdparams", "channels is not that of")


def test_the_same_model_twice_is_refused(two, tmp_path):
    first = two["padim"][0]
    shutil.copytree(first, tmp_path / "copy")
    result = merge(first, tmp_path / "copy", "-o", tmp_path / "new")
    fails(result, 2, tmp_path / "copy", "the same model", first, "count twice")
    fails(merge(first, "-o", tmp_path / "new"), 2, "expected two models or more")


def test_pictures_of_equal_names_are_warned_of(two, shards, tmp_path):
    again = train(tmp_path / "again", shards[0], "--batch_size", 3)
    assert "same names" not in merge(*two["padim"][:2], "-o", tmp_path / "a").err
    result = merge(two["padim"][0], again, "-o", tmp_path / "b")
    assert result.code in (0, 2)  # 2 where rounding is the same with other batches
    assert "have the same names as those of" in result.err or "the same model" in result.err


def test_a_category_of_its_own(two, tmp_path):
    arrays, record = checkpoint.load(two["padim"][1] / "best.pdparams")
    checkpoint.save(tmp_path / "other.pdparams", arrays, replace(record, category="plate"))
    models = two["padim"][0], tmp_path / "other.pdparams"
    fails(merge(*models, "-o", tmp_path / "new"), 2, "--category", "plate", "flange")
    assert merge(*models, "-o", tmp_path / "new.pdparams", "--category", "both").code == 0
    assert checkpoint.load_record(tmp_path / "new.pdparams").category == "both"


def test_files_that_are_no_models_are_refused(two, tmp_path):
    first, broken = two["padim"][0], tmp_path / "broken.pdparams"
    broken.write_bytes((first / "best.pdparams").read_bytes()[:5000])
    fails(merge(first, broken, "-o", tmp_path / "new"), 1, broken, "truncated")
    fails(merge(first, tmp_path / "none", "-o", tmp_path / "new"), 2, tmp_path / "none")
    (tmp_path / "file").touch()
    fails(merge(first, first, "-o", tmp_path / "file" / "x"), 2, "--output", "cannot be written")
