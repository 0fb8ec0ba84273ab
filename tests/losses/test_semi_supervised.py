"""Losses of joint training against loops, over ranks, and what an adversarial perturbation is."""

import math

import pytest
import torch
from torch import nn

from sslbolts import UsageError
from sslbolts.distributed import rank
from sslbolts.losses import consistency, mean_of_two_cross_entropies, prediction_entropy, virtual_adversarial
from sslbolts.losses.semi_supervised import adversarial_perturbation

LOGITS = torch.randn(6, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
OTHERS = torch.randn(6, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
TARGETS = torch.tensor([2, 0, 0, 3, 1, 3])
LABELED = torch.tensor([True, False, False, True, False, False])


def softmax(row):
    total = sum(math.exp(value) for value in row)
    return [math.exp(value) / total for value in row]


def test_the_mean_of_two_means_is_not_the_mean_over_all():
    each = [-math.log(softmax(row)[target]) for row, target in zip(LOGITS.tolist(), TARGETS.tolist())]
    expected = ((each[0] + each[3]) / 2 + (each[1] + each[2] + each[4] + each[5]) / 4) / 2
    assert mean_of_two_cross_entropies(LOGITS, TARGETS, LABELED).item() == pytest.approx(expected, rel=1e-12)
    assert abs(expected - sum(each) / 6) > 1e-3
    alone = mean_of_two_cross_entropies(LOGITS, TARGETS, torch.ones(6, dtype=torch.bool))
    assert alone.item() == pytest.approx(sum(each) / 6 / 2, rel=1e-12)


def _of_rank():
    logits = LOGITS.chunk(2)[rank()].clone().requires_grad_()
    loss = mean_of_two_cross_entropies(
        logits, TARGETS.chunk(2)[rank()], torch.tensor([[True, True, False]] * 2)[rank()]
    )
    loss.backward()
    return loss.detach(), logits.grad


def test_ranks_average_to_one_process(two_ranks):
    logits = LOGITS.clone().requires_grad_()
    loss = mean_of_two_cross_entropies(logits, TARGETS, torch.tensor([True, True, False] * 2))
    loss.backward()
    losses, gradients = zip(*two_ranks(_of_rank))
    torch.testing.assert_close(sum(losses) / 2, loss.detach())
    torch.testing.assert_close(torch.cat(gradients) / 2, logits.grad)


def test_the_divergence_is_from_the_perturbed_to_the_clean_distribution():
    pairs = [(softmax(a), softmax(b)) for a, b in zip(LOGITS.tolist(), OTHERS.tolist())]
    expected = sum(x * (math.log(x) - math.log(y)) for p, q in pairs for x, y in zip(p, q)) / 6
    assert virtual_adversarial(LOGITS, OTHERS).item() == pytest.approx(expected, rel=1e-12)
    assert consistency(LOGITS, OTHERS, "kl").item() != pytest.approx(expected, rel=1e-3)  # the other direction
    clean = OTHERS.clone().requires_grad_()
    virtual_adversarial(LOGITS.clone().requires_grad_(), clean).backward()
    assert clean.grad is None


def test_entropy_is_the_mean_over_images():
    expected = -sum(p * math.log(p) for row in LOGITS.tolist() for p in softmax(row)) / 6
    assert prediction_entropy(LOGITS).item() == pytest.approx(expected, rel=1e-12)
    assert torch.autograd.gradcheck(prediction_entropy, LOGITS.clone().requires_grad_())


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.Tanh(), nn.Flatten(), nn.Linear(144, 5)).double()


def test_a_perturbation_of_the_given_length_moves_predictions_farther_than_a_random_one():
    net, drawn = network(), torch.Generator().manual_seed(3)
    images, noise = (torch.randn(8, 3, 8, 8, dtype=torch.float64, generator=drawn) for _ in range(2))
    clean = net(images).detach()
    found = adversarial_perturbation(net, images, clean, noise, epsilon=0.5)
    torch.testing.assert_close(found.flatten(1).norm(dim=1), torch.full((8,), 0.5).double())
    assert not found.requires_grad
    assert all(parameter.grad is None for parameter in net.parameters())
    random = 0.5 * noise / noise.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
    moved, by_chance = (virtual_adversarial(net(images + step), clean) for step in (found, random))
    assert moved > 3 * by_chance


def test_the_step_is_long_enough_for_single_precision_and_the_official_one_is_not():
    net, drawn = network(), torch.Generator().manual_seed(3)
    images = torch.rand(2, 3, 8, 8, dtype=torch.float64, generator=drawn) * 2 - 1
    noise = torch.randn(2, 3, 8, 8, dtype=torch.float64, generator=drawn)
    exact = adversarial_perturbation(net, images, net(images), noise, epsilon=1.0, xi=1e-6)
    agreement = {}
    net, images, noise = net.float(), images.float(), noise.float()
    for xi in (0.1, 1e-6):
        found = adversarial_perturbation(net, images, net(images), noise, epsilon=1.0, xi=xi)
        agreement[xi] = float((found * exact).flatten(1).sum(1).min())
    assert agreement[0.1] > 0.95
    assert agreement[1e-6] < agreement[0.1]


def test_wrong_uses_are_named():
    with pytest.raises(UsageError, match="one shape"):
        virtual_adversarial(LOGITS, OTHERS[:3])
    with pytest.raises(UsageError, match=r"must be of one shape \(N,\)"):
        mean_of_two_cross_entropies(LOGITS, TARGETS, LABELED[:3])
