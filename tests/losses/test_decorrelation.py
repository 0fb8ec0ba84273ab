"""Properties of decorrelating losses beyond their reference values (tests/golden)."""

import pytest
import torch

from sslbolts import UsageError
from sslbolts.distributed import rank
from sslbolts.losses import barlow_twins, vicreg, w_mse
from sslbolts.losses.decorrelation import _whitened, cross_correlation
from tests.golden import naive_losses as naive


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


@pytest.mark.parametrize("loss", [barlow_twins, vicreg, lambda a, b: w_mse([a, b], group_size=32)])
def test_half_precision_embeddings_are_computed_in_full(loss):
    z1, z2 = torch.randn(2, 64, 16).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        found = loss(z1, z2)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), loss(z1.double(), z2.double()), rtol=1e-4, atol=1e-4)


def test_whitened_rows_have_the_identity_as_covariance():
    x = torch.randn(3, 40, 5, dtype=torch.float64) @ torch.randn(5, 5, dtype=torch.float64) + 2
    white = _whitened(x, 0.0)
    for rows in white:
        torch.testing.assert_close(rows.T.cov(), torch.eye(5, dtype=torch.float64))
        torch.testing.assert_close(rows.mean(0), torch.zeros(5, dtype=torch.float64))


def test_shrunk_whitening_equals_the_loop():
    views = [torch.randn(6, 4, dtype=torch.float64) for _ in range(3)]
    order = torch.randperm(6)
    expected = naive.wmse([naive.L2(view) for view in views], [order.tolist()], 3, eps=0.1)
    torch.testing.assert_close(w_mse(views, order[None], group_size=3, eps=0.1), expected)


def test_order_of_images_within_a_group_does_not_matter():
    views = [torch.randn(8, 3, dtype=torch.float64) for _ in range(2)]
    order = torch.tensor([3, 1, 0, 2, 7, 5, 6, 4])
    torch.testing.assert_close(w_mse(views, order[None], group_size=4), w_mse(views, group_size=4))


def test_a_singular_covariance_shows_as_nan_without_waiting_for_the_device():
    x = torch.ones(8, 3)
    assert w_mse([x, x], group_size=8).isnan()
    assert w_mse([x, x + torch.randn(8, 3)], group_size=8, eps=0.1).isfinite()


def test_wrong_arguments_are_named():
    z = torch.randn(8, 4)
    for loss in (barlow_twins, vicreg, lambda a, b: w_mse([a, b], group_size=8)):
        with pytest.raises(UsageError, match="one shape"):
            loss(z, z[:, :3])
    with pytest.raises(UsageError, match="does not split into groups of 5"):
        w_mse([z, z], group_size=5)
    with pytest.raises(UsageError, match="is singular: give a group size"):
        w_mse([z, z], group_size=4)
    with pytest.raises(UsageError, match="one of code, listing, equation"):
        vicreg(z, z, scaling="paper")
    with pytest.raises(UsageError, match="cannot be negative"):
        barlow_twins(z, z, -1)
