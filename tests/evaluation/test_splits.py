"""What a protocol learns from and is judged on: the same labels for all of them, and what there is to judge on."""

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from sslbolts import UsageError
from sslbolts._lightning import LightningDataModule
from sslbolts.data import CIFAR10MiniDataModule, DatasetDataModule
from sslbolts.evaluation import evaluate_knn, evaluate_linear, evaluate_ridge, load_encoder
from sslbolts.evaluation.features import EncodedData
from sslbolts.evaluation.labeled_crops import labeled_crops
from sslbolts.evaluation.splits import labeled_splits


def _encoder(**settings):
    pooled = nn.Sequential(nn.AvgPool2d(8), nn.Flatten())
    return load_encoder(pooled, in_chans=3, **{"image_size": 32, "device": "cpu", **settings})


@pytest.mark.usefixtures("few_images")
def test_labels_per_class_are_the_same_images_on_features_and_on_crops():
    data = CIFAR10MiniDataModule(labels_per_class=8, seed=3, batch_size=20)
    splits = labeled_splits(EncodedData(_encoder(), data))
    assert torch.bincount(splits.y).tolist() == [8] * 10
    crops = labeled_crops(EncodedData(_encoder(), data), seed=0)
    assert torch.equal(crops.images("train").data, data.images("bank").data[splits.indices])
    for evaluate, settings in ((evaluate_ridge, {}), (evaluate_knn, {}), (evaluate_linear, {"epochs": 1, "lr": 0.1})):
        stated = evaluate(_encoder(), data, **settings).settings["images"]
        assert stated.startswith('80 labeled of "bank", 8 of each class, judged on 200')


class Others(LightningDataModule):
    """Somebody's, without test images."""

    def __init__(self):
        super().__init__()
        images = torch.rand(12, 3, 8, 8, generator=torch.Generator().manual_seed(0))
        self.dataset = TensorDataset(images, torch.arange(12) % 3)

    def train_dataloader(self):
        return DataLoader(self.dataset, batch_size=4)


class WithVal(Others):
    def val_dataloader(self):
        return DataLoader(self.dataset, batch_size=5)


def test_validation_images_judge_where_somebodys_module_has_no_test_images():
    result = evaluate_ridge(_encoder(image_size=8), WithVal())
    assert result.settings["images"].endswith('judged on 12 of "val", as there are no test images')
    given = LightningDataModule.from_datasets(WithVal().dataset, test_dataset=WithVal().dataset, batch_size=4)
    assert evaluate_ridge(_encoder(image_size=8), given).settings["images"].endswith('judged on 12 of "test"')


def test_what_is_missing_in_somebodys_module_is_named():
    with pytest.raises(UsageError, match="Others has no val_dataloader"):
        evaluate_ridge(_encoder(image_size=8), Others())


def test_images_of_another_size_than_in_training_are_noted():
    images = torch.randint(0, 256, (12, 3, 64, 64), dtype=torch.uint8)
    dataset = TensorDataset(images, torch.arange(12) % 3)
    data = DatasetDataModule(dataset, val=dataset, num_classes=3, num_workers=0)
    plain = evaluate_ridge(_encoder(), data)
    assert (plain.notes, plain.settings["network"]) == ([], "Sequential")
    network = load_encoder("timm/resnet10t", pretrained=False, device="cpu")
    first, again = (evaluate_ridge(network, data).settings["network"] for _ in range(2))
    assert first.startswith("resnet10t, for images of 176 pixels, untrained, drawn as ")
    other = load_encoder("timm/resnet10t", pretrained=False, device="cpu")
    assert first == again != evaluate_ridge(other, data).settings["network"]
    trained = replace(network, pretrained=True)  # as if its weights had been fetched
    noted = "the network was trained on images of 176 pixels, and sees images of 64 here."
    assert evaluate_ridge(trained, data).notes == [noted]
