"""The closed-form ridge classifier against scikit-learn and against leaving rows out one by one."""

import pytest
import torch
from sklearn.linear_model import RidgeClassifier
from torch import Tensor

from sslbolts.errors import UsageError
from sslbolts.readouts import ridge_classifier


def problem(rows: int = 120, width: int = 10, classes: int = 4) -> tuple[Tensor, Tensor, Tensor]:
    means = torch.randn(classes, width, dtype=torch.float64)
    targets = torch.arange(rows) % classes
    bank = means[targets] + 1.5 * torch.randn(rows, width, dtype=torch.float64)
    queries = means.repeat(20, 1) + 1.5 * torch.randn(20 * classes, width, dtype=torch.float64)
    return queries * 7 + 3, bank * 7 + 3, targets


def standardized(queries: Tensor, bank: Tensor) -> tuple[Tensor, Tensor]:
    mean, std = bank.mean(0), bank.std(0, correction=0)
    return (queries - mean) / std, (bank - mean) / std


@pytest.mark.parametrize("penalty", [1e-4, 0.1, 3.0])
def test_scores_equal_scikit_learns_ridge(penalty):
    queries, bank, targets = problem()
    scores = ridge_classifier(queries, bank, targets, penalties=[penalty]).scores
    q, x = standardized(queries, bank)
    reference = RidgeClassifier(alpha=penalty * len(bank)).fit(x.numpy(), targets.numpy())
    # scikit-learn codes labels as -1 and 1, this library as 0 and 1.
    torch.testing.assert_close(2 * scores - 1, torch.from_numpy(reference.decision_function(q.numpy())))


def test_penalty_is_the_one_that_leaving_rows_out_one_by_one_finds():
    queries, bank, targets = problem(rows=60, width=20)
    penalties = [1e-5, 1e-2, 0.3, 10.0]
    _, x = standardized(bank, bank)
    onehot = torch.nn.functional.one_hot(targets).double()
    right = []
    for penalty in sorted(penalties, reverse=True):
        count = 0
        for i in range(len(x)):
            keep = torch.arange(len(x)) != i
            mean, prior = x[keep].mean(0), onehot[keep].mean(0)
            a, y = x[keep] - mean, onehot[keep] - prior
            weight = torch.linalg.solve(a.T @ a + penalty * len(x) * torch.eye(x.shape[1]), a.T @ y)
            count += int(((x[i] - mean) @ weight + prior).argmax() == targets[i])
        right.append(count)
    readout = ridge_classifier(queries, bank, targets, penalties=penalties)
    assert len(set(right)) > 1  # the penalty matters here
    assert readout.penalty == sorted(penalties, reverse=True)[right.index(max(right))]
    assert readout.bank_accuracy == max(right) / len(x)


def test_queries_have_no_part_in_the_choice():
    queries, bank, targets = problem()
    first, second = ridge_classifier(queries, bank, targets), ridge_classifier(-queries, bank, targets)
    assert first.penalty == second.penalty
    torch.testing.assert_close(ridge_classifier(queries[3:5], bank, targets).scores, first.scores[3:5])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_lower_precision_predicts_the_same(dtype):
    queries, bank, targets = problem()
    queries, bank = queries.to(dtype), bank.to(dtype)
    low = ridge_classifier(queries, bank, targets)
    exact = ridge_classifier(queries.double(), bank.double(), targets)
    assert low.scores.dtype == torch.float32
    assert low.penalty == exact.penalty
    assert torch.equal(low.scores.argmax(1), exact.scores.argmax(1))


def test_constant_and_repeated_features_do_no_harm():
    queries, bank, targets = problem()
    plain = ridge_classifier(queries, bank, targets, penalties=[0.1]).scores
    with_constant = ridge_classifier(
        torch.cat([queries, torch.full((len(queries), 1), 5.0)], 1),
        torch.cat([bank, torch.full((len(bank), 1), 5.0)], 1),
        targets,
        penalties=[0.1],
    ).scores
    torch.testing.assert_close(plain, with_constant)
    twice = ridge_classifier(queries.repeat(1, 2), bank.repeat(1, 2), targets)
    assert twice.scores.isfinite().all()


def test_fewer_rows_than_features_and_unlabeled_rows():
    bank = torch.randn(30, 100)
    targets = torch.arange(30) % 3 - 1
    readout = ridge_classifier(bank[:5], bank, targets, num_classes=7)
    assert readout.scores.shape == (5, 7)
    known = targets >= 0
    torch.testing.assert_close(
        readout.scores, ridge_classifier(bank[:5], bank[known], targets[known], num_classes=7).scores
    )


def test_two_runs_are_equal_and_no_random_number_is_drawn():
    queries, bank, targets = problem()
    state = torch.get_rng_state()
    first = ridge_classifier(queries, bank, targets)
    assert torch.equal(first.scores, ridge_classifier(queries, bank, targets).scores)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("penalties", [[], [0.1, 0.0]])
def test_penalties_must_be_positive(penalties):
    queries, bank, targets = problem()
    with pytest.raises(UsageError, match="penalties="):
        ridge_classifier(queries, bank, targets, penalties=penalties)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_bank_that_is_not_finite_is_refused_and_such_queries_have_no_scores(value):
    queries, bank, targets = problem()
    expected = ridge_classifier(queries, bank, targets).scores
    queries[4, 1] = value
    scores = ridge_classifier(queries, bank, targets).scores
    assert not scores[4].isfinite().any()
    assert torch.equal(scores[5:], expected[5:])
    bank[[3, 7], 0] = value
    with pytest.raises(UsageError, match="2 of the bank's 120 rows have features that are not finite"):
        ridge_classifier(queries, bank, targets)


def test_what_would_not_fit_is_refused_before_it_is_tried():
    bank = torch.zeros(3, 20_000)
    with pytest.raises(UsageError, match=r"2 classes on features of width 20,000 would take 8\.9 GB"):
        ridge_classifier(bank, bank, torch.tensor([0, 1, 1]))
