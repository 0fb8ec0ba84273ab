"""Properties of contrastive losses beyond their reference values (tests/golden)."""

import math

import pytest
import torch
import torch.nn.functional as F

from sslbolts import UsageError
from sslbolts.distributed import rank
from sslbolts.losses import matching_accuracy, nt_xent


def test_equal_embeddings_have_the_loss_of_guessing():
    z = torch.ones(8, 4, dtype=torch.float64)
    assert nt_xent(z, z, 0.07).item() == pytest.approx(math.log(15), abs=1e-12)


def test_similarity_to_itself_has_no_gradient_even_at_low_temperature():
    # At 0.01 the masked exponent is e^100: what is subtracted instead of masked leaves a gradient, or infinity.
    z1, z2 = (torch.randn(6, 5, dtype=torch.float64).requires_grad_() for _ in range(2))
    assert torch.autograd.gradcheck(lambda a, b: nt_xent(a, b, 0.01), (z1, z2), eps=1e-7, atol=1e-4)


def test_order_of_images_and_of_views_does_not_matter():
    z1, z2 = torch.randn(2, 7, 5, dtype=torch.float64)
    order = torch.randperm(7)
    torch.testing.assert_close(nt_xent(z1[order], z2[order]), nt_xent(z1, z2))
    torch.testing.assert_close(nt_xent(z2, z1), nt_xent(z1, z2))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_embeddings_are_computed_in_full(dtype):
    z1, z2 = torch.randn(2, 64, 16).to(dtype)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = nt_xent(z1, z2, 0.1)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss.double(), nt_xent(z1.double(), z2.double(), 0.1), rtol=1e-5, atol=1e-5)


def _on_rank(z1: torch.Tensor, z2: torch.Tensor) -> torch.Tensor:
    return nt_xent(z1.chunk(2)[rank()], z2.chunk(2)[rank()], 0.2)


def test_mean_over_ranks_is_the_loss_of_the_whole_batch(two_ranks):
    z1, z2 = torch.randn(2, 8, 5, dtype=torch.float64)
    torch.testing.assert_close(sum(two_ranks(_on_rank, z1, z2)) / 2, nt_xent(z1, z2, 0.2), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("shapes", "temperature", "words"),
    [
        (((4, 8), (4, 7)), 0.1, "one shape"),
        (((4, 8), (3, 8)), 0.1, "one shape"),
        (((8,), (8,)), 0.1, "(B, D)"),
        (((4, 8), (4, 8)), 0.0, "positive"),
        (((4, 8), (4, 8)), -1.0, "positive"),
    ],
)
def test_wrong_arguments_are_named(shapes, temperature, words):
    with pytest.raises(UsageError, match=words.replace("(", r"\(").replace(")", r"\)")):
        nt_xent(torch.ones(shapes[0]), torch.ones(shapes[1]), temperature)


def test_matching_accuracy_counts_images_nearest_to_their_own_second_view():
    z1 = torch.randn(50, 3)
    z2 = z1 + 0.5 * torch.randn(50, 3)
    unit1, unit2 = F.normalize(z1.double()).tolist(), F.normalize(z2.double()).tolist()
    right = 0
    for i, a in enumerate(unit1):
        cosines = [sum(x * y for x, y in zip(a, b)) for b in unit2]
        right += cosines.index(max(cosines)) == i
    assert 5 < right < 50
    assert matching_accuracy(z1, z2).item() == pytest.approx(right / 50)


def test_collapsed_embeddings_match_nothing():
    assert matching_accuracy(torch.ones(9, 4), torch.ones(9, 4)).item() == 0


def test_matching_accuracy_does_not_change_under_autocast():
    z1 = torch.randn(500, 8)
    z2 = z1 + torch.randn(500, 8)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        under_autocast = matching_accuracy(z1, z2)
    assert under_autocast == matching_accuracy(z1, z2)
