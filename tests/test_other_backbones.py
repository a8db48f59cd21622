"""From training to deployment with other backbones, layers and reductions."""

import pytest

from tests.conftest import SMALL, call, fails, rows

pytestmark = pytest.mark.process

# An EfficientNet with points inside blocks; a deeper residual network, a projection of its layers,
# of which one is left out.
SETTINGS = {
    "efficientnet_b0": ("--backbone", "efficientnet_b0", "--layers", "2,4.depthwise,6.expand"),
    "resnet34": ("--depth", 34, "--layers", "layer1,layer3", "--reduction", "semi_orthogonal"),
}


@pytest.fixture(scope="module", params=SETTINGS)
def trained(request, demo, tmp_path_factory):
    output = tmp_path_factory.mktemp(request.param)
    result = call(
        *("train", "--data_path", demo, "--category", "flange", "--save_path", output, *SMALL),
        *("--pretrained_backbone", "random", *SETTINGS[request.param], "--val"),
        *("--no-save_picture", "--log_dir", output),
    )
    assert result.code == 0 and "RANDOM" in result.err, result.err
    return output / "flange"


@pytest.fixture(scope="module")
def expected(trained, demo):
    pictures = ("--picture_path", demo / "flange/test/chip", "--no-save_picture")
    return rows("predict", "--model_path", trained, *pictures)


@pytest.mark.parametrize("kind", ["paddle", "onnx"])
def test_deployed_it_scores_as_trained(trained, expected, demo, tmp_path, kind):
    if kind == "onnx":
        pytest.importorskip("paddle2onnx")
    options = ("--model_path", trained, "--save_dir", tmp_path, "--fused", "--format", kind)
    assert call("export_model", *options).code == 0
    graphs = [p for p in tmp_path.iterdir() if p.suffix in (".json", ".pdmodel", ".onnx")]
    assert sorted(path.stem for path in graphs) == ["fused", "model"]
    for graph in graphs:
        found = rows("infer", "--model_file", graph, "-i", demo / "flange/test/chip")
        assert len(found) == 2
        for ours, theirs in zip(found, expected, strict=True):
            assert ours["score"] == pytest.approx(theirs["score"], rel=1e-3)
            assert ours["verdict"] == theirs["verdict"] != "unknown"


@pytest.mark.parametrize("trained", ["efficientnet_b0"], indirect=True)
def test_int8_is_for_networks_without_gates(trained, demo, tmp_path, monkeypatch):
    monkeypatch.setenv("FLAGS_enable_pir_api", "1")
    options = ("--save_dir", tmp_path, "--quantize", demo / "flange/train/good")
    result = call("export_model", "--model_path", trained, *options)
    fails(result, 2, "--quantize", "efficientnet_b0", "squeeze and excitation")


@pytest.mark.parametrize("trained", ["efficientnet_b0"], indirect=True)
def test_export_checks_what_is_named_beside_the_model(trained, tmp_path):
    options = ("--model_path", trained, "--save_dir", tmp_path, "--backbone", "resnet152")
    fails(call("export_model", *options), 2, "resnet152")
