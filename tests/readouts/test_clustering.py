"""Agreement of partitions against scikit-learn, and the best assignment against SciPy."""

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score
from sklearn.metrics.cluster import contingency_matrix

from sslbolts import UsageError
from sslbolts.readouts import adjusted_rand_index, matched_accuracy, normalized_mutual_information, purity
from sslbolts.readouts.assignment import best_assignment

SIZES = [(2, 2), (3, 50), (1, 4), (40, 40), (12, 5)]


def partitions(sizes):
    first, second = (torch.randint(0, k, (200,)) for k in sizes)
    second[:100] = first[:100] % sizes[1]
    return first, second


@pytest.mark.parametrize("sizes", SIZES)
def test_mutual_information_equals_scikit_learns_geometric_mean(sizes):
    first, second = partitions(sizes)
    expected = normalized_mutual_info_score(first.numpy(), second.numpy(), average_method="geometric")
    assert normalized_mutual_information(first, second).item() == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("sizes", SIZES)
def test_adjusted_rand_index_equals_scikit_learns(sizes):
    first, second = partitions(sizes)
    expected = adjusted_rand_score(first.numpy(), second.numpy())
    assert adjusted_rand_index(first, second).item() == pytest.approx(expected, abs=1e-12)
    assert adjusted_rand_index(first, torch.randint(0, 2, (200,))).item() == pytest.approx(0, abs=0.1)


@pytest.mark.parametrize("sizes", SIZES)
def test_purity_and_matched_accuracy_follow_from_scikit_learns_table(sizes):
    clusters, targets = partitions(sizes)
    table = contingency_matrix(clusters.numpy(), targets.numpy())
    assert purity(clusters, targets).item() == pytest.approx(table.max(1).sum() / 200)
    best = table[linear_sum_assignment(table, maximize=True)].sum()
    assert matched_accuracy(clusters, targets).item() == pytest.approx(best / 200)


@pytest.mark.parametrize("measure", [adjusted_rand_index, matched_accuracy, normalized_mutual_information, purity])
def test_names_of_clusters_and_unknown_images_do_not_matter(measure):
    first = torch.randint(0, 9, (100,))
    assert measure(first, 8 - first).item() == pytest.approx(1)
    with_unknown = torch.cat([8 - first, torch.full((50,), -100)])
    assert measure(torch.cat([first, first[:50]]), with_unknown).item() == pytest.approx(1)
    assert measure(torch.zeros(5).long(), torch.ones(5).long()).item() == 1
    nobody = torch.full((4,), -1)
    assert measure(nobody, nobody).item() == 1


@pytest.mark.parametrize("measure", [adjusted_rand_index, matched_accuracy, normalized_mutual_information, purity])
def test_partitions_of_different_images_are_refused(measure):
    with pytest.raises(UsageError, match="one shape"):
        measure(torch.zeros(3).long(), torch.zeros(4).long())


@pytest.mark.parametrize("shape", [(1, 1), (7, 7), (4, 9), (9, 4), (60, 60), (0, 3)])
@pytest.mark.parametrize("ties", [False, True])
def test_the_best_assignment_is_worth_as_much_as_scipys(shape, ties):
    worth = torch.randint(0, 4, shape).double() if ties else torch.randn(shape, dtype=torch.float64)
    rows, columns = best_assignment(worth)
    assert len(rows) == min(shape)
    assert rows.tolist() == sorted(set(rows.tolist()))
    assert len(set(columns.tolist())) == len(columns)
    expected = worth.numpy()[linear_sum_assignment(worth.numpy(), maximize=True)].sum()
    assert worth[rows, columns].sum().item() == pytest.approx(expected, abs=1e-9)


def test_an_assignment_of_what_is_no_number_is_refused():
    with pytest.raises(UsageError, match="finite"):
        best_assignment(torch.from_numpy(np.array([[np.nan, 1.0]])))
