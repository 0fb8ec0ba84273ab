"""Rank, spread and separation against naive loops, golden values and cases with a known answer."""

import math

import pytest
import torch
from torch.nn import functional as F

from sslbolts.errors import UsageError
from sslbolts.readouts import alignment, class_separation, effective_rank, normalized_std, rankme, uniformity
from tests.readouts.golden import golden


def test_golden_collapse_diagnostics():
    case = golden("collapse_diagnostics")
    torch.testing.assert_close(normalized_std(case["in/z"]), case["out/feat_std"], rtol=1e-9, atol=0)
    torch.testing.assert_close(rankme(case["in/z"]), case["out/rankme"], rtol=1e-8, atol=0)


@pytest.mark.parametrize("shape", [(40, 12), (12, 40)])
def test_ranks_equal_the_entropy_of_singular_values(shape):
    x = torch.randn(*shape, dtype=torch.float64) * torch.linspace(0.1, 3, shape[1]) + 0.5

    def entropy(p):
        return math.exp(-sum(v * math.log(v) for v in p.tolist() if v > 1e-14))

    s = torch.linalg.svdvals(x)
    assert rankme(x, eps=1e-300).item() == pytest.approx(entropy(s / s.sum()), rel=1e-9)
    variance = torch.linalg.svdvals(x - x.mean(0)).square()
    assert effective_rank(x).item() == pytest.approx(entropy(variance / variance.sum()), rel=1e-6)


def test_effective_rank_counts_directions_and_ignores_the_mean():
    corners = torch.cat([torch.eye(6), -torch.eye(6)])
    assert effective_rank(corners).item() == pytest.approx(6)
    assert effective_rank(corners + 100).item() == pytest.approx(6, rel=1e-3)
    assert effective_rank(torch.full((8, 5), 3.7)).item() == 0


def test_isotropic_embeddings_have_std_one_over_root_d():
    assert normalized_std(torch.randn(4000, 64)).item() == pytest.approx(1 / 8, rel=0.01)
    assert normalized_std(torch.ones(10, 64) + 1e-6 * torch.randn(10, 64)).item() < 1e-5


@pytest.mark.parametrize(("alpha", "t"), [(2.0, 2.0), (1.0, 3.0)])
def test_alignment_and_uniformity_equal_loops_over_pairs(alpha, t):
    z1, z2 = torch.randn(2, 9, 5, dtype=torch.float64)
    u, v = F.normalize(z1), F.normalize(z2)
    close = sum(float((a - b).norm()) ** alpha for a, b in zip(u, v)) / 9
    assert alignment(z1, z2, alpha=alpha).item() == pytest.approx(close)
    pairs = [math.exp(-t * float((u[i] - u[j]).norm()) ** 2) for i in range(9) for j in range(i)]
    assert uniformity(z1, t=t).item() == pytest.approx(math.log(sum(pairs) / len(pairs)))


def test_uniformity_in_chunks():
    z = torch.randn(1500, 3)
    expected = torch.pdist(F.normalize(z)).square().mul(-2).exp().mean().log()
    assert uniformity(z).item() == pytest.approx(expected.item(), rel=1e-5)


def test_class_separation_equals_the_double_sum_over_pairs():
    x, y = torch.randn(21, 4, dtype=torch.float64), torch.arange(21) % 3 - 1  # one label is -1
    u = F.normalize(x)
    groups = [u[y == c] for c in (0, 1)]

    def mean_distance(a, b):
        return sum(1 - float(p @ q) for p in a for q in b) / (len(a) * len(b))

    within = sum(mean_distance(g, g) for g in groups) / 2
    total = sum(mean_distance(g, h) for g in groups for h in groups) / 4
    assert class_separation(x, y, num_classes=5).item() == pytest.approx(1 - within / total)


def test_class_separation_of_nothing_is_zero():
    assert class_separation(torch.ones(6, 3), torch.arange(6) % 2).item() == 0


def test_one_row_is_too_few_and_shapes_must_fit():
    with pytest.raises(UsageError, match="at least 2"):
        normalized_std(torch.randn(1, 3))
    with pytest.raises(UsageError, match="two views"):
        alignment(torch.randn(3, 4), torch.randn(4, 4))


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("rank", [rankme, effective_rank])
def test_the_rank_of_features_that_are_not_finite_is_not_a_number(rank, value):
    x = torch.randn(20, 6)
    x[3, 2] = value
    assert rank(x).isnan()
