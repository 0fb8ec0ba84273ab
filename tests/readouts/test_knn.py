"""Weighted kNN against a naive loop, the golden votes, and the ways in which others' fail."""

import math
import time

import pytest
import torch
from torch import Tensor

from sslbolts.errors import UsageError
from sslbolts.readouts import knn_predict, neighbor_votes
from tests.readouts.golden import golden


def naive_votes(queries: Tensor, bank: Tensor, targets: Tensor, k: int, temperature: float, classes: int) -> Tensor:
    rows = []
    for q in queries.double():
        similar = sorted(
            ((float(q @ b) / (float(q.norm()) * float(b.norm())), int(y)) for b, y in zip(bank.double(), targets)),
            key=lambda pair: -pair[0],
        )
        row = [0.0] * classes
        for s, y in similar[:k]:
            row[y] += math.exp(s / temperature)
        rows.append(row)
    return torch.tensor(rows, dtype=torch.float64)


def test_golden_votes_and_predictions():
    case = golden("knn_weighted")
    scores = knn_predict(case["in/test"], case["in/train"], case["in/train_labels"], k=5, temperature=0.07)
    torch.testing.assert_close(scores, case["out/votes"], rtol=1e-9, atol=1e-9)
    assert torch.equal(scores.argmax(1), case["out/pred"])


@pytest.mark.parametrize("k", [1, 7, 30])
def test_equals_a_naive_loop(k):
    queries, bank, targets = torch.randn(11, 6), torch.randn(30, 6), torch.randint(0, 4, (30,))
    votes = naive_votes(queries, bank, targets, k, 0.1, 4)
    torch.testing.assert_close(
        knn_predict(queries, bank, targets, k=k, temperature=0.1, num_classes=4).double(), votes, rtol=1e-5, atol=1e-3
    )


def test_several_k_share_one_search():
    queries, bank, targets = torch.randn(9, 6), torch.randn(50, 6), torch.randint(0, 3, (50,))
    together = knn_predict(queries, bank, targets, k=(1, 5, 20))
    for row, k in zip(together, (1, 5, 20)):
        torch.testing.assert_close(row, knn_predict(queries, bank, targets, k=k))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("temperature", [0.07, 0.005])
def test_half_precision_features_and_tiny_temperatures_stay_finite_and_right(dtype, temperature):
    means = torch.eye(4).repeat(1, 8)
    bank = (means.repeat(10, 1) + 0.1 * torch.randn(40, 32)).to(dtype)
    scores = knn_predict((50 * means).to(dtype), bank, torch.arange(4).repeat(10), k=20, temperature=temperature)
    assert scores.dtype == torch.float32
    assert scores.isfinite().all()
    assert scores.argmax(1).tolist() == [0, 1, 2, 3]


def test_opposite_neighbors_at_a_tiny_temperature_still_vote():
    scores = knn_predict(
        torch.tensor([[1.0, 0.0]]),
        torch.tensor([[-1.0, 0.1], [-1.0, 0.0]]),
        torch.tensor([1, 0]),
        k=2,
        temperature=0.001,
    )
    assert scores.argmax(1).item() == 1


def test_a_vote_too_small_for_the_type_is_a_vote():
    votes = neighbor_votes(
        torch.tensor([[1.0, -1.0]]), torch.tensor([[0, 1]]), [1, 2], temperature=0.004, num_classes=3
    )
    assert (votes > 0).tolist() == [[[True, False, False]], [[True, True, False]]]
    assert votes.argmax(-1).tolist() == [[0], [0]]


def test_autocast_of_the_caller_changes_nothing():
    queries, bank, targets = torch.randn(9, 64), torch.randn(50, 64), torch.randint(0, 3, (50,))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = knn_predict(queries, bank, targets)
    assert torch.equal(inside, knn_predict(queries, bank, targets))


def test_more_neighbors_than_the_bank_has_is_visible():
    bank, targets = torch.randn(6, 3), torch.arange(6) % 2
    with pytest.warns(UserWarning, match="k=200, but the bank has 6 labeled rows"):
        scores = knn_predict(bank, bank, targets, k=200)
    torch.testing.assert_close(scores, knn_predict(bank, bank, targets, k=6))


def test_unlabeled_bank_rows_do_not_vote():
    bank, targets = torch.randn(20, 3), torch.arange(20) % 3 - 1
    known = targets >= 0
    torch.testing.assert_close(
        knn_predict(bank, bank, targets, k=4), knn_predict(bank, bank[known], targets[known], k=4)
    )


def test_chunks_do_not_change_the_result(monkeypatch):
    queries, bank, targets = torch.randn(33, 6), torch.randn(50, 6), torch.randint(0, 3, (50,))
    whole = knn_predict(queries, bank, targets)
    monkeypatch.setattr("sslbolts.readouts.knn._SIMILARITIES_AT_ONCE", 200)
    torch.testing.assert_close(knn_predict(queries, bank, targets), whole)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"queries": torch.randn(3, 4, 4)}, "queries has shape"),
        ({"queries": torch.randn(3, 5)}, "queries have 5 features and the bank has 4"),
        ({"bank_targets": torch.zeros(3, dtype=torch.long)}, "one integer label"),
        ({"bank_targets": torch.zeros(8)}, "one integer label"),
        ({"bank_targets": -torch.ones(8, dtype=torch.long)}, "every target is -1"),
        ({"num_classes": 2, "bank_targets": torch.arange(8)}, "label 7 but num_classes=2"),
        ({"k": 0}, "k=0"),
        ({"temperature": 0.0}, "temperature=0.0"),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    right = {"queries": torch.randn(3, 4), "bank": torch.randn(8, 4), "bank_targets": torch.arange(8) % 2}
    with pytest.raises(UsageError, match=message):
        knn_predict(**(right | {"k": 2} | arguments))


def test_a_large_bank_takes_seconds():
    queries, bank = torch.randn(2000, 128), torch.randn(50_000, 128)
    start = time.perf_counter()
    knn_predict(queries, bank, torch.arange(50_000) % 10, k=(20, 200))
    assert time.perf_counter() - start < 20
