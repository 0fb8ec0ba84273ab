"""Few labels: the same share of every class, listed in a file that gives the result again."""

from functools import partial

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import nn

from sslbolts import UsageError
from sslbolts.data import CIFAR10MiniDataModule, DatasetDataModule
from sslbolts.evaluation import evaluate_few_label, features_of, few_label_rows, load_encoder
from sslbolts.evaluation.few_label import _folds, logistic_on_features, read_rows, write_rows
from sslbolts.evaluation.splits import Splits
from tests.helpers.nets import SmallConvNet

UNEVEN = torch.tensor([0] * 200 + [1] * 100 + [2] * 10 + [-1] * 50)


@pytest.fixture(scope="module")
def encoder():
    torch.manual_seed(0)
    return load_encoder(SmallConvNet(16, 32), image_size=32, device="cpu")


def test_every_class_gives_its_share_and_at_least_one():
    counts = {0.01: [2, 1, 1], 0.1: [20, 10, 1], 1.0: [200, 100, 10]}
    for fraction, expected in counts.items():
        rows = few_label_rows(UNEVEN, fraction=fraction)
        assert torch.bincount(UNEVEN[rows]).tolist() == expected
        assert len(rows.unique()) == len(rows)
    assert torch.bincount(UNEVEN[few_label_rows(UNEVEN, per_class=7)]).tolist() == [7, 7, 7]


def test_the_draw_follows_the_seed():
    first, again, other = (few_label_rows(UNEVEN, fraction=0.1, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.usefixtures("few_images")
def test_the_listed_rows_give_the_same_result_again(encoder, tmp_path):
    data = CIFAR10MiniDataModule()
    evaluate = partial(evaluate_few_label, encoder, data, classifier="linear", epochs=3)
    first = evaluate(fraction=0.2, rows_file=tmp_path / "deep" / "rows.txt")
    assert first.protocol == "few-label-20pct-linear"
    assert "100 images" in first.settings["labels"]
    rows = read_rows(tmp_path / "deep" / "rows.txt")
    assert torch.equal(rows, few_label_rows(data.load("train").targets, fraction=0.2))
    again = evaluate(rows=tmp_path / "deep" / "rows.txt")
    assert again.metrics == first.metrics
    assert again.beside == {}
    nowhere = tmp_path / "deep" / "rows.txt" / "rows.txt"
    with pytest.warns(UserWarning, match=f"{nowhere} could not be written"):  # and the numbers are there
        other = evaluate(fraction=0.2, seed=5, rows_file=nowhere)
    assert other.metrics != first.metrics
    assert f"{nowhere} could not be written" in other.notes[-1]
    path = other.save(tmp_path / "other.json")
    assert torch.equal(read_rows(path.with_suffix(".txt")), few_label_rows(data.targets("bank"), fraction=0.2, seed=5))


@pytest.mark.usefixtures("few_images")
def test_more_labels_are_better_and_every_classifier_beats_chance(encoder):
    data = CIFAR10MiniDataModule()
    few = evaluate_few_label(encoder, data, per_class=1)
    assert "nothing to choose on" in few.settings["penalty chosen"]
    many = evaluate_few_label(encoder, data, per_class=20)
    linear = evaluate_few_label(encoder, data, per_class=20, classifier="linear", epochs=20)
    assert 0.1 < few.metrics["top1"] < many.metrics["top1"]
    assert abs(linear.metrics["top1"] - many.metrics["top1"]) < 0.05


def test_the_logistic_regression_is_scikit_learns(encoder):
    data = CIFAR10MiniDataModule()
    bank, queries = features_of(encoder, data, "bank"), features_of(encoder, data, "test")
    mean, std = bank.features.mean(0), bank.features.std(0, correction=0)
    rows = few_label_rows(bank.targets, fraction=0.1)
    x, y = (bank.features[rows] - mean) / std, bank.targets[rows]
    test_x = (queries.features - mean) / std
    found = logistic_on_features(Splits(x, y, test_x, queries.targets, 10, rows, {}), penalties=[0.01], device="cpu")
    sklearn = LogisticRegression(C=1 / (0.01 * len(x)), max_iter=5000, tol=1e-8).fit(x.double(), y)
    expected = np.mean(sklearn.predict(test_x.double()) == queries.targets.numpy())
    assert found[0]["top1"] == pytest.approx(expected, abs=0.0011)  # one image of a thousand may stand on the border


def test_a_fold_is_judged_by_a_classifier_that_has_not_seen_it():
    """Noise of more dimensions than images fits any labels, and tells nothing of others."""
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(60, 80, generator=generator), torch.arange(60) % 2
    _, _, rows = logistic_on_features(Splits(x, y, x, y, 2, torch.arange(60), {}), penalties=[1e-3], device="cpu")
    assert 0.25 < rows[0]["cross-validated top1"] < 0.75


def test_a_class_of_one_image_leaves_the_choice_to_the_others():
    generator = torch.Generator().manual_seed(0)
    y = torch.tensor([0] * 31 + [1] * 12 + [2] * 2 + [3])
    x = torch.randn(len(y), 4, generator=generator) + 3 * torch.eye(4)[y]
    _, settings, rows = logistic_on_features(Splits(x, y, x, y, 4, torch.arange(len(y)), {}), device="cpu")
    assert len(rows) == 6
    assert "5-fold cross-validation" in settings["penalty chosen"]
    assert "the 1 without a second of their class" in settings["penalty chosen"]
    folds = _folds(y, seed=0)
    assert folds[-1] == -1
    assert torch.bincount(folds[:-1]).tolist() == [9] * 5  # 45 images
    for label, size in enumerate((31, 12, 2)):
        counts = torch.bincount(folds[y == label], minlength=5)
        assert (int(counts.min()), int(counts.max())) == (size // 5, -(-size // 5))


@pytest.mark.filterwarnings("ignore")
def test_the_network_can_be_fine_tuned_on_the_few():
    images = torch.randint(0, 256, (60, 3, 16, 16), dtype=torch.uint8)
    dataset = torch.utils.data.TensorDataset(images, torch.arange(60) % 3)
    data = DatasetDataModule(dataset, val=dataset, num_classes=3, batch_size=8, num_workers=0)
    encoder = load_encoder(SmallConvNet(), device="cpu")
    result = evaluate_few_label(encoder, data, per_class=4, classifier="finetune", settings="simclr_10pct", epochs=1)
    assert result.protocol == "few-label-4-per-class-finetune"
    assert result.settings["labels"].startswith("4 of every class, 12 images")


def test_what_is_no_list_is_named(tmp_path):
    (tmp_path / "rows.txt").write_text("# mine\n1\ntwo\n")
    with pytest.raises(UsageError, match='it has "two"'):
        read_rows(tmp_path / "rows.txt")
    with pytest.raises(UsageError, match="there is no file"):
        read_rows(tmp_path / "nowhere.txt")
    assert read_rows(write_rows(tmp_path / "good.txt", torch.tensor([4, 2]))).tolist() == [4, 2]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "which labels"),
        ({"fraction": 0.1, "per_class": 3}, "which labels"),
        ({"fraction": 1.5}, "in \\(0, 1\\]"),
        ({"per_class": 501}, "has only 500"),
        ({"per_class": 3, "classifier": "svm"}, "one of logistic"),
        ({"per_class": 3, "settings": "moco"}, "has no settings"),
        ({"rows": torch.tensor([5000])}, "another data set"),
    ],
)
def test_wrong_values_are_named(arguments, message):
    encoder = load_encoder(nn.Flatten(), image_size=32, device="cpu")
    with pytest.raises(UsageError, match=message):
        evaluate_few_label(encoder, CIFAR10MiniDataModule(), **arguments)
