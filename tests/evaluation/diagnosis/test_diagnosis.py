"""The diagnosis finds what features hold by construction, and what a projector throws away."""

import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier
from torch import nn
from torch.utils.data import TensorDataset

from sslbolts import BYOL, UsageError
from sslbolts.data import CIFAR10MiniDataModule, DatasetDataModule
from sslbolts.evaluation import load_encoder
from sslbolts.evaluation.diagnosis.diagnose import diagnose
from sslbolts.evaluation.diagnosis.distortions import DISTORTIONS
from sslbolts.evaluation.diagnosis.information import held_information
from sslbolts.evaluation.features import EncodedData
from tests.helpers.nets import TinyBackbone


class Colors(nn.Module):
    """Features: 4 x 4 pixels. Embeddings: their mean color, which knows nothing of where it was."""

    def __init__(self):
        super().__init__()
        self.backbone = nn.Sequential(nn.AvgPool2d(8), nn.Flatten())
        self.projector = nn.Linear(48, 3, bias=False)
        self.projector.weight.data = torch.eye(3).repeat_interleave(16, dim=1) / 16


def encoder(module=None, **arguments):
    return load_encoder(Colors() if module is None else module, device="cpu", image_size=32, **arguments)


@pytest.fixture(scope="module")
def found():
    return diagnose(encoder(), CIFAR10MiniDataModule(), max_images=1000)


def test_a_projector_that_keeps_the_color_alone_loses_the_rotation_and_not_the_color(found):
    metrics = found.result.metrics
    assert metrics["h/rotation/top1"] > 0.35
    assert metrics["g(h)/rotation/top1"] == pytest.approx(0.25, abs=0.04)
    assert metrics["g(h)/color/top1"] > 0.6
    assert metrics["g(h)/sobel/top1"] > 0.9
    assert metrics["g(h)/rankme"] < 3.01 < metrics["h/rankme"]


def test_rows_are_the_papers_with_the_random_guess_beside(found):
    assert [row["name"] for row in found.result.rows] == ["color", "rotation", "noise", "sobel"]
    assert [row["random guess/top1"] for row in found.result.rows] == [0.5, 0.25, 0.5, 0.5]
    for row in found.result.rows:
        assert {"h/top1", "g(h)/top1"} < row.keys()
        assert row["h/top1"] == found.result.metrics[f"h/{row['name']}/top1"]


def test_neighbors_and_confusions_are_scikit_learns(found):
    data = CIFAR10MiniDataModule()
    bank, queries = data.load("bank"), data.load("val")
    mean = [nn.functional.avg_pool2d(x.data.float(), 8).flatten(1).numpy() for x in (bank, queries)]
    model = KNeighborsClassifier(
        20, metric="cosine", weights=lambda distance: torch.from_numpy((1 - distance) / 0.07).exp().numpy()
    )
    predicted = torch.from_numpy(model.fit(mean[0], bank.targets.numpy()).predict(mean[1]))
    right = (predicted == queries.targets).double().mean().item()
    assert found.result.metrics["h/knn/top1"] == pytest.approx(right, abs=0.003)
    assert found.confusion.sum() == len(queries)
    assert found.confusion.sum(1).tolist() == queries.targets.bincount().tolist()
    assert found.confusion.diagonal().sum() / 1000 == pytest.approx(right, abs=0.003)
    assert found.result.metrics["class/ship/top1"] == pytest.approx(found.confusion[8, 8].item() / 100)


def test_the_protocol_is_in_the_result(found):
    settings = found.result.settings
    assert settings["h"] == "backbone, 48 numbers"
    assert settings["g(h)"] == "projector, 3 numbers"
    assert {"preprocessing", "images", "what was done", "neighbors", "clusters", "seed"} < settings.keys()
    assert "table 3" in found.result.notes[-1]


@pytest.mark.usefixtures("few_images")
def test_one_seed_one_result():
    first, second, other = (
        diagnose(encoder(), CIFAR10MiniDataModule(), max_images=64, seed=seed).result.metrics for seed in (1, 1, 2)
    )
    assert first == second
    assert first != other


@pytest.mark.usefixtures("few_images")
def test_the_teacher_is_diagnosed_with_its_own_projector():
    method = BYOL(TinyBackbone(), hidden_dim=8, output_dim=4)
    with torch.no_grad():
        for parameter in method.teacher.parameters():
            parameter.mul_(1.5).add_(0.01)
    student, teacher = (
        diagnose(encoder(method, teacher=teacher), CIFAR10MiniDataModule(views="byol"), max_images=64).result
        for teacher in (False, True)
    )
    assert teacher.settings["g(h)"] == "projector of the teacher, 4 numbers"
    assert student.metrics["g(h)/rankme"] != teacher.metrics["g(h)/rankme"]


def dataset(channels=3, labeled=True, size=12):
    images = torch.randint(0, 256, (40, channels, size, size), dtype=torch.uint8)
    return TensorDataset(images, torch.arange(40) % 3) if labeled else TensorDataset(images)


def test_a_network_without_projector_has_the_rest_and_says_so():
    network = load_encoder(TinyBackbone(), image_size=32, device="cpu")
    images = dataset(size=32)
    data = DatasetDataModule(images, val=images, num_classes=3, batch_size=8, num_workers=0)
    result = diagnose(network, data, max_images=40).result
    assert "no projector" in result.notes[0]
    assert "g(h)" not in result.settings
    assert all(name.startswith(("h/", "class/")) for name in result.metrics)
    assert {f"h/{name}/top1" for name in DISTORTIONS} < result.metrics.keys()


def flat(channels, size=12):
    network = nn.Sequential(nn.AvgPool2d(3), nn.Flatten())
    return load_encoder(network, device="cpu", in_chans=channels, image_size=size)


def test_without_labels_there_is_what_needs_none():
    unlabeled = dataset(labeled=False)
    data = DatasetDataModule(unlabeled, val=unlabeled, batch_size=8, num_workers=0)
    found = diagnose(flat(3), data, max_images=40)
    assert found.confusion is None
    assert any("no labels" in note for note in found.result.notes)
    assert "h/rankme" in found.result.metrics
    assert "h/rotation/top1" in found.result.metrics
    assert "h/knn/top1" not in found.result.metrics


def labeled(targets, size=12):
    images = torch.randint(0, 256, (len(targets), 3, size, size), dtype=torch.uint8)
    return TensorDataset(images, torch.as_tensor(targets))


def test_validation_images_may_lack_a_class_that_training_images_have():
    train, val = labeled([0, 1, 2, 3] * 10), labeled([0, 1, 1] * 10)
    found = diagnose(flat(3), DatasetDataModule(train, val=val, batch_size=8, num_workers=0), max_images=30)
    assert found.class_names == ["0", "1", "2", "3"]
    assert found.confusion.shape == (4, 4)
    assert found.confusion.sum(1).tolist() == [10, 20, 0, 0]
    assert 0.5 <= found.result.metrics["h/clusters/top1"] <= 1  # two clusters for two classes
    assert "class/2/top1" not in found.result.metrics


def test_one_class_has_nothing_to_tell_apart():
    for train, val in (([0] * 40, [0] * 20), ([0, 1] * 20, [1] * 20)):
        data = DatasetDataModule(labeled(train), val=labeled(val), num_classes=2, batch_size=8, num_workers=0)
        found = diagnose(flat(3), data, max_images=20)
        assert found.confusion is None
        assert any("one class is all" in note for note in found.result.notes)
        assert "h/rankme" in found.result.metrics
        assert "h/class_separation" not in found.result.metrics


def test_gray_images_have_no_color_to_lose_and_classes_without_names_are_numbered():
    gray = dataset(channels=1)
    data = DatasetDataModule(gray, val=gray, num_classes=3, in_chans=1, batch_size=8, num_workers=0)
    found = diagnose(flat(1), data, max_images=40)
    assert [row["name"] for row in found.result.rows] == ["rotation", "noise", "sobel"]
    assert any("without colors" in note for note in found.result.notes)
    assert found.class_names == ["0", "1", "2"]


def test_wrong_uses_are_named():
    with pytest.raises(UsageError, match='layer="projector"'):
        diagnose(encoder(layer="projector"), CIFAR10MiniDataModule())
    with pytest.raises(UsageError, match="max_images=2"):
        diagnose(encoder(), CIFAR10MiniDataModule(), max_images=2)
    with pytest.raises(UsageError, match='Did you mean "rotation"'):
        held_information(EncodedData(encoder(), CIFAR10MiniDataModule()), {"h": lambda h: h}, distortions=["rotations"])
