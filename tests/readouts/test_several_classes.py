"""Readouts of images that may show several classes, beside scikit-learn and naive loops."""

import math

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge
from sklearn.metrics import average_precision_score
from torch import Tensor

from sslbolts.checks.multi_hot import as_multi_hot, check_values, has_label, multi_hot_row
from sslbolts.errors import UsageError
from sslbolts.readouts import average_precisions, knn_predict, mean_average_precision, ridge_of_several


def made(rows: int = 90, classes: int = 4) -> tuple[Tensor, Tensor]:
    """Features, and rows of classes that depend on them; some are not known, and the last class is nobody's."""
    drawn = torch.Generator().manual_seed(0)
    x = torch.randn(rows, 6, generator=drawn)
    y = (x[:, :classes] + torch.randn(rows, classes, generator=drawn) > 0.4).float()
    y[3, 1] = y[8] = -1
    y[:, -1] = 0
    return x, y


@pytest.mark.parametrize("scale", [1.0, 1e6], ids=["few different scores", "scores beyond the sigmoid"])
def test_average_precision_is_that_of_scikit_learn_also_of_equal_scores(scale: float) -> None:
    _, y = made()
    scores = torch.randint(-3, 4, y.shape, generator=torch.Generator().manual_seed(1)) * scale
    found = average_precisions(scores, y)
    for label in range(3):
        known = y[:, label] >= 0
        expected = average_precision_score(y[known, label], scores[known, label])
        assert found[label] == pytest.approx(expected, abs=1e-6)
    assert found[3] is None, "a class that no image shows has no precision"
    assert mean_average_precision(scores, y) == pytest.approx(float(np.mean(found[:3])), abs=1e-12)


def test_without_a_class_that_any_image_shows_there_is_no_mean() -> None:
    assert math.isnan(mean_average_precision(torch.rand(5, 2), torch.zeros(5, 2)))
    scores = torch.tensor([[torch.inf, 0.0], [-torch.inf, 1.0]])
    assert mean_average_precision(scores, torch.tensor([[1, 0], [0, 1]])) == 1.0


@pytest.mark.parametrize("temperature", [0.07, 0.001])
def test_a_score_is_the_share_of_the_neighbors_weighted_votes(temperature: float) -> None:
    x, y = made()
    queries, bank, labels = x[:7].double(), x[7:].double(), y[7:]
    found = knn_predict(queries, bank, labels, k=[1, 5], temperature=temperature)
    usable = (labels >= 0).any(1)
    bank, labels = bank[usable], labels[usable]
    for row, query in enumerate(queries):
        cosine = torch.nn.functional.cosine_similarity(query[None], bank)
        order = cosine.argsort(descending=True)
        for which, k in enumerate([1, 5]):
            for label in range(y.shape[1]):
                near = [n for n in order[:k].tolist() if labels[n, label] >= 0]
                votes = [math.exp((float(cosine[n]) - float(cosine[order[0]])) / temperature) for n in near]
                yes = sum(vote for vote, n in zip(votes, near) if labels[n, label] == 1)
                expected = yes / sum(votes) if near else 0.0
                assert float(found[which, row, label]) == pytest.approx(expected, abs=1e-9)


def test_ridge_of_several_classes_is_that_of_scikit_learn_and_chooses_by_leaving_one_out() -> None:
    x, y = made(40)
    y = y.abs()
    x, y = x.double(), y.double()
    penalties = [10.0, 0.01]
    found = ridge_of_several(x[:5], x[5:], y[5:], penalties=penalties)
    bank, labels = x[5:].numpy(), y[5:].numpy()
    mean, std = bank.mean(0), bank.std(0)
    reached = {}
    for penalty in penalties:
        left_out = np.stack(
            [
                Ridge(penalty * len(bank))
                .fit((np.delete(bank, row, 0) - mean) / std, np.delete(labels, row, 0))
                .predict((bank[row : row + 1] - mean) / std)[0]
                for row in range(len(bank))
            ]
        )
        shown = labels.any(0)
        reached[penalty] = average_precision_score(labels[:, shown], left_out[:, shown], average="macro")
    for penalty, value in reached.items():
        assert found.candidates[penalty] == pytest.approx(value, abs=1e-6)
    assert found.penalty == max(penalties, key=lambda penalty: reached[penalty])
    whole = Ridge(found.penalty * len(bank)).fit((bank - mean) / std, labels)
    np.testing.assert_allclose(found.scores, whole.predict((x[:5].numpy() - mean) / std), atol=1e-6)


@pytest.mark.parametrize(
    "given",
    [
        torch.tensor([[1, 0, 1], [0, 0, -7]]),
        torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, math.nan]], dtype=torch.float16),
        np.array([[1, 0, 1], [0, 0, -1]], np.int8),
        [[True, False, True], np.array([0.0, 0.0, -1.0])],
        [torch.tensor([1, 0, 1]), (0, 0, -1)],
    ],
    ids=["integers", "halves", "array", "a list of several kinds", "a list of tensors"],
)
def test_rows_of_any_type_become_one_form(given: object) -> None:
    rows = as_multi_hot(given)
    assert rows.dtype == torch.float32
    assert rows.tolist() == [[1.0, 0.0, 1.0], [0.0, 0.0, -1.0]]


def test_a_row_of_zeros_is_a_label_and_a_row_of_nothing_known_is_none() -> None:
    assert has_label(as_multi_hot([[0, 0], None, [-1, 1]])).tolist() == [True, False, True]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: as_multi_hot(torch.arange(8)), r"labels of shape \(8,\) and torch.int64 are no rows of several"),
        (lambda: as_multi_hot(torch.zeros(8, 1)), r"of shape \(8, 1\)"),
        (lambda: as_multi_hot(torch.zeros(8, 3), classes=5), r"of shape \(8, 3\).*a label is 5 numbers"),
        (lambda: as_multi_hot("cat"), "of type str"),
        (lambda: multi_hot_row([3, 7], 10), r"\[3, 7\] is no row of several classes: .* 10 numbers"),
        (lambda: multi_hot_row([0.2, 0.8]), "hold the number 0.2"),
        (lambda: multi_hot_row("cat", 3), "'cat' is no row of several classes"),
        (lambda: check_values(torch.tensor([[0.0, 2.0]])), "hold the number 2"),
        (lambda: average_precisions(torch.rand(4, 2), torch.rand(4, 3)), r"both are \(N, C\)"),
        (lambda: ridge_of_several(torch.rand(2, 3), torch.rand(4, 3), torch.zeros(4, 2)), "shows any class"),
        (lambda: ridge_of_several(torch.rand(2, 3), torch.rand(4, 3), torch.arange(4)), r"rows \(M, C\)"),
    ],
)
def test_what_is_no_row_of_classes_is_refused_by_its_shape(make: object, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        make()  # type: ignore[operator]
