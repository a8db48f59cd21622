"""Networks without batch norms compute what they computed with them."""

import numpy as np
import paddle
import pytest
from paddle import nn

from models.backbones import catalogue, network, sources
from models.backbones.folding import folded

SIZE = (64, 64)


@pytest.mark.parametrize(
    "backbone", ["resnet18", "resnet50", "efficientnet_b0", "efficientnet_lite0"]
)
def test_no_batch_norm_is_left_and_the_maps_are_the_same(backbone):
    layers = catalogue.default_layers(backbone)
    net = network.build(backbone, layers, SIZE)
    state = sources.find(backbone, "random").state
    rng = np.random.default_rng(1)
    for key, array in state.items():  # random weights have trivial statistics
        if key.endswith(("running_mean", "running_var")):
            state[key] = array + rng.uniform(0.1, 0.5, array.shape).astype(np.float32)
    network.set_weights(net, state)
    changed = folded(net)
    kinds = [type(layer) for layer in changed.sublayers()]
    assert nn.BatchNorm2D not in kinds and kinds.count(nn.Conv2D) > 10
    assert nn.BatchNorm2D in [type(layer) for layer in net.sublayers()]  # it is a copy
    images = paddle.to_tensor(rng.standard_normal((2, 3, *SIZE)).astype(np.float32))
    with paddle.no_grad():
        for found, expected in zip(changed(images), net(images), strict=True):
            scale = float(expected.abs().max())
            np.testing.assert_allclose(found.numpy(), expected.numpy(), rtol=0, atol=1e-5 * scale)
            assert scale > 0
