"""Pairs of similar rows, against a loop over all pairs."""

import math

import pytest
import torch

from sslbolts.errors import UsageError
from sslbolts.readouts import groups_of, near_duplicates


def naive(rows: list[list[float]], threshold: float) -> list[tuple[int, int, float]]:
    """All pairs over the threshold, the most similar first, and of equals those of smaller rows."""
    found = []
    for a in range(len(rows)):
        for b in range(a + 1, len(rows)):
            dot = sum(x * y for x, y in zip(rows[a], rows[b]))
            cosine = dot / math.sqrt(sum(x * x for x in rows[a]) * sum(y * y for y in rows[b]))
            if cosine >= threshold:
                found.append((a, b, cosine))
    return sorted(found, key=lambda pair: (-round(pair[2], 5), pair[0], pair[1]))


@pytest.fixture(scope="module")
def rows() -> torch.Tensor:
    """37 rows with near copies of several closeness, and exact ones of another length."""
    drawn = torch.Generator().manual_seed(0)
    rows = torch.randn(37, 6, generator=drawn)
    for number, (copy, of) in enumerate([(30, 2), (9, 4), (36, 4), (21, 20), (12, 2)]):
        rows[copy] = rows[of] + 0.05 * (1 + number) * torch.randn(6, generator=drawn)
    rows[17] = 8 * rows[3]
    return rows


@pytest.mark.parametrize("rows_at_once", [1, 5, 8, 64])
@pytest.mark.parametrize(("threshold", "most"), [(0.6, 1000), (0.9, 4), (0.999, 50)])
def test_all_pairs_over_the_threshold_are_found_in_any_blocks(rows, rows_at_once, threshold, most):
    expected = naive(rows.tolist(), threshold)
    pairs = near_duplicates(rows, threshold=threshold, most=most, rows_at_once=rows_at_once)
    assert list(zip(pairs.first.tolist(), pairs.second.tolist())) == [pair[:2] for pair in expected[:most]]
    assert pairs.similarity.tolist() == pytest.approx([pair[2] for pair in expected[:most]], abs=1e-6)
    assert pairs.found == len(expected) > 0


@pytest.mark.parametrize("rows_at_once", [2, 3, 100])
def test_of_equal_rows_the_first_pairs_are_kept(rows_at_once):
    pairs = near_duplicates(torch.ones(7, 3), threshold=1.0, most=8, rows_at_once=rows_at_once)
    first = [(0, b) for b in range(1, 7)] + [(1, 2), (1, 3)]
    assert list(zip(pairs.first.tolist(), pairs.second.tolist())) == first
    assert pairs.found == 21


def test_rows_of_zeros_are_similar_to_none():
    pairs = near_duplicates(torch.tensor([[0.0, 0.0], [0.0, 0.0], [1.0, 0.0]]), threshold=0.5)
    assert (len(pairs.first), pairs.found) == (0, 0)


def test_pairs_that_hang_together_are_a_group():
    first, second = torch.tensor([5, 1, 8, 2, 9]), torch.tensor([6, 2, 9, 5, 10])
    assert groups_of(first, second).tolist() == [0, 0, 1, 0, 1]
    assert groups_of(first[:0], second[:0]).tolist() == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"threshold": 0.0}, "threshold=0.0: a cosine similarity is in"),
        ({"threshold": 1.5}, "threshold=1.5"),
        ({"threshold": math.nan}, "threshold=nan"),
        ({"threshold": 0.5, "most": 0}, "most=0"),
    ],
)
def test_values_out_of_range_are_refused(arguments, words):
    with pytest.raises(UsageError, match=words):
        near_duplicates(torch.eye(2), **arguments)


def test_features_that_are_no_numbers_are_refused():
    with pytest.raises(UsageError, match="NaN or infinite"):
        near_duplicates(torch.tensor([[1.0], [math.inf]]), threshold=0.5)
