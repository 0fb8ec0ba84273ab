"""kNN and ridge agree with scikit-learn's on the features of real images, and choose on training images only."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import RidgeClassifier
from sklearn.neighbors import KNeighborsClassifier
from torch import nn

from sslbolts import UsageError
from sslbolts.data import CIFAR10MiniDataModule, TensorImages
from sslbolts.evaluation import evaluate_knn, evaluate_ridge, features_of, load_encoder
from sslbolts.evaluation.nearest import knn_on_features
from sslbolts.evaluation.splits import Splits, held_out
from sslbolts.readouts import nearest_neighbors
from tests.helpers.nets import SmallConvNet


class Fewer(CIFAR10MiniDataModule):
    """A fifth of the packaged images, as many of every class."""

    def load(self, split):
        images = super().load(split)
        return TensorImages(images.data[::5], images.targets[::5])


@pytest.fixture(scope="module")
def real():
    """Packaged images through an untrained network: encoder, data, and the features of both splits."""
    torch.manual_seed(0)
    encoder, data = load_encoder(SmallConvNet(), image_size=32, device="cpu"), Fewer()
    return encoder, data, features_of(encoder, data, "bank"), features_of(encoder, data, "val")


def _predictions_of_scikit_learn(bank, queries, k, metric, temperature):
    weights = "uniform" if temperature == np.inf else lambda distance: np.exp((1 - distance) / temperature)
    neighbors = KNeighborsClassifier(k, metric=metric, weights=weights, algorithm="brute")
    return neighbors.fit(bank.features.double().numpy(), bank.targets.numpy()).predict(
        queries.features.double().numpy()
    )


@pytest.mark.parametrize(
    ("metric", "k", "temperature"),
    [
        ("cosine", 20, 0.07),
        ("cosine", 200, 0.1),
        ("cosine", 5, np.inf),
        ("euclidean", 1, np.inf),
        ("euclidean", 20, np.inf),
    ],
)
def test_knn_is_right_exactly_as_often_as_scikit_learns(real, metric, k, temperature):
    encoder, data, bank, queries = real
    expected = _predictions_of_scikit_learn(bank, queries, k, metric, temperature)
    result = evaluate_knn(encoder, data, k=[k], temperature=[temperature], metric=[metric])
    assert result.metrics["top1"] == np.mean(expected == queries.targets.numpy())
    assert (result.settings["k"], result.settings["metric"]) == (k, metric)


def test_knn_predicts_what_scikit_learn_predicts_for_every_image(real):
    _, _, bank, queries = real
    similarity, neighbor = nearest_neighbors(queries.features, bank.features, 20)
    votes = torch.zeros(len(similarity), 10).scatter_add_(1, bank.targets[neighbor], (similarity / 0.07).exp())
    expected = _predictions_of_scikit_learn(bank, queries, 20, "cosine", 0.07)
    assert np.array_equal(votes.argmax(1).numpy(), expected)


def test_ridge_predicts_what_scikit_learn_predicts(real):
    encoder, data = real[0], CIFAR10MiniDataModule()
    bank, queries = features_of(encoder, data, "bank"), features_of(encoder, data, "val")
    result = evaluate_ridge(encoder, data)
    x, q = bank.features.double(), queries.features.double()
    mean, std = x.mean(0), x.std(0, correction=0)
    alpha = result.settings["penalty"] * len(x)
    sklearn = RidgeClassifier(alpha=alpha).fit(((x - mean) / std).numpy(), bank.targets.numpy())
    expected = sklearn.predict(((q - mean) / std).numpy())
    assert result.metrics["top1"] == np.mean(expected == queries.targets.numpy())


def test_the_best_candidate_on_training_images_is_the_one_that_is_measured(real):
    encoder, data, *_ = real
    result = evaluate_knn(encoder, data, k=(1, 20, 100))
    best = max(result.rows, key=lambda row: row["training top1"])
    assert {name: best[name] for name in ("metric", "k", "temperature")}.items() <= result.settings.items()
    assert len(result.rows) == 3 * 5 + 3
    alone = evaluate_knn(
        encoder, data, k=[best["k"]], temperature=[float(best["temperature"])], metric=[best["metric"]]
    )
    assert result.metrics["top1"] == alone.metrics["top1"]


def test_test_images_have_no_part_in_the_choice():
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(200, 8, generator=generator), torch.arange(200) % 4
    splits = Splits(x, y, x[:50], y[:50], 4, torch.arange(200), {})
    other = Splits(x, y, x[:50], y[:50].flip(0), 4, torch.arange(200), {})
    (metrics, *choice), (other_metrics, *other_choice) = (knn_on_features(s, device="cpu") for s in (splits, other))
    assert choice == other_choice
    assert metrics != other_metrics


def test_an_image_is_not_its_own_neighbor():
    x = torch.randn(20, 4, generator=torch.Generator().manual_seed(0))
    for metric in ("cosine", "euclidean"):
        own = torch.arange(5, 15)
        _, neighbor = nearest_neighbors(x[own], x, 19, metric=metric, own=own)
        for row, found in zip(own.tolist(), neighbor.tolist()):
            assert sorted(found) == [other for other in range(20) if other != row]


def test_k_is_chosen_by_the_neighbors_among_all_other_training_images():
    """Labels that features do not tell: each image's own would be right every time."""
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(60, 4, generator=generator), torch.randint(2, (60,), generator=generator)
    found = knn_on_features(
        Splits(x, y, x, y, 2, torch.arange(60), {}), ks=(1, 3), temperatures=(torch.inf,), metrics=("euclidean",)
    )
    rows = held_out(y, 0.5, seed=0, most=2000).nonzero().squeeze(1).tolist()
    for row in found.rows:
        right = 0
        for i in rows:
            others = sorted((j for j in range(60) if j != i), key=lambda j: float((x[i] - x[j]).norm()))
            right += round(float(y[others[: row["k"]]].float().mean())) == int(y[i])
        assert row["training top1"] == pytest.approx(right / len(rows))


def test_raw_pixels_are_an_encoder_too():
    encoder = load_encoder(nn.Flatten(), image_size=32, device="cpu")
    result = evaluate_knn(encoder, CIFAR10MiniDataModule(), k=[5], temperature=[0.1], metric=["cosine"])
    assert 0.2 < result.metrics["top1"] < 0.4
    assert "3072 of backbone" in result.settings["features"]


def test_held_out_rows_are_a_share_of_every_class():
    targets = torch.tensor([0] * 40 + [1] * 20 + [2] * 2 + [3])
    chosen = held_out(targets, 0.1, seed=1)
    assert [int((targets[chosen] == label).sum()) for label in range(4)] == [4, 2, 1, 0]
    assert torch.equal(chosen, held_out(targets, 0.1, seed=1))
    assert not torch.equal(chosen, held_out(targets, 0.1, seed=2))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"k": [0]}, "at least 1"),
        ({"temperature": [0.0]}, "they are positive"),
        ({"metric": ["cosin"]}, 'Did you mean "cosine"'),
    ],
)
def test_wrong_values_are_named(arguments, message):
    encoder = load_encoder(nn.Flatten(), image_size=32, device="cpu")
    with pytest.raises(UsageError, match=message):
        evaluate_knn(encoder, CIFAR10MiniDataModule(), **arguments)
