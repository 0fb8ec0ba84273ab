"""Properties of W-MSE beyond its reference values (tests/golden)."""

import pytest
import torch

from sslbolts import UsageError
from sslbolts.losses import w_mse
from sslbolts.losses.whitening import _whitened
from tests.golden import naive_losses as naive


def _nearly_flat(plane: list[list[int]]) -> torch.Tensor:
    """Rows `(a, b, a + b + 2^-20 c)`, exact in float64: their centered singular values are as 10^7 to 1."""
    a, b, c = torch.tensor(plane, dtype=torch.float64).T
    return torch.stack([a, b, a + b + c / 2**20], 1)


def test_loss_and_gradient_of_nearly_flat_embeddings_are_those_of_sixty_digits():
    x1 = _nearly_flat([[3, -1, 2], [-2, 4, 1], [0, 5, -3], [7, 1, 4], [-4, -2, -1], [1, -6, 2]]).requires_grad_()
    x2 = _nearly_flat([[2, 0, -1], [-3, 3, 4], [1, 4, -2], [5, 2, 0], [-5, -1, 3], [2, -5, 1]])
    loss = w_mse([x1, x2], group_size=6)
    loss.backward()
    # mpmath with 60 digits: Cholesky of the covariance, its inverse times the centered rows, 2 - 2 cos; the gradient as
    # the central difference of steps of 1e-25. Cholesky in float64 misses the loss by 1.5e-4 and the gradient by 1e-3.
    gradient = [
        [-249165.589597304425, -249165.438704161695, 249165.485706669736],
        [10777.266478623967, 10777.2650305916839, -10777.2581555065871],
        [31735.5353600480806, 31735.5088244651688, -31735.5203568245318],
        [104990.111226086349, 104990.041627578447, -104990.062376488133],
        [13508.4306731978528, 13508.4136881814137, -13508.4216044490069],
        [88154.245859348175, 88154.2095333449824, -88154.2232134014772],
    ]
    assert loss.item() == pytest.approx(0.1970906755809693017, abs=1e-8)
    torch.testing.assert_close(x1.grad, torch.tensor(gradient, dtype=torch.float64), rtol=1e-6, atol=1e-2)


def test_half_precision_embeddings_are_computed_in_full():
    z1, z2 = torch.randn(2, 64, 16).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        found = w_mse([z1, z2], group_size=32)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), w_mse([z1.double(), z2.double()], group_size=32), rtol=1e-4, atol=1e-4)


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
    with pytest.raises(UsageError, match="one shape"):
        w_mse([z, z[:, :3]], group_size=8)
    with pytest.raises(UsageError, match="does not split into groups of 5"):
        w_mse([z, z], group_size=5)
    with pytest.raises(UsageError, match="is singular: give a group size"):
        w_mse([z, z], group_size=4)
    for wrong in ({"eps": 1.0}, {"eps": -0.1}, {"group_size": 0}, {"group_size": 1, "eps": 0.5}):
        with pytest.raises(UsageError, match=r"eps=|group_size="):
            w_mse([z, z], **{"group_size": 8, **wrong})
