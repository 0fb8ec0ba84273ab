"""Properties of decorrelating losses beyond their reference values (tests/golden)."""

import pytest
import torch

from sslbolts import UsageError
from sslbolts.distributed import rank
from sslbolts.losses import barlow_twins, vicreg
from sslbolts.losses.decorrelation import cross_correlation


def test_standardized_embeddings_do_not_feel_scale_and_shift():
    z1, z2 = torch.randn(2, 32, 6, dtype=torch.float64)
    loss = barlow_twins(z1, z2, eps=0)
    torch.testing.assert_close(barlow_twins(3 * z1 + 1, 0.2 * z2 - 5, eps=0), loss)


def test_the_correlation_is_that_of_numpy():
    z1, z2 = torch.randn(2, 32, 3, dtype=torch.float64)
    expected = torch.corrcoef(torch.cat([z1, z2], 1).T)[:3, 3:]
    torch.testing.assert_close(cross_correlation(z1, z2, eps=0), expected)


def _gradient_on_rank(x1: torch.Tensor, x2: torch.Tensor, weight: torch.Tensor) -> list[torch.Tensor]:
    x1, x2 = x1.chunk(2)[rank()], x2.chunk(2)[rank()]
    gradients = []
    for loss in (barlow_twins, vicreg):
        w = weight.clone().requires_grad_()
        loss(x1 @ w, x2 @ w).backward()
        gradients.append(w.grad)
    return gradients


def test_two_ranks_have_the_gradient_of_one_process_standardization_included(two_ranks):
    x1, x2 = torch.randn(2, 12, 5, dtype=torch.float64)
    x2[:6] += 3  # the ranks' own statistics differ
    weight = torch.randn(5, 4, dtype=torch.float64)
    first, second = two_ranks(_gradient_on_rank, x1, x2, weight)
    for loss, a, b in zip((barlow_twins, vicreg), first, second):
        w = weight.clone().requires_grad_()
        loss(x1 @ w, x2 @ w).backward()
        torch.testing.assert_close((a + b) / 2, w.grad, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("loss", [barlow_twins, vicreg])
def test_half_precision_embeddings_are_computed_in_full(loss):
    z1, z2 = torch.randn(2, 64, 16).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        found = loss(z1, z2)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), loss(z1.double(), z2.double()), rtol=1e-4, atol=1e-4)


def test_wrong_arguments_are_named():
    z = torch.randn(8, 4)
    for loss in (barlow_twins, vicreg):
        with pytest.raises(UsageError, match="one shape"):
            loss(z, z[:, :3])
    with pytest.raises(UsageError, match="one of code, listing, equation"):
        vicreg(z, z, scaling="paper")


def test_gradient_of_vicreg_in_half_precision_is_rounded_once():
    z1, z2 = (z.half() for z in torch.randn(2, 8, 4))
    half, full = z1.clone().requires_grad_(), z1.float().requires_grad_()
    vicreg(half, z2).backward()
    vicreg(full, z2).backward()
    assert torch.equal(half.grad, full.grad.half())
