"""The tensors of a weight file are matched with a backbone; every problem is named."""

import numpy as np
import paddle
import pytest
from safetensors.numpy import save_file

from common.errors import WorkError
from models.backbones import contents, network, sanity, weights
from tests.weight_files import same

pytestmark = pytest.mark.usefixtures("shapes_once")


PADDLE_NAMES = {"running_mean": "_mean", "running_var": "_variance"}


def complaint(state):
    """What is said of `state`, in the one error there is."""
    with pytest.raises(WorkError) as error:
        weights.convert(state, "resnet18", "some.file")
    assert str(error.value).startswith("some.file: does not match resnet18")
    return str(error.value)


def test_a_whole_state_loads_with_its_name_digest_and_origin(full, full_file):
    found = weights.load(full_file, "resnet18", "somewhere")
    assert same(found.state, full) and list(found.state) == list(full)
    assert found.name == "full.safetensors" and len(found.sha256) == 64
    assert found.origin == "somewhere"


def test_classifier_and_counters_are_dropped(full):
    extra = {"fc.weight": np.ones((1000, 512)), "fc.bias": np.full(1000, np.nan)}
    extra |= {
        "bn1.num_batches_tracked": np.array(5),
        "n_averaged": np.array(5),
        "layer2.0.bn1.num_batches_tracked": np.ones(1),
    }
    assert same(weights.convert({**extra, **full}, "resnet18", "file"), full)


def test_paddles_names_are_accepted(full):
    renamed = {}
    for key, array in full.items():
        stem, _, last = key.rpartition(".")
        renamed[f"{stem}.{PADDLE_NAMES.get(last, last)}"] = array
    assert "bn1._variance" in renamed and "bn1.running_var" not in renamed
    assert same(weights.convert(renamed, "resnet18", "file"), full)


def test_a_state_dict_of_paddles_own_network_loads(tmp_path):
    network = paddle.vision.models.resnet18(num_classes=10)
    paddle.save(network.state_dict(), str(tmp_path / "a.pdparams"))
    found = weights.load(tmp_path / "a.pdparams", "resnet18", "here").state
    assert len(found) == 100
    assert np.array_equal(found["layer4.1.conv2.weight"], network.layer4[1].conv2.weight.numpy())
    assert np.array_equal(found["bn1.running_var"], network.bn1._variance.numpy())


def test_two_networks_in_one_file_are_refused(full):
    both = {f"encoder.{key}": array for key, array in full.items()} | full
    assert f"{len(full)} twice: conv1.weight, " in complaint(both)


def test_weights_of_another_backbone_are_told_as_such():
    state = {k: np.ones(s, "f4") for k, s in network.full_shapes("resnet34").items()}
    text = complaint(state)
    assert "these are weights of resnet34: set the backbone to resnet34" in text and len(text) < 200


@pytest.mark.process
def test_a_file_of_something_else_is_told_by_its_names():
    text = complaint({"encoder.layer.0.query": np.ones(2, "f4")})
    assert "(0 of 100 tensors do); the file holds encoder.layer.0.query" in text
    assert len(text) < 200


def test_numbers_that_no_memory_holds_are_not_looked_at(full):
    huge = np.broadcast_to(np.float32(0), (10**13,))
    assert "1 extra: huge" in complaint({**full, "huge": huge})


def test_whole_numbers_are_no_weights(full):
    text = complaint({**full, "conv1.weight": np.ones((64, 3, 7, 7), int)})
    assert "1 not floats: conv1.weight" in text


def test_missing_tensors_are_named(full):
    left = {k: v for k, v in full.items() if k not in ("conv1.weight", "layer3.0.bn2.bias")}
    assert "2 missing: conv1.weight, layer3.0.bn2.bias" in complaint(left)


def test_extra_tensors_are_named(full):
    text = complaint({**full, "head.weight": np.ones(2), "layer5.bias": np.ones(2)})
    assert "2 extra: head.weight, layer5.bias" in text


def test_misshapen_tensors_are_named_with_both_shapes(full):
    text = complaint({**full, "conv1.weight": np.ones((64, 1, 7, 7)), "bn1.bias": np.ones((64, 1))})
    assert "2 misshapen" in text
    assert "conv1.weight is (64, 1, 7, 7), not (64, 3, 7, 7)" in text
    assert "bn1.bias is (64, 1), not (64,)" in text


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_tensors_that_are_not_finite_are_named(full, value):
    spoilt = full["bn1.bias"].copy()
    spoilt[5] = value
    assert "1 not finite: bn1.bias" in complaint({**full, "bn1.bias": spoilt})


def test_every_complaint_comes_in_one_message(full, tmp_path):
    state = {**full, "more": np.ones(1), "bn1.bias": np.full(64, np.nan), "bn1.weight": np.ones(1)}
    del state["conv1.weight"]
    save_file(state, tmp_path / "bad.safetensors")
    with pytest.raises(WorkError) as error:
        weights.load(tmp_path / "bad.safetensors", "resnet18", "here")
    text = str(error.value)
    assert str(tmp_path / "bad.safetensors") in text
    for part in ("1 missing: conv1.weight", "1 extra: more", "1 not finite: bn1.bias"):
        assert part in text
    assert "1 misshapen: bn1.weight is (1,), not (64,)" in text


SANE = {
    "conv.weight": np.full((2, 3, 1, 1), 0.5, "f2"),
    "bn.running_var": np.array([0, 1], "f2"),  # half precision: a small variance became 0
    "bn.bias": np.zeros(2, "f4"),
}


@pytest.mark.parametrize(
    ("name", "array", "expected"),
    [
        ("conv.weight", np.ones((2, 3, 1, 1), int), "1 not floats: conv.weight"),
        ("bn.bias", np.array([0, np.nan]), "1 not finite: bn.bias"),
        ("bn.running_var", np.array([1, np.inf]), "1 not finite: bn.running_var"),
        ("bn.running_var", np.array([1, -1e-6]), "1 negative: bn.running_var"),
        ("bn.running_var", np.zeros(2), "1 zero throughout: bn.running_var"),
        ("conv.weight", np.zeros((2, 3, 1, 1)), "1 zero throughout: conv.weight"),
    ],
)
def test_numbers_that_cannot_be_weights_are_named(name, array, expected):
    assert sanity.problems(SANE) == []
    assert sanity.problems({**SANE, name: array}) == [expected]


def test_many_problems_make_a_short_text():
    state = {f"layer{i}.weight": np.zeros((1, 1)) for i in range(500)}
    (text,) = sanity.problems(state)
    assert text.startswith("500 zero throughout: layer0.weight, ") and text.endswith("497 more")


def test_a_kernel_of_zeros_is_refused(full):
    zeros = np.zeros_like(full["layer1.0.conv1.weight"])
    assert "1 zero throughout: layer1.0.conv1.weight" in complaint(
        {**full, "layer1.0.conv1.weight": zeros}
    )


def test_only_tensors_that_fit_are_read(full, tmp_path, monkeypatch):
    path = tmp_path / "a.safetensors"
    save_file({**full, "fc.weight": np.ones((1000, 512), "f2")}, path)
    needed = sum(array.nbytes for array in full.values())
    monkeypatch.setattr(contents.Allowance.__init__, "__defaults__", (needed,))
    assert same(weights.load(path, "resnet18", "x").state, full)
