"""Properties of bags of words beyond their reference values (tests/golden)."""

import math

import pytest
import torch

from sslbolts import UsageError
from sslbolts.losses import bag_of_words
from sslbolts.losses.bag_of_words import hard_bags, perplexities, soft_bags, word_distances
from tests.golden import naive_losses as naive


def test_distances_are_the_squared_euclidean_ones():
    features, words = torch.randn(2, 5, 3, 4, dtype=torch.float64), torch.randn(7, 5, dtype=torch.float64)
    distances = word_distances(features, words)
    for b in range(2):
        for y in range(3):
            for x in range(4):
                for k in range(7):
                    expected = sum((features[b, c, y, x] - words[k, c]) ** 2 for c in range(5))
                    assert distances[b, 4 * y + x, k].item() == pytest.approx(expected.item(), rel=1e-10)


def test_a_feature_that_is_a_word_has_no_negative_distance():
    words = 100 * torch.randn(50, 16)
    assert word_distances(words[:, :, None, None], words).min() >= 0


def test_soft_bags_equal_the_loop():
    features, words = torch.randn(3, 4, 5, 5, dtype=torch.float64), torch.randn(6, 4, dtype=torch.float64)
    distances = word_distances(features, words)
    expected, nearest = naive.obow_targets(naive.L2(features), naive.L2(words), 15.0, 0.5)
    assert distances.amin(2).mean().item() == pytest.approx(nearest, rel=1e-10)
    bags = soft_bags(distances, 15.0 / 0.5)
    torch.testing.assert_close(bags, torch.tensor(expected, dtype=torch.float64), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("binary", [False, True])
def test_hard_bags_count_the_nearest_words(binary):
    distances = torch.rand(4, 9, 5)
    for bag, image in zip(hard_bags(distances, binary=binary), distances):
        counts = [sum(int(row.argmin()) == k for row in image) for k in range(5)]
        counts = [min(count, 1) for count in counts] if binary else counts
        assert bag.tolist() == pytest.approx([count / sum(counts) for count in counts])


def test_divergence_is_the_cross_entropy_less_the_entropy_of_the_bags_with_the_same_gradient():
    bags = torch.rand(3, 6, dtype=torch.float64).softmax(1)
    logits = torch.randn(4, 3, 6, dtype=torch.float64, requires_grad=True)
    losses, gradients = [], []
    for divergence in (True, False):
        loss = bag_of_words(logits, bags, divergence=divergence)
        losses.append(loss.item())
        gradients.append(torch.autograd.grad(loss, logits)[0])
    entropy = -(bags * bags.log()).sum(1).mean().item()
    assert losses[1] - losses[0] == pytest.approx(entropy, rel=1e-10)
    assert torch.equal(*gradients)
    assert bag_of_words(bags.log(), bags).item() == pytest.approx(0, abs=1e-12)


def test_views_are_averaged():
    bags, logits = torch.rand(3, 6).softmax(1), torch.randn(4, 3, 6)
    expected = sum(bag_of_words(view, bags).item() for view in logits) / 4
    assert bag_of_words(logits, bags).item() == pytest.approx(expected, rel=1e-5)


def test_words_that_do_not_occur_are_no_nan():
    logits = torch.randn(2, 4, requires_grad=True)
    bags = torch.tensor([[1.0, 0.0, 0.0, 0.0], [0.0, 0.5, 0.5, 0.0]])
    loss = bag_of_words(logits, bags)
    loss.backward()
    assert loss.isfinite()
    assert logits.grad.isfinite().all()


def test_perplexity_of_equal_bags_is_that_of_one_image():
    image, batch = perplexities(torch.tensor([[0.25, 0.75]]).repeat(8, 1)).tolist()
    assert image == pytest.approx(math.exp(-0.25 * math.log(0.25) - 0.75 * math.log(0.75)))
    assert batch == pytest.approx(image)


def test_half_precision_is_computed_in_full():
    features, words = torch.randn(2, 8, 3, 3).bfloat16(), torch.randn(5, 8)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        distances = word_distances(features, words)
        loss = bag_of_words(torch.randn(2, 5).bfloat16(), soft_bags(distances, 1.0))
    assert distances.dtype == loss.dtype == torch.float32
    expected = word_distances(features.double(), words.double())
    torch.testing.assert_close(distances.double(), expected, rtol=1e-5, atol=1e-5)


def test_shapes_that_do_not_fit_are_named():
    with pytest.raises(UsageError, match="word_distances takes"):
        word_distances(torch.ones(1, 3, 2, 2), torch.ones(4, 5))
    with pytest.raises(UsageError, match="bag_of_words takes"):
        bag_of_words(torch.ones(2, 4), torch.ones(2, 5))
