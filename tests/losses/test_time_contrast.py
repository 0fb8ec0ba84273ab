"""Losses on frames beyond their reference values (tests/golden)."""

import pytest
import torch
import torch.distributed as dist

from sslbolts import UsageError
from sslbolts.distributed import rank
from sslbolts.losses import n_pairs, pair_triplet, time_contrastive
from tests.golden import naive_losses as naive

TIMES = [0, 1, 2, 4, 5, 7, 9, 12, 13, 15]


def rows(count, width=3, seed=0):
    return torch.randn(count, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("sequences", [None, [0, 0, 0, 0, 0, 1, 1, 1, 1, 1], [3, 1, 3, 1, 3, 1, 3, 1, 3, 1]])
@pytest.mark.parametrize(("near", "far"), [(2, 2), (2, 4), (3, 6)])
def test_time_contrastive_is_a_loop_over_pairs(sequences, near, far):
    ours, theirs = rows(10).requires_grad_(), rows(10).requires_grad_()
    given = None if sequences is None else torch.tensor(sequences)
    radii = {"positive_radius": near, "negative_radius": far}
    loss = time_contrastive(ours, torch.tensor(TIMES), given, **radii)
    expected = naive.tcn_singleview(list(theirs), TIMES, near, far, 0.2, sequences)
    loss.backward()
    expected.backward()
    torch.testing.assert_close(loss, expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-10, atol=1e-10)


def test_an_anchor_without_a_negative_is_left_out():
    # Of the five frames only the outer two are more than 3 apart from one another.
    z, times = rows(5).requires_grad_(), torch.arange(5)
    loss = time_contrastive(z, times, positive_radius=1, negative_radius=3)

    def term(anchor, positive, negative):
        return (0.2 + (z[anchor] - z[positive]).square().sum() - (z[anchor] - z[negative]).square().sum()).clamp(min=0)

    torch.testing.assert_close(loss, (term(0, 1, 4) + term(4, 3, 0)) / 2, rtol=1e-12, atol=1e-12)
    loss.backward()
    assert torch.equal(z.grad[2], torch.zeros(3))


def test_a_window_without_negatives_or_without_positives_has_no_loss():
    z = rows(4).requires_grad_()
    without_negatives = time_contrastive(z, torch.arange(4))
    without_positives = time_contrastive(z, 20 * torch.arange(4))
    (without_negatives + without_positives).backward()
    assert without_negatives == without_positives == 0
    assert torch.equal(z.grad, torch.zeros(4, 3))


def test_losses_of_equal_embeddings_are_those_of_chance():
    z = torch.ones(16, 3)
    assert time_contrastive(z, torch.arange(16), margin=0.3).item() == pytest.approx(0.3)
    assert n_pairs(z, z, 0.0).item() == pytest.approx(torch.tensor(16.0).log().item())
    assert pair_triplet(z, z, margin=0.4).item() == pytest.approx(0.4)


def _naive_pair_triplet(anchor, positive, count, margin, draws=None):
    everything, pairs, terms = [*anchor, *positive], len(anchor), []
    for i, (a, p) in enumerate(zip(anchor, positive)):
        distances = [1 - torch.cosine_similarity(a, other, dim=0) for other in everything]
        order = [float(-d) for d in distances] if draws is None else draws[i].tolist()
        others = sorted((j for j in range(2 * pairs) if j % pairs != i), key=lambda j: -order[j])[:count]
        own = 1 - torch.cosine_similarity(a, p, dim=0)
        terms += [(own - distances[j] + margin).clamp(min=0) for j in others]
    return torch.stack(terms).mean()


@pytest.mark.parametrize("random", [False, True])
@pytest.mark.parametrize("count", [1, 4, 50])
def test_triplets_of_pairs_are_a_loop_over_hard_or_random_negatives(random, count):
    ours, theirs = rows(10).requires_grad_(), rows(10).requires_grad_()
    draws = torch.rand(5, 10, generator=torch.Generator().manual_seed(1)) if random else None
    loss = pair_triplet(*ours.chunk(2), negatives=count, draws=draws)
    expected = _naive_pair_triplet(*theirs.chunk(2), count, 0.5, draws)
    loss.backward()
    expected.backward()
    torch.testing.assert_close(loss, expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-10, atol=1e-10)


def _on_ranks(name, x, y, draws):
    weight = torch.eye(3, dtype=torch.float64, requires_grad=True)
    share = slice(4 * rank(), 4 * rank() + 4) if dist.is_initialized() else slice(None)
    a, p = x[share] @ weight, y[share] @ weight
    loss = {
        "time_contrastive": lambda: time_contrastive(
            a, torch.tensor([0, 1, 2, 9, 10, 11, 3, 4])[share], torch.tensor([0, 0, 0, 0, 0, 0, 5, 5])[share]
        ),
        "n_pairs": lambda: n_pairs(a, p),
        "hard": lambda: pair_triplet(a, p),
        "random": lambda: pair_triplet(a, p, draws=draws[share]),
    }[name]()
    loss.backward()
    found = loss.detach(), weight.grad.clone()
    if dist.is_initialized():
        for tensor in found:
            dist.all_reduce(tensor)
            tensor /= 2
    return found


@pytest.mark.parametrize("name", ["time_contrastive", "n_pairs", "hard", "random"])
def test_the_mean_over_ranks_is_the_loss_of_the_whole_batch(name, two_ranks):
    given = rows(8), rows(8, seed=1), torch.rand(8, 16, generator=torch.Generator().manual_seed(2))
    expected = _on_ranks(name, *given)
    assert expected[0] > 0
    for found in two_ranks(_on_ranks, name, *given):
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)


def test_wrong_arguments_are_refused():
    z, times = torch.randn(4, 3), torch.arange(4)
    for words, call in {
        "embeddings (B, D), times and sequences (B,), got (4, 3), (3,) and (3,)": lambda: time_contrastive(
            z, times[:3]
        ),
        "negative_radius=2 is less than positive_radius=6": lambda: time_contrastive(z, times, negative_radius=2),
        "positive_radius=0": lambda: time_contrastive(z, times, positive_radius=0),
        "margin=0": lambda: time_contrastive(z, times, margin=0),
        "regularization=-1": lambda: n_pairs(z, z, -1),
        "n_pairs": lambda: n_pairs(z, z[:2]),
        "pair_triplet": lambda: pair_triplet(z, z[:2]),
        "negatives=0": lambda: pair_triplet(z, z, negatives=0),
        "draws must be (4, 8)": lambda: pair_triplet(z, z, draws=torch.rand(4, 4)),
    }.items():
        with pytest.raises(UsageError) as raised:
            call()
        assert words in str(raised.value)
