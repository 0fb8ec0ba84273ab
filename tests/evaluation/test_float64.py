"""Apple's GPUs have no float64: every protocol computes on such a device, and finds what it finds on the CPU."""

from functools import partial

import pytest
import torch
from torch import nn

from sslbolts.evaluation.few_label import logistic_on_features
from sslbolts.evaluation.nearest import knn_on_features, ridge_on_features
from sslbolts.evaluation.probes.on_features import probe_on_features
from sslbolts.evaluation.probes.settings import probe_settings
from sslbolts.evaluation.splits import Splits
from sslbolts.evaluation.transfer.linear import score_transfer
from sslbolts.networks.whitened_filters import patches_for, set_whitening_filters_
from sslbolts.readouts import (
    adjusted_rand_index,
    alignment,
    class_accuracies,
    class_separation,
    confusion_matrix,
    effective_rank,
    knn_predict,
    matched_accuracy,
    normalized_mutual_information,
    purity,
    rankme,
    uniformity,
)
from sslbolts.readouts.kmeans import kmeans
from sslbolts.readouts.pca_whitening import pca_whiten
from sslbolts.training.counts import RightCounts
from tests.helpers.pretended_device import pretended_device


def _rows(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    labels = torch.arange(count) % 7
    spread = torch.randn(count, 12, generator=torch.Generator().manual_seed(seed))
    return spread + 2 * torch.eye(12)[labels], labels


def _splits() -> Splits:
    return Splits(*_rows(70, 0), *_rows(35, 1), 7, torch.arange(70), {})


_PROBE = partial(probe_on_features, seed=0)
PROTOCOLS = {
    "knn": partial(knn_on_features, ks=(1, 5)),
    "ridge": ridge_on_features,
    "linear": partial(_PROBE, settings=probe_settings("features", epochs=2, lr=(0.1, 1.0))),
    "linear by batch norm": partial(_PROBE, settings=probe_settings("mae", epochs=1)),
    "mlp": partial(_PROBE, settings=probe_settings("features", epochs=1, lr=0.1), hidden_dim=8),
    "few-label": partial(logistic_on_features, penalties=(1.0, 10.0)),  # which end in few steps
}


@pytest.mark.parametrize("name", PROTOCOLS)
def test_protocols_on_features(name):
    expected = PROTOCOLS[name](_splits(), device="cpu")
    with pretended_device():
        found = PROTOCOLS[name](_splits(), device="mps")
    assert found.metrics == pytest.approx(expected.metrics, abs=1e-9)
    assert len(found.rows) == len(expected.rows)


@pytest.mark.parametrize("metric", ["top1", "mean_per_class", "map_11point"])
def test_transfer(metric):
    parts = [_rows(70, 0), _rows(35, 1), _rows(35, 2)]
    if metric == "map_11point":  # several labels per image
        parts = [(x, torch.nn.functional.one_hot(y, 7)) for x, y in parts]
    score = partial(score_transfer, metric=metric, num_classes=7, penalties=(0.1, 10.0), max_iter=4)
    expected = score(*parts)
    with pretended_device() as move:
        found = score(*((move(x), move(y)) for x, y in parts))
    assert found == pytest.approx(expected, abs=1e-6)


def _measures(x: torch.Tensor, y: torch.Tensor, other: torch.Tensor) -> dict[str, float]:
    clusters = kmeans(x, 7, iterations=3, spherical=True, generator=torch.Generator().manual_seed(0)).assignments
    votes = confusion_matrix(knn_predict(x, other, y, k=3), y, num_classes=7)
    found = {
        "rankme": rankme(x),
        "effective_rank": effective_rank(x),
        "alignment": alignment(x, other),
        "uniformity": uniformity(x),
        "class_separation": class_separation(x, y),
        "purity": purity(clusters, y),
        "nmi": normalized_mutual_information(clusters, y),
        "ari": adjusted_rand_index(clusters, y),
        "matched": matched_accuracy(clusters, y),
        "classes": class_accuracies(votes).mean(),
        "whitened": pca_whiten(x, 3)(x).square().mean(),
    }
    return {name: float(value) for name, value in found.items()}


def test_diagnosis_and_monitors():
    (x, y), (other, _) = _rows(70, 0), _rows(70, 1)
    expected = _measures(x, y, other)
    with pretended_device() as move:
        found = _measures(move(x), move(y), move(other))
    assert found == pytest.approx(expected, rel=1e-4)


def test_right_answers_of_an_evaluation():
    targets, right = torch.tensor([0, 1, -1, 2]), torch.tensor([True, False, True, True])
    with pretended_device() as move:
        counts = RightCounts()
        counts.add((torch.zeros(4, 1), move(targets), torch.arange(4)), {"top1": move(right)})
        assert counts.shares() == {"top1": pytest.approx(2 / 3)}


def test_whitened_filters():
    images = torch.rand(16, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    expected = nn.Conv2d(3, 8, 3)
    set_whitening_filters_(expected, patches_for(expected, images).flatten(0, 1), eps=1e-3)
    moved = nn.Conv2d(3, 8, 3)
    patches = patches_for(moved, images).flatten(0, 1)
    with pretended_device() as move, torch.no_grad():
        moved = moved.to("mps")
        set_whitening_filters_(moved, move(patches), eps=1e-3)
        torch.testing.assert_close(moved.weight[:8].cpu(), expected.weight[:8])


def test_the_pretended_device_refuses_float64():
    with pretended_device() as move:
        rows = move(torch.ones(3, 2))
        for wide in (
            rows.double,
            lambda: rows.to(torch.float64),
            lambda: rows.mean(0, dtype=torch.float64),
            lambda: torch.zeros(2, dtype=torch.float64, device=rows.device),
            lambda: torch.ones(2, dtype=torch.float64).to(rows.device),
        ):
            with pytest.raises(TypeError, match="has no"):
                wide()
        with pytest.raises(RuntimeError, match="two devices"):
            _ = rows + torch.ones(3, 2)
