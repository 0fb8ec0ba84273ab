"""Semi-supervised losses against loops, and over ranks."""

import math

import pytest
import torch

from sslbolts import UsageError
from sslbolts.distributed import rank
from sslbolts.losses import consistency, labeled_cross_entropy

LOGITS = torch.randn(6, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
OTHERS = torch.randn(6, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
TARGETS = torch.tensor([2, -1, 0, -1, -1, 3])


def softmax(row):
    total = sum(math.exp(value) for value in row)
    return [math.exp(value) / total for value in row]


def test_squared_distance_is_the_mean_over_images_and_classes():
    pairs = [(softmax(a), softmax(b)) for a, b in zip(LOGITS.tolist(), OTHERS.tolist())]
    expected = sum((x - y) ** 2 for p, q in pairs for x, y in zip(p, q)) / (6 * 4)
    assert consistency(LOGITS, OTHERS).item() == pytest.approx(expected, rel=1e-12)


def test_divergence_is_from_the_teacher_and_the_mean_over_images():
    pairs = [(softmax(a), softmax(b)) for a, b in zip(LOGITS.tolist(), OTHERS.tolist())]
    expected = sum(y * (math.log(y) - math.log(x)) for p, q in pairs for x, y in zip(p, q)) / 6
    assert consistency(LOGITS, OTHERS, "kl").item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("distance", ["mse", "kl"])
def test_the_teacher_receives_no_gradient(distance):
    student, teacher = LOGITS.clone().requires_grad_(), OTHERS.clone().requires_grad_()
    consistency(student, teacher, distance).backward()
    assert student.grad.abs().sum() > 0
    assert teacher.grad is None
    assert torch.autograd.gradcheck(lambda x: consistency(x, OTHERS, distance), LOGITS.clone().requires_grad_())


def test_only_labeled_images_count_in_the_cross_entropy():
    labeled = [(row, target) for row, target in zip(LOGITS.tolist(), TARGETS.tolist()) if target >= 0]
    expected = sum(-math.log(softmax(row)[target]) for row, target in labeled) / 3
    logits = LOGITS.clone().requires_grad_()
    loss = labeled_cross_entropy(logits, TARGETS)
    assert loss.item() == pytest.approx(expected, rel=1e-12)
    loss.backward()
    assert (logits.grad[TARGETS < 0] == 0).all()


def test_without_labels_loss_and_gradient_are_zero():
    logits = LOGITS.clone().requires_grad_()
    loss = labeled_cross_entropy(logits, torch.full((6,), -1))
    loss.backward()
    assert loss == 0
    assert (logits.grad == 0).all()


def _of_rank(targets):
    logits = LOGITS.chunk(2)[rank()].clone().requires_grad_()
    loss = labeled_cross_entropy(logits, targets.chunk(2)[rank()])
    loss.backward()
    return loss.detach(), logits.grad


@pytest.mark.parametrize("targets", [TARGETS, torch.tensor([1, 1, 2, -1, -1, -1]), torch.full((6,), -1)])
def test_ranks_with_different_numbers_of_labels_average_to_one_process(targets, two_ranks):
    logits = LOGITS.clone().requires_grad_()
    loss = labeled_cross_entropy(logits, targets)
    loss.backward()
    losses, gradients = zip(*two_ranks(_of_rank, targets))
    torch.testing.assert_close(sum(losses) / 2, loss.detach())
    torch.testing.assert_close(torch.cat(gradients) / 2, logits.grad)


def test_wrong_uses_are_named():
    with pytest.raises(UsageError, match="one shape"):
        consistency(LOGITS, OTHERS[:3])
    with pytest.raises(UsageError, match='distance="l1"'):
        consistency(LOGITS, OTHERS, "l1")
    with pytest.raises(UsageError, match=r"targets \(B,\)"):
        labeled_cross_entropy(LOGITS, TARGETS[:3])
