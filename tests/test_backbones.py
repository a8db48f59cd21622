"""Every backbone computes what its reference computes; layers, names, grids and variants."""

import importlib
import re

import numpy as np
import paddle
import pytest

from models.backbones import catalogue, names
from models.backbones.network import build, full_shapes, get_weights, set_weights
from tests.references import (
    CASES,
    PATH,
    SIDE,
    layers_of,
    picture,
    reference_of,
    sampled,
    weight,
)

EFFICIENT = "efficientnet_b0"


def seeded(network) -> dict:
    """Weights by name; `get_weights` would copy all of the network's own first."""
    shapes = {names.torch_leaf(key): t.shape for key, t in network.state_dict().items()}
    return {key: weight(key, tuple(shape)) for key, shape in shapes.items()}


LARGE = (
    *("resnet101", "resnet152", "wide_resnet50_2", "wide_resnet101_2"),
    *(f"efficientnet_b{i}" for i in range(3, 8)),
)
MARKED = [
    pytest.param(*case, marks=[pytest.mark.process] if case[0] in LARGE else []) for case in CASES
]


@pytest.mark.parametrize(("backbone", "library", "file"), MARKED)
def test_layers_are_those_of_the_reference(backbone, library, file):
    layers = layers_of(backbone, library)
    marks = {"torchvision": "features.", "timm": "conv_stem.", "efficientnet_pytorch": "_conv_"}
    variant = names.variant_of(backbone, [f"{marks[library]}x"], file)
    network = build(backbone, layers, (SIDE, SIDE), variant)
    set_weights(network, seeded(network))
    with paddle.no_grad():
        both = paddle.to_tensor(np.concatenate([picture(), picture(seed=2)]))
        maps = [stage.numpy() for stage in network(both)]
    assert [stage.shape[1:] for stage in maps] == [
        (channels, *grid)
        for channels, grid in zip(network.stage_channels, network.grids, strict=True)
    ]
    with np.load(PATH) as expected:
        for layer, (stage, other) in zip(layers, maps, strict=True):
            # Maps that follow from the weights alone would agree whatever the picture is.
            assert np.linalg.norm(stage - other) > 0.005 * np.linalg.norm(stage), layer
            reference = expected[f"{library} {file} {layer}"]
            found = sampled(stage)
            assert found[0] == pytest.approx(reference[0], rel=1e-4)
            off = np.linalg.norm(found[1:] - reference[1:]) / np.linalg.norm(reference[1:])
            assert off < 1e-4, layer


@pytest.mark.parametrize(("backbone", "library", "file"), [CASES[0], CASES[7], *CASES[-3:-1]])
def test_the_kept_references_are_what_the_libraries_give(backbone, library, file):
    """Where they are installed; else what they gave is believed."""
    for package in ("torch", library):
        try:
            importlib.import_module(package)
        except (ImportError, RuntimeError) as error:  # torchvision beside another torch
            pytest.skip(f"{package}: {error}")
    with np.load(PATH) as expected:
        for layer, samples in reference_of(backbone, library, file).items():
            kept = expected[f"{library} {file} {layer}"]
            assert np.linalg.norm(samples - kept) / np.linalg.norm(kept) < 1e-4


@pytest.mark.parametrize(
    ("backbone", "which", "numbers"),
    [
        ("efficientnet_b7", "first", (5, 12, 29)),
        ("efficientnet_b7", "middle", (8, 15, 33)),
        ("efficientnet_b7", "last", (11, 18, 38)),
        ("efficientnet_b4", "first", (3, 7, 17)),
        ("efficientnet_b1", "last", (5, 8, 16)),
        ("efficientnet_b0", "last", (3, 5, 11)),
    ],
)
def test_presets_are_the_blocks_of_the_published_results(backbone, which, numbers):
    expected = tuple(f"block{number}" for number in numbers)
    assert catalogue.parse_layers(backbone, f" {which}") == expected
    assert catalogue.parse_layers(backbone, ",".join(map(str, numbers))) == expected


@pytest.mark.parametrize(
    ("backbone", "dims"),
    [
        *(("resnet18", 100), ("resnet34", 100), ("resnet50", 300), ("resnet101", 300)),
        *(("resnet152", 300), ("wide_resnet50_2", 550), ("wide_resnet101_2", 550)),
        *((f"efficientnet_b{i}", None) for i in range(8)),
    ],
)
def test_every_backbone_has_its_defaults(backbone, dims):
    assert catalogue.default_dims(backbone) == dims
    assert re.fullmatch(rf"{backbone}(_\w+)?-[0-9a-f]{{8}}\.pth", catalogue.URLS[backbone])
    layers = catalogue.all_layers(backbone)
    network = build(backbone, layers, (32, 32))
    assert [stage.shape[1] for stage in network(paddle.zeros([1, 3, 32, 32]))] == [
        catalogue.channels(backbone, layer) for layer in layers
    ]


@pytest.mark.parametrize(
    ("backbone", "total"), [("efficientnet_b7", 48 + 80 + 224), ("efficientnet_b4", 32 + 56 + 160)]
)
def test_channels_are_those_of_the_published_results(backbone, total):
    network = build(backbone, catalogue.default_layers(backbone), (64, 64))
    assert sum(network.stage_channels) == total
    assert catalogue.default_dims(backbone) is None


def test_the_expansions_of_b7s_groups_can_be_asked_for():
    layers = catalogue.parse_layers("efficientnet_b7", "19.expand, 29.expand,39.expand,52.expand")
    network = build("efficientnet_b7", layers, (64, 64))
    assert network.stage_channels == (480, 960, 1344, 2304)
    assert network.grids == [(8, 8), (4, 4), (4, 4), (2, 2)]
    keys = get_weights(network)
    assert "block52.expand.conv.weight" in keys and "block51.project.conv.weight" in keys
    assert not any(key.startswith(("block52.depthwise", "block53.")) for key in keys)
    maps = network(paddle.to_tensor(picture()))
    assert [tuple(stage.shape[1:]) for stage in maps] == [
        (480, 8, 8),
        (960, 4, 4),
        (1344, 4, 4),
        (2304, 2, 2),
    ]


def test_the_activations_behind_b7s_depthwise_convolutions_can_be_asked_for():
    layers = catalogue.parse_layers("efficientnet_b7", "29.depthwise,39.depthwise,52.depthwise")
    network = build("efficientnet_b7", layers, (64, 64))
    assert network.stage_channels == (960, 1344, 2304)
    assert network.grids == [(4, 4), (2, 2), (2, 2)]
    keys = get_weights(network)
    assert "block52.depthwise.conv.weight" in keys and "block51.project.conv.weight" in keys
    assert not any(key.startswith(("block52.squeeze", "block53.")) for key in keys)
    maps = network(paddle.to_tensor(picture()))
    sizes = [(960, 4, 4), (1344, 2, 2), (2304, 2, 2)]
    assert [tuple(stage.shape[1:]) for stage in maps] == sizes


def test_an_expansion_is_the_activation_behind_its_norm():
    """Computed by hand from the block before it."""
    network = build(EFFICIENT, ("block1", "block2.expand"), (SIDE, SIDE))
    set_weights(network, seeded(network))
    with paddle.no_grad():
        before, expanded = network(paddle.to_tensor(picture()))
    x = before.numpy()[0]
    state = get_weights(network)
    y = np.tensordot(state["block2.expand.conv.weight"][:, :, 0, 0], x, 1)
    norm = {leaf: state[f"block2.expand.norm.{leaf}"][:, None, None] for leaf in LEAVES}
    y = (y - norm["running_mean"]) / np.sqrt(norm["running_var"] + 1e-5)
    y = y * norm["weight"] + norm["bias"]
    np.testing.assert_allclose(expanded.numpy()[0], y / (1 + np.exp(-y)), rtol=1e-4, atol=1e-5)


LEAVES = ("running_mean", "running_var", "weight", "bias")


@pytest.mark.parametrize("backbone", ["resnet50", EFFICIENT])
def test_nothing_behind_the_last_layer_exists(backbone):
    layers = catalogue.default_layers(backbone)[:1]
    assert len(get_weights(build(backbone, layers, (64, 64)))) < len(full_shapes(backbone)) / 2


@pytest.mark.parametrize("size", [(64, 64), (65, 97), (70, 100), (33, 35)])
@pytest.mark.parametrize("padding", ["symmetric", "same", "same_as_trained"])
def test_grids_are_those_of_the_maps(size, padding):
    layers = catalogue.all_layers(EFFICIENT)
    network = build(EFFICIENT, layers, size, {"padding": padding})
    maps = network(paddle.zeros([1, 3, *size]))
    assert [tuple(stage.shape[2:]) for stage in maps] == network.grids


@pytest.mark.parametrize(
    ("backbone", "text", "word"),
    [
        ("resnet18", "layer5", "layer1, layer2, layer3, layer4"),
        ("resnet18", "first", "no first"),
        ("resnet18", "layer1,layer1", "twice"),
        (EFFICIENT, "17", "block1 to block16"),
        (EFFICIENT, "1.expand", "block2.expand to block16.expand"),
        (EFFICIENT, "1.squeeze", "no block1.squeeze; .* block1.depthwise to block16.depthwise"),
        (EFFICIENT, "", "no layer without a name; .* first, middle, last"),
        ("resnet18", "layer1,", "no layer without a name"),
    ],
)
def test_layers_that_are_not_there_are_named_with_those_that_are(backbone, text, word):
    with pytest.raises(ValueError, match=word):
        catalogue.parse_layers(backbone, text)


def test_layers_come_in_the_networks_order():
    assert catalogue.parse_layers("resnet18", "layer3,1") == ("layer1", "layer3")
    with pytest.raises(ValueError, match="order"):
        build("resnet18", ("layer3", "layer1"), (64, 64))


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("features.0.0.weight", "stem.conv.weight"),
        ("features.1.0.block.0.0.weight", "block1.depthwise.conv.weight"),
        ("features.2.1.block.0.1.running_var", "block3.expand.norm.running_var"),
        ("features.2.1.block.2.fc2.bias", "block3.excite.bias"),
        ("conv_stem.weight", "stem.conv.weight"),
        ("blocks.0.0.conv_pw.weight", "block1.project.conv.weight"),
        ("blocks.1.1.conv_pw.weight", "block3.expand.conv.weight"),
        ("blocks.1.1.bn3.bias", "block3.project.norm.bias"),
        ("_conv_stem.weight", "stem.conv.weight"),
        ("_blocks.2._expand_conv.weight", "block3.expand.conv.weight"),
        ("_blocks.2._bn1.running_mean", "block3.depthwise.norm.running_mean"),
        ("_blocks.0._se_reduce.bias", "block1.squeeze.bias"),
    ],
)
@pytest.mark.parametrize(
    "wrapper", ["", "module.", "module.backbone.", "model.", "encoder.", "_orig_mod."]
)
def test_names_of_every_library_are_known(theirs, ours, wrapper):
    stem = {"f": "features.0.0.weight", "c": "conv_stem.weight", "b": "conv_stem.weight"}
    keys = {wrapper + theirs, wrapper + stem.get(theirs[0], "_conv_stem.weight")}
    assert names.renamed(EFFICIENT, keys)[wrapper + theirs] == ours


@pytest.mark.parametrize(
    "keys",
    [
        ("features.0.0.weight", "features.8.0.weight", "classifier.1.bias"),
        ("conv_stem.weight", "conv_head.weight", "bn2.running_mean", "classifier.weight"),
        ("_conv_stem.weight", "_conv_head.weight", "_bn1.weight", "_fc.bias"),
        ("backbone.conv_stem.weight", "classifier.weight", "_orig_mod.conv_head.weight"),
        ("features.0.0.weight", "features.0.1.num_batches_tracked"),
    ],
)
def test_the_head_and_counters_are_left_out(keys):
    assert list(names.renamed(EFFICIENT, keys).values()) == ["stem.conv.weight"]


@pytest.mark.parametrize(
    ("backbone", "key", "file", "variant"),
    [
        ("resnet50", "conv1.weight", "x.pth", {}),
        ("efficientnet_b4", "features.0.0.weight", "x.pth", ("symmetric", 1e-5)),
        ("efficientnet_b5", "features.0.0.weight", "x.pth", ("symmetric", 1e-3)),
        ("efficientnet_b5", "conv_stem.weight", "efficientnet_b5.pth", ("symmetric", 1e-5)),
        ("efficientnet_b5", "conv_stem.weight", "tf_efficientnet_b5.pth", ("same", 1e-3)),
        ("efficientnet_b6", "conv_stem.weight", "model.safetensors", ("same", 1e-3)),
        ("efficientnet_b7", "conv_stem.weight", "model.safetensors", ("same", 1e-3)),
        ("efficientnet_b5", "module._conv_stem.weight", "x.pth", ("same_as_trained", 1e-3)),
    ],
)
def test_what_libraries_do_differently_is_kept(backbone, key, file, variant):
    expected = dict(zip(("padding", "epsilon"), variant, strict=True)) if variant else {}
    assert names.variant_of(backbone, [key], file) == expected


@pytest.mark.parametrize("backbone", ["efficientnet_b0", "efficientnet_b7"])
@pytest.mark.parametrize(("tensorflow", "padding"), [(True, "same"), (False, "symmetric")])
def test_what_is_said_of_timms_files_counts_more_than_their_names(backbone, tensorflow, padding):
    found = names.variant_of(backbone, ["conv_stem.weight"], "tf_x.pth", tensorflow)
    assert found["padding"] == padding
