"""Bad input gives one line that names the fault, exit code 2 or 1, and no incomplete files."""

import shutil

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file, save_file

from models.backbones.sources import EMBEDDED
from tests.conftest import NO_GRAPH, SMALL, call, fails


@pytest.fixture
def data(demo, tmp_path):
    """A copy of the flange, to be broken."""
    shutil.copytree(demo / "flange", tmp_path / "data" / "flange")
    return tmp_path / "data"


@pytest.fixture
def train(data, tmp_path):
    def run(*arguments, path=data):
        return call(
            *("train", "--data_path", path, "--save_path", tmp_path / "out"),
            *("--log_dir", tmp_path / "logs", *SMALL, *NO_GRAPH, *arguments),
        )

    return run


@pytest.fixture
def model(trained, tmp_path):
    """A copy of a trained model, to be broken."""
    return shutil.copy(trained / "flange" / "best.pdparams", tmp_path / "best.pdparams")


def predict(model, picture):
    return call("predict", "--model_path", model, "--picture_path", picture, "--no-save_picture")


def nothing_written(tmp_path) -> bool:
    return not [p for p in (tmp_path / "out").rglob("*") if p.is_file()]


def test_a_missing_data_path(train, tmp_path):
    fails(train(path=tmp_path / "nowhere"), 2, "--data_path", "nowhere")
    assert nothing_written(tmp_path)


def test_an_unknown_category_lists_those_found(train):
    fails(train("--category", "screw"), 2, "screw", "found: flange")


def test_an_empty_data_path(train, tmp_path):
    (tmp_path / "empty").mkdir()
    fails(train(path=tmp_path / "empty"), 2, "holds no category folder")


def test_a_category_in_place_of_its_parent_gets_a_hint(train, data):
    fails(train(path=data / "flange"), 2, f"parent folder {data}", "category flange")


def test_an_empty_training_folder(train, data):
    shutil.rmtree(data / "flange/train/good")
    (data / "flange/train/good").mkdir()
    fails(train(), 2, "0 pictures", "at least 2")


def test_a_single_training_picture(train, data, tmp_path):
    for path in sorted((data / "flange/train/good").iterdir())[1:]:
        path.unlink()
    fails(train(), 2, "1 pictures", "at least 2")
    assert nothing_written(tmp_path)


def test_a_single_training_picture_that_decodes(train, data, tmp_path):
    for path in sorted((data / "flange/train/good").iterdir())[1:]:
        path.write_bytes(b"")
    fails(train("--skip_bad"), 2, "at least 2")
    assert nothing_written(tmp_path)


def test_no_test_pictures_to_validate_with(train, data):
    shutil.rmtree(data / "flange/test")
    fails(train("--val"), 2, "no test pictures")


def test_a_training_picture_that_does_not_decode(train, data, tmp_path):
    bad = data / "flange/train/good/003.png"
    bad.write_bytes(bad.read_bytes()[:400])
    fails(train(), 1, bad, "--skip_bad")
    assert nothing_written(tmp_path)


def test_a_mask_of_another_size(train, data, tmp_path):
    mask = next((data / "flange/ground_truth/chip").iterdir())
    Image.fromarray(np.zeros((5, 7), np.uint8)).save(mask)
    fails(train("--val"), 1, mask, "7×5", "96×96")
    assert nothing_written(tmp_path)


def test_a_mask_that_does_not_decode(train, data):
    mask = next((data / "flange/ground_truth/chip").iterdir())
    mask.write_bytes(b"?")
    fails(train("--val"), 1, mask)


def test_a_truncated_checkpoint(model, demo):
    whole = model.read_bytes()
    model.write_bytes(whole[: len(whole) // 2])
    fails(predict(model, demo / "flange/test"), 1, model, "truncated")


def test_a_checkpoint_that_is_something_else(model, demo):
    model.write_text("hello")
    fails(predict(model, demo / "flange/test"), 1, model, "not a checkpoint")


def test_a_missing_checkpoint(tmp_path, demo):
    fails(predict(tmp_path / "none.pdparams", demo / "flange/test"), 2, "none.pdparams")


@pytest.mark.process
def test_a_backbone_file_that_does_not_match(train, tmp_path):
    state = load_file(EMBEDDED["resnet18"])
    state.pop("conv1.weight")
    state["conv9.weight"] = np.zeros(3, np.float16)
    save_file(state, tmp_path / "half.safetensors")
    result = train("--pretrained_backbone", tmp_path / "half.safetensors")
    fails(result, 1, "1 missing: conv1.weight", "1 extra: conv9.weight")
    assert nothing_written(tmp_path)


def test_a_missing_backbone_file(train):
    fails(train("--pretrained_backbone", "none.pth"), 2, "none.pth", "--pretrained_backbone")


def test_a_save_path_that_cannot_be_written(train, tmp_path):
    (tmp_path / "out").write_text("a file where a folder should be")
    fails(train(), 2, "--save_path", tmp_path / "out")
    assert (tmp_path / "out").read_text() == "a file where a folder should be"


def test_a_log_folder_that_cannot_be_written(train, tmp_path):
    (tmp_path / "logs").write_text("")
    fails(train(), 2, "--log_dir")


def test_dims_beside_a_reduction_that_keeps_all(train, tmp_path):
    options = ("--dims", 100, "--reduction", "none")
    fails(train(*options), 2, "--reduction: none", "448", "dims")
    assert nothing_written(tmp_path)


def test_layers_that_are_not_there(train, tmp_path):
    fails(train("--layers", "layer1,layer7"), 2, "--layers layer1,layer7", "layer4")
    assert nothing_written(tmp_path)


@pytest.mark.parametrize(
    "arguments",
    [
        ("--dims", "0"),
        ("--batch_size", "-1"),
        ("--seed", "x"),
        ("--num_workers", "many"),
        ("--val", "maybe"),
        ("--no-val", "True"),
        ("--img_size", "0"),
        ("--img_size", "100", "--resize", "64"),
        ("--img_size", "16", "--resize", "16"),
        ("--backbone", "vgg16"),
        ("--depth", "19"),
        ("--device", "tpu"),
        ("--data", "x"),
        ("--normal_dir", "x"),
    ],
)
def test_options_that_cannot_work(train, arguments):
    fails(train(*arguments), 2, arguments[0])


def test_an_existing_checkpoint_survives_a_run_that_fails(train, data, trained, tmp_path):
    path = tmp_path / "out" / "flange" / "best.pdparams"
    path.parent.mkdir(parents=True)
    shutil.copy(trained / "flange" / "best.pdparams", path)
    before = path.read_bytes()
    (data / "flange/train/good/007.png").write_bytes(b"broken by now")
    assert train().code == 1
    assert path.read_bytes() == before


def test_a_model_for_several_categories_is_wrong_use(model, demo, tmp_path):
    result = call("val", "--data_path", demo, "--model_path", model, "--save_path", tmp_path)
    fails(result, 2, "--model_path")
