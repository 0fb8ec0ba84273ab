"""Rescaled weights: statistics of every unit, rates of every layer, and what they do not depend on."""

import pytest
import torch
from torch import nn

from sslbolts import UsageError
from sslbolts.networks.backbones import create_backbone
from sslbolts.networks.rescaled import balance_, is_normalized, rescale_
from sslbolts.networks.taps import layer_outputs

IMAGES = torch.randn(40, 3, 12, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) + 0.3


def plain():
    layers = [nn.Conv2d(3, 6, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 8, 3), nn.ReLU(), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(72, 5), nn.ReLU(), nn.Linear(5, 4)).double()


def drawn(seed=0, network=None):
    network = network or plain()
    rescale_(network, IMAGES, generator=torch.Generator().manual_seed(seed))
    return network


def statistics(network, names):
    """Mean and biased deviation of every unit, found by the definition."""
    outputs = layer_outputs(network, [network.get_submodule(name) for name in names], IMAGES)
    for (out,) in outputs:
        for unit in out.transpose(0, 1).flatten(1).detach():
            mean = float(unit.sum()) / len(unit)
            yield mean, (sum((value - mean) ** 2 for value in unit.tolist()) / len(unit)) ** 0.5


@pytest.mark.parametrize("seed", [0, 1])
def test_every_unit_has_mean_a_tenth_and_deviation_1(seed):
    for mean, std in statistics(drawn(seed), ["0", "3", "6", "8"]):
        assert mean == pytest.approx(0.1, abs=1e-6)
        assert std == pytest.approx(1.0, abs=1e-6)


def test_weights_differ_by_seed_and_the_same_seed_gives_them_again():
    first, again, other = drawn(0), drawn(0), drawn(1)
    for name, value in first.state_dict().items():
        assert torch.equal(value, again.state_dict()[name])
        assert not torch.equal(value, other.state_dict()[name])


def test_one_pass_is_the_same_as_layer_after_layer():
    network, slow = drawn(0), plain()
    generator = torch.Generator().manual_seed(0)
    x = IMAGES
    for layer in slow:
        if isinstance(layer, nn.Conv2d | nn.Linear):
            layer.weight.data = torch.randn(layer.weight.shape, generator=generator).double()
            layer.bias.data.zero_()
            units = layer(x).detach().transpose(0, 1).flatten(1)
            mean, std = units.mean(1), units.std(1, correction=0)
            layer.weight.data /= std.view(-1, *[1] * (layer.weight.ndim - 1))
            layer.bias.data = 0.1 - mean / std
        x = layer(x).detach()
    for name, value in slow.state_dict().items():
        torch.testing.assert_close(network.state_dict()[name], value, rtol=1e-12, atol=1e-12)


def test_units_of_a_network_with_batch_norm_have_them_too_in_eval_mode():
    network = create_backbone("resnet18", layers=[1, 1, 1, 1], channels=[8, 8, 8, 8], stem_width=8).double().eval()
    images = torch.randn(24, 3, 64, 64, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    rescale_(network, images, generator=torch.Generator().manual_seed(0))
    norms = [layer for layer in network.modules() if isinstance(layer, nn.BatchNorm2d)]
    inputs = {}
    handles = [n.register_forward_pre_hook(lambda n, args: inputs.__setitem__(n, args[0])) for n in norms]
    assert network(images).isfinite().all()
    for handle in handles:
        handle.remove()
    assert len(inputs) == len(norms) > 8
    for norm, x in inputs.items():
        out = nn.BatchNorm2d.forward(norm, x).detach() if type(norm) is nn.BatchNorm2d else None
        if out is not None:
            torch.testing.assert_close(out.mean((0, 2, 3)), torch.full((out.shape[1],), 0.1).double())
            torch.testing.assert_close(
                out.std((0, 2, 3), correction=0), torch.ones(out.shape[1]).double(), rtol=1e-3, atol=0
            )
    assert is_normalized(network)
    assert not is_normalized(plain())


def rates(network, gradient):
    layers = [layer for layer in network if isinstance(layer, nn.Conv2d | nn.Linear)]
    network.zero_grad()
    network(IMAGES).backward(gradient)
    return [
        float((layer.weight.grad.square().mean() / layer.weight.detach().square().mean()).sqrt()) for layer in layers
    ]


def test_balanced_layers_change_at_nearly_one_rate():
    network = drawn(0)
    gradients = [
        torch.randn(40, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)) for seed in range(11)
    ]
    before = rates(network, gradients[10])
    scales = [layer.weight.detach().clone() for layer in network if hasattr(layer, "weight")]
    assert 1 <= balance_(network, IMAGES, gradients[:10]) <= 10
    after = rates(network, gradients[10])
    assert max(before) / min(before) > 3
    assert max(after) / min(after) < 1.5
    for layer, old in zip((layer for layer in network if hasattr(layer, "weight")), scales):
        ratio = layer.weight / old
        assert float((ratio.max() - ratio.min()).detach()) < 1e-9  # a layer's units keep their ratios
    assert all(parameter.grad is not None and parameter.requires_grad for parameter in network.parameters())


def test_modes_and_frozen_parameters_stay_as_they_are():
    network = plain().train().requires_grad_(False)
    drawn(0, network)
    balance_(network, IMAGES, [torch.ones(40, 4, dtype=torch.float64)])
    assert network.training
    assert not any(parameter.requires_grad for parameter in network.parameters())


def test_what_cannot_be_rescaled_is_one_line():
    for network, images, message in (
        (plain(), torch.zeros_like(IMAGES), 'layer "0" gives values that are constant or not finite'),
        (plain(), IMAGES * torch.nan, 'layer "0" gives values that are constant or not finite'),
        (nn.Flatten(), IMAGES, "Flatten runs no convolution or linear layer"),
    ):
        with pytest.raises(UsageError, match=message) as error:
            rescale_(network, images)
        assert "\n" not in str(error.value)
    with pytest.raises(UsageError, match=r'layer "0" gets no gradient'):
        balance_(drawn(), IMAGES, [torch.zeros(40, 4, dtype=torch.float64)])
