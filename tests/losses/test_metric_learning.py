"""Losses on pairs and triplets beyond their reference values (tests/golden)."""

import pytest
import torch
import torch.distributed as dist

from sslbolts import UsageError
from sslbolts.distributed import rank
from sslbolts.losses import pairwise_contrastive, semi_hard_triplet, triplet
from tests.golden import naive_losses as naive


@pytest.mark.parametrize("seed", range(4))
def test_semi_hard_triplets_are_a_loop_over_pairs(seed):
    generator = torch.Generator().manual_seed(seed)
    z = torch.randn(11, 3, generator=generator, dtype=torch.float64)
    labels = torch.tensor([0, 0, 1, 2, 1, 3, 0, 2, 1, 4, 4])
    ours, theirs = z.clone().requires_grad_(), z.clone().requires_grad_()
    loss, expected = (
        semi_hard_triplet(ours, labels, 0.7),
        naive.triplet_semihard(naive.L2(theirs), labels.tolist(), 0.7),
    )
    loss.backward()
    expected.backward()
    torch.testing.assert_close(loss, expected, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-8, atol=1e-8)


def _on_ranks(x: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    weight = torch.eye(3, dtype=torch.float64, requires_grad=True)
    share = slice(4 * rank(), 4 * rank() + 4) if dist.is_initialized() else slice(None)
    loss = semi_hard_triplet(x[share] @ weight, labels[share], 0.7)
    loss.backward()
    pair = loss.detach(), weight.grad.clone()
    if dist.is_initialized():
        for tensor in pair:
            dist.all_reduce(tensor)
            tensor /= 2
    return pair


def test_ranks_with_unequal_numbers_of_pairs_average_to_the_whole_batch(two_ranks):
    x, labels = torch.randn(8, 3, dtype=torch.float64), torch.tensor([0, 0, 0, 1, 1, 2, 3, 4])
    expected = _on_ranks(x, labels)
    for pair in two_ranks(_on_ranks, x, labels):
        torch.testing.assert_close(pair, expected, rtol=1e-10, atol=1e-12)


def test_without_pairs_or_negatives_there_is_no_loss():
    z = torch.randn(4, 3, requires_grad=True)
    for labels in (torch.arange(4), torch.zeros(4, dtype=torch.int64)):
        loss = semi_hard_triplet(z, labels)
        loss.backward()
        assert loss.item() == 0
        assert not z.grad.any()


@pytest.mark.parametrize("distance", ["squared", "euclidean", "cosine"])
def test_equal_embeddings_cost_the_margin_and_have_a_finite_gradient(distance):
    z = torch.ones(4, 3, requires_grad=True)
    loss = triplet(z, z.detach(), z.detach(), 0.4, distance=distance)
    loss.backward()
    assert loss.item() == pytest.approx(0.4)
    assert z.grad.isfinite().all()


def test_equal_pairs_have_a_finite_gradient():
    z = torch.ones(4, 3, requires_grad=True)
    pairwise_contrastive(z, torch.ones(4, 3), torch.tensor([1, 0, 1, 0])).backward()
    assert z.grad.isfinite().all()


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda z: triplet(z, z, z[:2]), "triplet takes anchor and positive and negative of one shape"),
        (lambda z: triplet(z, z, z, margin=-1.0), "margin=-1.0"),
        (lambda z: triplet(z, z, z, distance="l2"), "squared, euclidean, cosine"),
        (lambda z: semi_hard_triplet(z, torch.zeros(3)), "labels"),
        (lambda z: semi_hard_triplet(z, torch.zeros(4), margin=0), "margin=0"),
        (lambda z: pairwise_contrastive(z, z, torch.zeros(3)), "same"),
        (lambda z: pairwise_contrastive(z, z, torch.zeros(4), margin=0), "margin=0"),
    ],
)
def test_wrong_arguments_are_named(call, words):
    with pytest.raises(UsageError, match=words):
        call(torch.randn(4, 3))
