"""Agreement of partitions against scikit-learn."""

import pytest
import torch
from sklearn.metrics import normalized_mutual_info_score

from sslbolts import UsageError
from sslbolts.readouts import normalized_mutual_information


@pytest.mark.parametrize("clusters", [(2, 2), (3, 50), (1, 4), (40, 40)])
def test_it_equals_scikit_learns_geometric_mean(clusters):
    first, second = (torch.randint(0, k, (200,)) for k in clusters)
    second[:100] = first[:100] % clusters[1]
    expected = normalized_mutual_info_score(first.numpy(), second.numpy(), average_method="geometric")
    assert normalized_mutual_information(first, second).item() == pytest.approx(expected, abs=1e-9)


def test_names_of_clusters_and_unknown_images_do_not_matter():
    first = torch.randint(0, 9, (100,))
    assert normalized_mutual_information(first, 8 - first).item() == pytest.approx(1)
    with_unknown = torch.cat([8 - first, torch.full((50,), -100)])
    assert normalized_mutual_information(torch.cat([first, first[:50]]), with_unknown).item() == pytest.approx(1)
    assert normalized_mutual_information(torch.zeros(5).long(), torch.ones(5).long()).item() == 1


def test_partitions_of_different_images_are_refused():
    with pytest.raises(UsageError, match="one shape"):
        normalized_mutual_information(torch.zeros(3).long(), torch.zeros(4).long())
