"""Properties of DINO's loss beyond its reference values (tests/golden)."""

import math

import pytest
import torch

from sslbolts import UsageError
from sslbolts.losses import dino
from sslbolts.losses.dino import dino_targets, mean_entropy
from tests.golden import naive_losses as naive


@pytest.mark.parametrize(("views", "seen"), [(2, 2), (3, 1), (5, 2), (4, 3)])
def test_it_equals_the_loop_over_pairs_of_views(views, seen):
    student = torch.randn(views, 3, 6, dtype=torch.float64, requires_grad=True)
    teacher, center = torch.randn(seen, 3, 6, dtype=torch.float64), torch.randn(6, dtype=torch.float64)
    loss = dino(student, teacher, center, student_temperature=0.2, teacher_temperature=0.07)
    loss.backward()
    again = student.detach().clone().requires_grad_()
    expected = naive.dino_loss(naive.L2(again), naive.L2(teacher), naive.L2(center), 0.2, 0.07)
    expected.backward()
    torch.testing.assert_close(loss, expected, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(student.grad, again.grad, rtol=1e-9, atol=1e-10)


def test_no_gradient_reaches_the_teacher_or_the_center():
    teacher, center = torch.randn(2, 3, 5, requires_grad=True), torch.randn(5, requires_grad=True)
    dino(torch.randn(2, 3, 5, requires_grad=True), teacher, center.detach()).backward()
    assert teacher.grad is None
    assert not dino_targets(teacher, center.detach(), 0.04).requires_grad


def test_a_uniform_student_pays_ln_k_and_a_perfect_one_the_entropy_of_the_targets():
    teacher = torch.randn(2, 8, 16)
    teacher[1] = teacher[0]  # so that every view has one target
    targets = dino_targets(teacher, torch.zeros(16), 0.5)
    perfect = 0.5 * (teacher[:1].repeat(3, 1, 1) / 0.5)
    loss = dino(perfect, teacher, torch.zeros(16), student_temperature=0.5, teacher_temperature=0.5)
    torch.testing.assert_close(loss, mean_entropy(targets), rtol=1e-5, atol=1e-6)
    assert dino(torch.zeros(3, 8, 16), teacher, torch.zeros(16)).item() == pytest.approx(math.log(16), rel=1e-5)


def test_half_precision_is_computed_in_full_and_large_logits_stay_finite():
    student, teacher = torch.randn(3, 4, 32).half() * 100, torch.randn(2, 4, 32).half() * 100
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = dino(student, teacher, torch.zeros(32))
    assert loss.dtype == torch.float32
    expected = dino(student.double(), teacher.double(), torch.zeros(32, dtype=torch.float64))
    torch.testing.assert_close(loss.double(), expected, rtol=1e-5, atol=1e-5)


def test_the_mean_entropy_is_that_of_the_formula():
    p = torch.tensor([[0.7, 0.2, 0.1], [1.0, 0.0, 0.0]])
    assert mean_entropy(p).item() == pytest.approx(-sum(x * math.log(x) for x in (0.7, 0.2, 0.1)) / 2)


@pytest.mark.parametrize(
    ("student", "teacher"), [((1, 4, 8), (1, 4, 8)), ((3, 4, 8), (2, 4, 7)), ((2, 4, 8), (3, 4, 8)), ((4, 8), (4, 8))]
)
def test_shapes_that_do_not_fit_are_named(student, teacher):
    with pytest.raises(UsageError, match="dino takes logits"):
        dino(torch.ones(student), torch.ones(teacher), torch.zeros(8))
