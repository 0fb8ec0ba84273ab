"""The area under the ROC curve in every protocol of two classes, and of sets with several labels per image."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.metrics import roc_auc_score
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from sslbolts import UsageError
from sslbolts.cli.diagnose import tables
from sslbolts.data import DatasetDataModule
from sslbolts.evaluation import (
    FineTune,
    LinearProbe,
    diagnose,
    evaluate_finetune,
    evaluate_knn,
    evaluate_linear,
    evaluate_ridge,
    load_encoder,
)
from sslbolts.evaluation.transfer.metrics import measure
from sslbolts.evaluation.transfer.run import evaluate_transfer
from sslbolts.evaluation.transfer.sets import Splits, TransferSet
from sslbolts.readouts import knn_predict, ridge_classifier
from tests.evaluation.transfer.test_transfer import MeanColor, picture
from tests.helpers.nets import SmallConvNet, TinyBackbone
from tests.helpers.trainers import quiet_trainer


def images(count: int, *, seed: int, classes: int = 2) -> TensorDataset:
    """Noise, a little brighter in the second class: hard to tell apart."""
    generator = torch.Generator().manual_seed(seed)
    targets = torch.arange(count) * 7 % 10 % classes
    noise = torch.randint(0, 200, (count, 3, 16, 16), generator=generator) + 40 * targets[:, None, None, None]
    return TensorDataset(noise.to(torch.uint8), targets)


def module(**settings: Any) -> DatasetDataModule:
    known = {"val": images(41, seed=1), "num_classes": 2, "batch_size": 16, "num_workers": 0, "in_memory": True}
    return DatasetDataModule(images(80, seed=0), **{**known, **settings})


def encoder() -> Any:
    torch.manual_seed(0)
    return load_encoder(SmallConvNet(8, 16), image_size=16, device="cpu")


def features(network: Any, data: Any, split: str) -> tuple[torch.Tensor, torch.Tensor]:
    from sslbolts.evaluation import features_of

    found = features_of(network, data, split)
    return found.features, found.targets


def test_ridge_and_neighbors_are_scikit_learns() -> None:
    network, data = encoder(), module()
    x, y = features(network, data, "bank")
    test_x, test_y = features(network, data, "val")
    scores = ridge_classifier(test_x, x, y).scores
    expected = roc_auc_score(test_y, (scores[:, 1] - scores[:, 0]).numpy())
    found = evaluate_ridge(network, data)
    assert found.metrics["auc"] == pytest.approx(expected, abs=1e-5)
    assert "auc" not in found.settings
    assert 0.5 < expected < 1

    votes = knn_predict(test_x, x, y, k=10, temperature=0.07)
    expected = roc_auc_score(test_y, (votes[:, 1] / votes.sum(1)).numpy())
    found = evaluate_knn(network, data, k=[10], temperature=[0.07], metric=["cosine"])
    assert found.metrics["auc"] == pytest.approx(expected, abs=1e-5)


def test_it_stands_beside_the_shares_of_trained_classifiers() -> None:
    network, data = encoder(), module()
    for result in (
        evaluate_linear(network, data, epochs=5),
        evaluate_linear(
            network, data, settings="simclr", on="images", epochs=1, trainer={"enable_progress_bar": False}
        ),
        evaluate_finetune(network, data, settings="simclr", epochs=1, progress=False),
    ):
        assert next(iter(result.metrics)) == "top1"
        assert 0 <= result.metrics["auc"] <= 1
    three = module(val=images(41, seed=1, classes=3), num_classes=3)
    assert "auc" not in evaluate_finetune(network, three, settings="simclr", epochs=1, progress=False).metrics
    assert "auc" not in evaluate_ridge(network, three).metrics


@pytest.mark.parametrize("protocol", ["ridge", "knn", "linear", "images", "finetune"])
def test_test_images_of_one_class_have_none_and_the_result_says_so(protocol: str) -> None:
    pixels, targets = images(41, seed=1).tensors
    data = module(val=TensorDataset(pixels[targets == 1], targets[targets == 1]))
    settings: dict[str, Any] = {"epochs": 1, "settings": "simclr"}
    result = {
        "ridge": lambda: evaluate_ridge(encoder(), data),
        "knn": lambda: evaluate_knn(encoder(), data, k=[5]),
        "linear": lambda: evaluate_linear(encoder(), data, on="features", **settings),
        "images": lambda: evaluate_linear(encoder(), data, on="images", **settings),
        "finetune": lambda: evaluate_finetune(encoder(), data, progress=False, **settings),
    }[protocol]()
    assert "auc" not in result.metrics
    assert not any(math.isnan(value) for value in result.metrics.values())
    assert result.settings["auc"] == "none, since all test images are of one class"


def odd() -> DataLoader[Any]:
    pixels, targets = images(31, seed=2).tensors
    targets[4] = -1
    return DataLoader(TensorDataset(pixels.float() / 255, targets, torch.arange(31)), batch_size=4)


def judged(kind: str) -> Any:
    torch.manual_seed(3)
    if kind == "finetune":
        return FineTune(TinyBackbone(), 2, settings="simclr", head_std=0.1)
    return LinearProbe(TinyBackbone(), 2, settings="features", norm="none", lr=[0.1, 1.0])


def area(world: int, kind: str) -> float:
    probe = judged(kind)
    trainer = quiet_trainer(world=world, max_epochs=1, use_distributed_sampler=True)
    trainer.validate(probe, odd(), verbose=False)
    return float(trainer.callback_metrics["val/auc"])


@pytest.mark.parametrize("kind", ["finetune", "linear"])
def test_a_trained_modules_is_scikit_learns_on_one_process_and_on_two(kind: str, two_ranks: Any) -> None:
    probe = judged(kind).eval()
    loader = odd()
    with torch.no_grad():
        logits = torch.cat([probe(batch[0]) for batch in loader])
    targets = loader.dataset.tensors[1]  # type: ignore[attr-defined]
    known = targets >= 0
    found = area(1, kind)
    logits = logits if kind == "finetune" else logits[:, judged_head(kind)]
    expected = roc_auc_score(targets[known], (logits[:, 1] - logits[:, 0])[known].numpy())
    assert found == pytest.approx(expected, abs=1e-5)
    for ranks in two_ranks(area, 2, kind):
        assert ranks == pytest.approx(found, abs=1e-6)


def judged_head(kind: str) -> int:
    probe = judged(kind)
    quiet_trainer(max_epochs=1).validate(probe, odd(), verbose=False)
    return int(probe.chosen_head)


class Pixels(nn.Module):
    """Features: the image itself."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Flatten()


def test_the_diagnosis_has_it_of_the_neighbors() -> None:
    data, network = module(), load_encoder(Pixels(), device="cpu", image_size=16)
    found = diagnose(network, data, max_images=40)
    x, y = features(network, data, "bank")
    test_x, test_y = features(network, data, "val")
    votes = knn_predict(test_x, x, y, k=20, temperature=0.07)
    expected = roc_auc_score(test_y, (votes[:, 1] / votes.sum(1)).numpy())
    assert found.result.metrics["h/knn/auc"] == pytest.approx(expected, abs=1e-5)
    columns = [[row[0] for row in table.rows] for table in tables(found)]
    (column,) = [column for column in columns if "RankMe, dimensions" in column]
    assert "20 nearest neighbors, area under the ROC curve" in column


def test_as_a_measure_it_is_of_two_classes_or_the_mean_over_labels() -> None:
    generator = torch.Generator().manual_seed(0)
    scores, targets = torch.randn(50, 2, generator=generator), torch.randint(0, 2, (50,), generator=generator)
    expected = roc_auc_score(targets, (scores[:, 1] - scores[:, 0]).numpy())
    assert measure("auc", scores, targets) == pytest.approx(expected, abs=1e-5)
    labels = torch.randint(-1, 2, (50, 4), generator=generator)
    labels[:, 2] = labels[:, 2].clamp(max=0)  # no image has it
    scores = torch.randn(50, 4, generator=generator)
    each = []
    for column in (0, 1, 3):
        known = labels[:, column] >= 0
        each.append(roc_auc_score(labels[known, column], scores[known, column].numpy()))
    assert measure("auc", scores, labels) == pytest.approx(sum(each) / 3, abs=1e-5)
    with pytest.raises(UsageError, match="auc is of two classes, or of several labels per image, and there are 3"):
        measure("auc", torch.zeros(2, 3), torch.tensor([0, 1]))
    with pytest.raises(UsageError, match="all of them are of one"):
        measure("auc", torch.zeros(2, 2), torch.tensor([1, 1]))
    with pytest.raises(UsageError, match="of each label there is but one kind"):
        measure("auc", torch.zeros(2, 3), torch.tensor([[1, 0, -1], [1, 0, -1]]))
    with pytest.raises(UsageError, match='Did you mean "auc"'):
        measure("acu", torch.zeros(2, 2), torch.tensor([0, 1]))


class Scans(torch.utils.data.Dataset[Any]):
    """Images with three findings; the third is known of none, and present in none."""

    def __init__(self, count: int, seed: int) -> None:
        self.findings = torch.randint(0, 2, (count, 3), generator=torch.Generator().manual_seed(seed))
        self.findings[:, 2] = -(torch.arange(count) % 2)

    def __len__(self) -> int:
        return len(self.findings)

    def __getitem__(self, index: int) -> tuple[Any, torch.Tensor]:
        color = 40 + 150 * self.findings[index].clamp(min=0).numpy()
        return Image.fromarray(np.tile(color.astype(np.uint8), (20, 20, 1))), self.findings[index]


@pytest.mark.parametrize("fine_tune", [False, True])
def test_a_set_of_ones_own_with_several_labels_is_measured_by_it(fine_tune: bool) -> None:
    entry = TransferSet("Scans", "auc", 3, "drawn", lambda *_: Splits(Scans(24, 0), Scans(8, 1), Scans(16, 2)))
    torch.manual_seed(0)
    network = load_encoder(SmallConvNet(8) if fine_tune else MeanColor(), device="cpu", image_size=16)
    options: dict[str, Any] = {"fine_tune": True, "steps": 15, "lr": 0.05} if fine_tune else {"penalties": [1e-2]}
    result = evaluate_transfer(network, [entry], image_size=16, **options)
    assert result.metrics["Scans/auc"] > 0.95
    assert result.rows[0]["metric"] == "auc"
    assert any("mean over those that some of the images have" in note for note in result.notes)


def test_a_set_of_ones_own_says_how_many_classes_it_has() -> None:
    entry = TransferSet("Scans", "auc", None, "drawn", lambda *_: Splits(Scans(4, 0), Scans(4, 1), Scans(4, 2)))
    with pytest.raises(UsageError, match="Scans does not say its num_classes"):
        evaluate_transfer(load_encoder(MeanColor(), device="cpu", image_size=16), [entry], image_size=16)


def test_a_folder_of_two_classes_is_measured_by_it_and_one_outcome_is_noted(tmp_path: Path) -> None:
    for split, count in (("train", 8), ("test", 3)):
        for label, name in enumerate(("healthy", "sick")):
            for number in range(count):
                picture(tmp_path / "scans" / split / name / f"{number}.jpg", label, number)
    picture(tmp_path / "scans" / "test" / "sick" / "wrong.jpg", 0, 99)
    network = load_encoder(MeanColor(), device="cpu", image_size=16)
    options: dict[str, Any] = {"root": tmp_path, "image_size": 16, "penalties": [1e-2]}
    result = evaluate_transfer(network, ["folder:scans:auc"], **options)
    # 3 of 4 sick ones above all healthy ones, and the one that looks healthy below, beside or above some of them
    assert 0.75 <= result.metrics["folder:scans/auc"] < 1
    for file in (tmp_path / "scans" / "test" / "healthy").iterdir():
        file.unlink()
    result = evaluate_transfer(network, ["folder:scans:auc", "folder:scans"], **options)
    assert result.metrics.keys() == {"folder:scans/top1"}
    assert "folder:scans has no number: auc needs images of both classes" in " ".join(result.notes)
    picture(tmp_path / "scans" / "train" / "unclear" / "0.jpg", 2, 0)
    with pytest.raises(UsageError, match='"scans" has 3 classes, and auc is of two'):
        evaluate_transfer(network, ["folder:scans:auc"], **options)
