"""Offline protocols on images that show several classes: mean average precision, or a refusal that says the shape."""

import pytest
import torch
from sklearn.metrics import average_precision_score
from torch.utils.data import TensorDataset

from sslbolts.data import DatasetDataModule
from sslbolts.errors import UsageError
from sslbolts.evaluation import (
    diagnose,
    evaluate_finetune,
    evaluate_knn,
    evaluate_layers,
    evaluate_linear,
    evaluate_mlp,
    evaluate_ridge,
    evaluate_svm,
    features_of,
    load_encoder,
)
from sslbolts.evaluation.pictures import DRAW, Subject
from sslbolts.evaluation.probes.heads import probe_loss
from sslbolts.evaluation.splits import held_out


def pixels(rows: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Images whose quarters are bright where a class is shown; of the last class there is none."""
    drawn = torch.Generator().manual_seed(seed)
    shown = torch.rand(rows, 5, generator=drawn) > 0.5
    shown[:, 4] = False
    quarters = shown[:, :4].reshape(rows, 1, 2, 2).float().repeat_interleave(2, 2).repeat_interleave(2, 3)
    noise = torch.rand(rows, 3, 4, 4, generator=drawn)
    return ((0.35 * quarters + 0.65 * noise) * 255).to(torch.uint8), shown.long()


@pytest.fixture(scope="module")
def data() -> DatasetDataModule:
    train, test = pixels(80, 0), pixels(41, 1)
    settings = {"batch_size": 32, "num_workers": 0, "image_size": 4}
    return DatasetDataModule(TensorDataset(*train), val=TensorDataset(*test), multi_label=True, **settings)


@pytest.fixture(scope="module")
def encoder():
    return load_encoder(torch.nn.Flatten(), image_size=4, device="cpu")


@pytest.mark.parametrize(
    "protocol", [evaluate_knn, evaluate_ridge, evaluate_linear, evaluate_mlp], ids=lambda f: f.__name__
)
def test_knn_ridge_and_probes_report_the_mean_over_the_classes_that_are_shown(protocol, encoder, data) -> None:
    result = protocol(encoder, data)
    assert next(iter(result.metrics)) == "map"
    assert "top1" not in result.metrics
    assert 0.85 < result.metrics["map"] <= 1
    assert result.settings["labels"].startswith("rows of several classes")
    assert result.settings["classes"] == "the mean is over 4 classes that test images show; 1 without any are left out"
    assert not any("top1" in name for row in result.rows for name in row)


def test_a_single_candidate_is_what_scikit_learn_measures(encoder, data) -> None:
    result = evaluate_knn(encoder, data, k=[5], temperature=[torch.inf], metric=["cosine"])
    train, test = features_of(encoder, data, "bank"), features_of(encoder, data, "test")
    assert train.targets.dtype == torch.int64
    assert train.targets.shape == (80, 5)
    cosine = torch.nn.functional.normalize(test.features) @ torch.nn.functional.normalize(train.features).T
    scores = train.targets[cosine.topk(5).indices].float().mean(1)
    expected = average_precision_score(test.targets[:, :4], scores[:, :4], average="macro")
    assert result.metrics["map"] == pytest.approx(expected, abs=1e-6)


def test_a_cache_keeps_rows(encoder, data, tmp_path) -> None:
    first = features_of(encoder, data, "test", cache=tmp_path)
    again = features_of(encoder, data, "test", cache=tmp_path)
    assert len(list(tmp_path.rglob("*.safetensors"))) == 1
    assert torch.equal(first.targets, again.targets)


def test_of_other_data_the_labels_decide_and_the_result_says_how(encoder) -> None:
    (x, y), (test_x, test_y) = pixels(40, 0), pixels(21, 1)
    sets = [TensorDataset(images / 255, rows) for images, rows in ((x, y), (test_x, test_y))]
    several = evaluate_knn(encoder, sets[0], test=sets[1], k=[3], temperature=[0.1], metric=["cosine"])
    assert set(several.metrics) == {"map"}
    one_hot = [TensorDataset(images / 255, torch.eye(5)[rows.argmax(1)]) for images, rows in ((x, y), (test_x, test_y))]
    single = evaluate_knn(encoder, one_hot[0], test=one_hot[1], k=[3], temperature=[0.1], metric=["cosine"])
    assert "top1" in single.metrics
    assert single.settings["labels"] == "rows with a single 1 each, read as class numbers"
    with pytest.raises(UsageError, match=r"have the shapes \(40, 5\) and \(21,\)"):
        evaluate_knn(encoder, sets[0], test=TensorDataset(test_x / 255, test_y.argmax(1)))


@pytest.mark.parametrize(
    "protocol",
    [
        lambda *of: evaluate_linear(*of, settings="moco"),
        evaluate_finetune,
        lambda *of: evaluate_layers(*of, layers=["0"]),
        lambda *of: evaluate_svm(*of, layers=["0"]),
    ],
    ids=["linear on images", "fine-tuning", "layers", "svm"],
)
def test_other_protocols_refuse_them_in_a_sentence_that_says_the_shape(protocol, data) -> None:
    network = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3, padding=1), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()
    )
    encoder = load_encoder(network, image_size=4, device="cpu")
    with pytest.raises(UsageError, match=r"one label per image, but DatasetDataModule .* rows \(N, 5\)"):
        protocol(encoder, data)


def test_pictures_and_diagnosis_do_without_the_labels_and_say_so(encoder, data) -> None:
    subject = Subject(encoder, data, images=20, bank_images=20, rows=2)
    assert type(DRAW["neighbors"](subject)).__name__ == "Figure"
    assert any("several classes" in note for note in subject.notes)
    assert any("rows of 5" in note for note in diagnose(encoder, data, max_images=40).result.notes)


def test_the_loss_is_the_sum_of_what_is_known_of_a_row() -> None:
    logits = torch.zeros(3, 2, 4)
    rows = torch.tensor([[1.0, 0, 0, 1], [1, -1, -1, -1], [-1, -1, -1, -1]])
    assert float(probe_loss(logits, rows)) == pytest.approx(2 * (4 + 1) * torch.log(torch.tensor(2.0)).item() / 2)


def test_a_share_of_all_images_is_held_out() -> None:
    chosen = held_out(torch.ones(50, 3), 0.1, seed=0)
    assert int(chosen.sum()) == 5
    assert torch.equal(chosen, held_out(torch.zeros(50, 3), 0.1, seed=0))
