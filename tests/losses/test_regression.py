"""Properties of regression losses beyond their reference values (tests/golden)."""

import pytest
import torch

from sslbolts import UsageError
from sslbolts.losses import byol_regression, negative_cosine


@pytest.mark.parametrize("loss", [negative_cosine, byol_regression])
def test_no_gradient_reaches_the_target(loss):
    p, z = torch.randn(2, 4, 8, requires_grad=True).unbind()
    z.retain_grad()
    loss(p, z).backward()
    assert z.grad is None


def test_regression_is_two_plus_twice_the_negative_cosine():
    p, z = torch.randn(2, 5, 8, dtype=torch.float64)
    torch.testing.assert_close(byol_regression(p, z), 2 + 2 * negative_cosine(p, z), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("p", "expected"), [((1.0, 0.0), 0.0), ((0.0, 5.0), 2.0), ((-3.0, 0.0), 4.0)])
def test_range_of_the_regression(p, expected):
    assert byol_regression(torch.tensor([p]), torch.tensor([[2.0, 0.0]])).item() == pytest.approx(expected)


@pytest.mark.parametrize("loss", [negative_cosine, byol_regression])
def test_half_precision_is_computed_in_full(loss):
    p, z = torch.randn(2, 16, 32, dtype=torch.bfloat16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = loss(p, z)
    assert value.dtype == torch.float32
    torch.testing.assert_close(value.double(), loss(p.double(), z.double()), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("loss", [negative_cosine, byol_regression])
def test_zero_vectors_do_not_give_nan(loss):
    p = torch.zeros(2, 4, requires_grad=True)
    value = loss(p, torch.ones(2, 4))
    value.backward()
    assert value.isfinite()
    assert p.grad.isfinite().all()


@pytest.mark.parametrize("loss", [negative_cosine, byol_regression])
def test_shapes_that_differ_are_named(loss):
    with pytest.raises(UsageError, match=r"\(4, 8\) and \(4, 7\)"):
        loss(torch.ones(4, 8), torch.ones(4, 7))
