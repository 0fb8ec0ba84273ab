"""A trunk that several tasks share, as one of them sees it."""

import pytest
import torch

from sslbolts import UsageError
from sslbolts.networks.shared_trunk import SharedTrunk
from sslbolts.networks.taps import feature_maps, last_stages
from tests.helpers.nets import SmallConvNet, TinyBackbone


def test_without_layers_it_is_the_network_itself_and_its_layers_keep_their_names():
    network = TinyBackbone()
    trunk = SharedTrunk(network)
    images = torch.randn(2, 3, 16, 16)
    assert torch.equal(trunk(images), network(images))
    (maps,) = feature_maps(trunk, ["layers.1"], images)
    assert torch.equal(maps, network.layers[:2](images))
    assert last_stages(trunk, 1) == ["backbone.layers.3"]
    assert {id(p) for p in trunk.parameters()} == {id(p) for p in network.parameters()}


def test_one_channel_is_repeated():
    network = TinyBackbone()
    gray = torch.randn(2, 1, 16, 16)
    assert torch.equal(SharedTrunk(network)(gray), network(torch.cat([gray] * 3, 1)))
    alone = TinyBackbone(in_chans=1)
    assert torch.equal(SharedTrunk(alone)(gray), alone(gray))


def test_the_lasso_reads_a_weighted_sum_of_maps():
    network = SmallConvNet(8, 8, 8).eval()
    trunk = SharedTrunk(network, ["layers.5", "layers.7", "layers.8"][1:])
    assert trunk.alpha.tolist() == [0.5, 0.5]
    with torch.no_grad():
        trunk.alpha.copy_(torch.tensor([2.0, -3.0]))
    images = torch.randn(2, 3, 16, 16)
    first, second = network.layers[:8](images), network.layers[:9](images)
    expected = 2 * first - 3 * second
    torch.testing.assert_close(trunk(images), expected.mean((2, 3)))
    (maps,) = feature_maps(trunk, last_stages(trunk, 1), images)
    torch.testing.assert_close(maps, expected)
    assert trunk.num_features == 8


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        (["layers.1", "layers.3"], r"layers\.1 \(8, 32, 32\), layers\.3 \(16, 16, 16\): name the blocks of one stage"),
        (["layers.9"], 'TinyBackbone has no layer "layers.9"'),
        (["dropout"], 'layer "dropout" of TinyBackbone gives shape'),
    ],
)
def test_layers_that_cannot_be_added_are_named(layers, message):
    with pytest.raises(UsageError, match=message):
        SharedTrunk(TinyBackbone(), layers)
