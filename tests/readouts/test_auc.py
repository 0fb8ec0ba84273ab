"""The area under the ROC curve is scikit-learn's and that of the pairs, whatever numbers the scores are."""

import pytest
import torch
from sklearn.metrics import roc_auc_score

from sslbolts import UsageError
from sslbolts.readouts import area_under_roc, areas_under_roc


def pairs(scores: list[float], targets: list[int]) -> float:
    """The share of pairs of an image with the class and one without in which the first has the higher score."""
    yes = [score for score, target in zip(scores, targets, strict=True) if target == 1]
    no = [score for score, target in zip(scores, targets, strict=True) if target == 0]
    return sum((a > b) + 0.5 * (a == b) for a in yes for b in no) / (len(yes) * len(no))


@pytest.mark.parametrize("rounded", [False, True], ids=["all different", "with ties"])
@pytest.mark.parametrize(("scale", "shift"), [(1.0, 0.0), (1e4, 5e3), (1e-6, 0.3)], ids=["logits", "large", "shares"])
def test_it_is_scikit_learns(rounded: bool, scale: float, shift: float) -> None:
    generator = torch.Generator().manual_seed(0)
    targets = torch.randint(0, 2, (200,), generator=generator)
    scores = torch.randn(200, generator=generator, dtype=torch.float64) + targets
    scores = (scores.round() if rounded else scores) * scale + shift
    found = area_under_roc(scores, targets)
    assert found == pytest.approx(roc_auc_score(targets.numpy(), scores.numpy()), abs=1e-5)
    assert found == pytest.approx(pairs(scores.tolist(), targets.tolist()), abs=1e-5)


def test_logits_that_a_sigmoid_makes_equal_are_told_apart() -> None:
    assert area_under_roc(torch.tensor([200.0, 300.0, 400.0, 100.0]), torch.tensor([0, 1, 1, 0])) == 1.0


def test_infinite_scores_are_the_highest_and_the_lowest() -> None:
    scores = torch.tensor([torch.inf, 3.0, torch.inf, -torch.inf, 2.0])
    targets = torch.tensor([1, 0, 0, 0, 1])
    assert area_under_roc(scores, targets) == pytest.approx(pairs(scores.tolist(), targets.tolist()))


def test_unknown_labels_have_no_part() -> None:
    generator = torch.Generator().manual_seed(1)
    scores, targets = torch.rand(60, 3, generator=generator), torch.randint(-1, 2, (60, 3), generator=generator)
    expected = [
        roc_auc_score(targets[known, c].numpy(), scores[known, c].numpy())
        for c in range(3)
        if len(known := (targets[:, c] >= 0).nonzero().squeeze(1))
    ]
    assert areas_under_roc(scores, targets) == pytest.approx(expected, abs=1e-5)


def test_one_outcome_has_none() -> None:
    scores = torch.tensor([0.3, 0.2, 0.1])
    for targets in ([1, 1, 1], [0, 0, -1], [-1, -1, -1]):
        assert area_under_roc(scores, torch.tensor(targets)) is None
    assert area_under_roc(scores[:0], torch.empty(0)) is None


def test_what_is_no_score_or_label_is_refused() -> None:
    with pytest.raises(UsageError, match="1 of 2 scores are no numbers"):
        area_under_roc(torch.tensor([torch.nan, 1.0]), torch.tensor([0, 1]))
    with pytest.raises(UsageError, match="targets are 1, 0, and -1"):
        area_under_roc(torch.tensor([0.5, 1.0]), torch.tensor([0, 2]))
    with pytest.raises(UsageError, match=r"both are \(N,\)"):
        area_under_roc(torch.zeros(2, 1), torch.zeros(2))
    with pytest.raises(UsageError, match=r"both are \(N, C\)"):
        areas_under_roc(torch.zeros(2, 3), torch.zeros(2))
