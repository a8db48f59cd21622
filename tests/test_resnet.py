"""Residual networks: torchvision's topology and names; layers that are not needed are left out."""

import numpy as np
import paddle
import pytest

from models.backbones.names import torch_leaf
from models.backbones.network import build, full_shapes, get_weights, set_weights

LAYERS = ("layer1", "layer2", "layer3")
SIZE = (64, 96)

PADDLE_TO_TORCH = {
    "conv1.weight": "conv1.weight",
    "bn1._mean": "bn1.running_mean",
    "bn1._variance": "bn1.running_var",
    "layer3.0.downsample.1._mean": "layer3.0.downsample.1.running_mean",
    "layer3.0.downsample.1.bias": "layer3.0.downsample.1.bias",
    "layer1.0.bn2.running_var": "layer1.0.bn2.running_var",
    "_mean": "running_mean",
    "weight": "weight",
    "layer_mean.weight": "layer_mean.weight",
}


@pytest.fixture(scope="module")
def reference():
    """Paddle's own resnet18 with random weights and statistics, in evaluation mode."""
    paddle.seed(3)
    network = paddle.vision.models.resnet18(num_classes=0, with_pool=False)
    for key, tensor in network.state_dict().items():
        if key.endswith("_mean"):
            tensor.set_value(paddle.randn(tensor.shape) * 0.1)
        elif key.endswith("_variance"):
            tensor.set_value(paddle.rand(tensor.shape) + 0.5)
    network.eval()
    return network


@pytest.fixture(scope="module")
def state(reference):
    names = {"_mean": "running_mean", "_variance": "running_var"}
    return {
        ".".join(names.get(part, part) for part in key.split(".")): tensor.numpy()
        for key, tensor in reference.state_dict().items()
    }


@pytest.fixture(scope="module")
def pictures():
    return paddle.to_tensor(np.random.default_rng(0).normal(size=(2, 3, 64, 96)).astype("f4"))


def by_hand(network, x):
    x = network.maxpool(network.relu(network.bn1(network.conv1(x))))
    maps = []
    for stage in (network.layer1, network.layer2, network.layer3, network.layer4):
        x = stage(x)
        maps.append(x.numpy())
    return maps


@pytest.mark.parametrize(
    ("stages", "indices"),
    [
        (("layer1", "layer2", "layer3"), (0, 1, 2)),
        (("layer2",), (1,)),
        (("layer1", "layer4"), (0, 3)),
    ],
)
def test_stages_are_those_of_paddles_network(reference, state, pictures, stages, indices):
    ours = build("resnet18", stages, SIZE)
    set_weights(ours, state)
    with paddle.no_grad():
        expected = by_hand(reference, pictures)
    maps = ours(pictures)
    assert len(maps) == len(indices)
    for found, index in zip(maps, indices, strict=True):
        assert found.shape == list(expected[index].shape)
        np.testing.assert_allclose(found.numpy(), expected[index], rtol=1e-5, atol=1e-5)


def test_stage_channels_and_sizes_are_those_of_the_maps(pictures):
    network = build("resnet18", LAYERS, SIZE)
    assert network.stage_channels == (64, 128, 256)
    shapes = [tuple(found.shape) for found in network(pictures)]
    assert shapes == [(2, 64, 16, 24), (2, 128, 8, 12), (2, 256, 4, 6)]
    assert network.grids == [(16, 24), (8, 12), (4, 6)]


def test_stages_behind_the_last_one_do_not_exist():
    assert {"layer1", "layer2", "layer3"} == parts(build("resnet18", LAYERS, SIZE))
    assert {"layer1", "layer2"} == parts(build("resnet18", ("layer2",), SIZE))
    assert "layer4" in parts(build("resnet18", ("layer4",), SIZE))


def parts(network):
    return {key.split(".")[0] for key in network.state_dict()} - {"conv1", "bn1"}


def test_nothing_can_be_trained(pictures):
    network = build("resnet18", LAYERS, SIZE)
    assert all(parameter.stop_gradient for parameter in network.parameters())
    assert not any(layer.training for layer in network.sublayers(include_self=True))
    assert all(found.stop_gradient for found in network(pictures))


def test_running_the_network_changes_nothing_in_it(state, pictures):
    network = build("resnet18", LAYERS, SIZE)
    set_weights(network, state)
    network(pictures)
    after = get_weights(network)
    assert len(after) == 75
    assert all(np.array_equal(after[key], state[key]) for key in after)


def test_weights_may_be_half_precision_and_strided(state):
    network = build("resnet18", ("layer1",), SIZE)
    half = {key: np.asfortranarray(array.astype(np.float16)) for key, array in state.items()}
    set_weights(network, half)
    for key, array in get_weights(network).items():
        assert array.dtype == np.float32 and np.array_equal(array, half[key])


@pytest.mark.parametrize(("key", "name"), PADDLE_TO_TORCH.items())
def test_names_become_torchvisions(key, name):
    assert torch_leaf(key) == name


def test_full_shapes_describe_the_whole_network_without_classifier(state):
    shapes = full_shapes("resnet18")
    assert shapes == {key: array.shape for key, array in state.items()}
    parameters = [shape for key, shape in shapes.items() if "running" not in key]
    assert sum(int(np.prod(shape)) for shape in parameters) == 11_176_512
    assert not any(key.startswith("fc") for key in shapes)


def test_building_a_network_leaves_later_layers_random():
    full_shapes("resnet18")
    assert paddle.nn.Linear(4, 4).weight.abs().sum() > 0
