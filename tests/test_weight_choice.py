"""Which weight file is used: the one asked for, one in models/, or the embedded one."""

import numpy as np
import pytest
from safetensors.numpy import save_file

from common.errors import UsageError, WorkError
from models.backbones import catalogue, network, packages, sources
from models.factory import build_detector, plan
from models.options import backbone_from
from tests.test_options import model_options

pytestmark = pytest.mark.usefixtures("shapes_once")


def test_embedded_weights_take_the_place_of_the_official_ones(tmp_path, monkeypatch, caplog):
    """The fixture no_network is in force."""
    monkeypatch.setattr(sources, "MODELS", tmp_path)
    found = sources.find("resnet18")
    for word in ("resnet18-f37072fd.pth", "no network", str(tmp_path / "resnet18.pth")):
        assert word in caplog.text
    assert found.origin == "embedded" and found.name == sources.EMBEDDED["resnet18"].name
    shapes = {key: array.shape for key, array in found.state.items()}
    assert shapes == network.full_shapes("resnet18")


def test_a_file_in_models_wins_over_the_embedded_one(tmp_path, monkeypatch, full, full_file):
    monkeypatch.setattr(sources, "MODELS", tmp_path)
    (tmp_path / "resnet18.pdiparams").write_bytes(full_file.read_bytes())
    found = sources.find("resnet18")
    assert found.origin == "found at models/resnet18.pdiparams"
    assert np.array_equal(found.state["conv1.weight"], full["conv1.weight"])


def test_a_broken_file_in_models_is_an_error_not_a_fallback(tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "MODELS", tmp_path)
    (tmp_path / "resnet18.pdiparams").write_bytes(b"broken")
    with pytest.raises(WorkError, match=r"resnet18\.pdiparams"):
        sources.find("resnet18")


def test_the_file_asked_for_wins_over_all(tmp_path, monkeypatch, full_file):
    monkeypatch.setattr(sources, "MODELS", tmp_path)
    (tmp_path / "resnet18.pdiparams").write_bytes(b"broken")
    assert sources.find("resnet18", str(full_file)).origin == "given file"


def test_a_file_says_which_backbone_it_is_for(full_file, monkeypatch):
    """The default backbone's own weights are not looked for: only the file is read."""
    monkeypatch.setattr(sources, "find", None)
    planned = plan(pretrained_backbone=str(full_file))
    assert planned.backbone == "resnet18" and planned.layers == ("layer1", "layer2", "layer3")
    assert planned.preprocessing.mean == (0.485, 0.456, 0.406)


def test_the_package_of_the_default_backbone_is_recognised():
    path = packages.find(catalogue.DEFAULT)
    assert sources.backbone_of(str(path)) == catalogue.DEFAULT == "efficientnet_lite0"


def test_no_two_backbones_have_the_same_tensors():
    shapes = [frozenset(network.full_shapes(name).items()) for name in catalogue.BACKBONES]
    assert len(set(shapes)) == len(catalogue.BACKBONES)


def test_a_file_that_lacks_a_tensor_is_recognised_and_then_refused(tmp_path, full):
    save_file({key: full[key] for key in list(full)[:-1]}, path := tmp_path / "most.safetensors")
    assert plan(pretrained_backbone=str(path)).backbone == "resnet18"
    with pytest.raises(WorkError, match="does not match resnet18.*1 missing"):
        build_detector(pretrained_backbone=str(path))


def test_a_file_that_is_like_no_backbone_asks_for_its_name(tmp_path, full):
    save_file({key: full[key] for key in list(full)[:40]}, path := tmp_path / "few.safetensors")
    with pytest.raises(UsageError, match=r"few\.safetensors: .*name the backbone") as error:
        plan(pretrained_backbone=str(path))
    assert error.value.setting == "pretrained_backbone"


def test_a_missing_or_broken_file_is_named_before_its_backbone(tmp_path):
    with pytest.raises(UsageError, match=r"gone\.pth.*no such weight file"):
        plan(pretrained_backbone=str(tmp_path / "gone.pth"))
    (tmp_path / "broken.pth").write_bytes(b"broken")
    with pytest.raises(WorkError, match=r"broken\.pth.*cannot be read as weights"):
        plan(pretrained_backbone=str(tmp_path / "broken.pth"))


@pytest.mark.parametrize("name", ["gone.pth", ""])
def test_a_weight_file_that_is_not_there_is_wrong_use(tmp_path, name):
    with pytest.raises(UsageError, match="no such weight file") as error:
        sources.find("resnet18", str(tmp_path / name))
    assert error.value.setting == "pretrained_backbone"


@pytest.mark.parametrize(
    ("words", "backbone"),
    [
        ("", "efficientnet_lite0"),
        ("--pretrained_backbone random", "efficientnet_lite0"),
        ("--pretrained_backbone embedded", "resnet18"),
        ("--pretrained_backbone embedded --backbone efficientnet_b0", "efficientnet_b0"),
    ],
)
def test_without_a_backbone_the_weights_decide(words, backbone):
    assert backbone_from(model_options(words)) == backbone
