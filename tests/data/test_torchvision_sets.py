"""Torchvision's sets, with stand-ins for what would be downloaded."""

import numpy as np
import pytest
import torch

import sslbolts.data as sets
from sslbolts.errors import UsageError

PUBLISHED = {  # mean and standard deviation of all training pixels
    "CIFAR10": ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
    "CIFAR100": ((0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)),
    "STL10": ((0.4409, 0.4279, 0.3868), (0.2683, 0.2610, 0.2687)),
}


@pytest.fixture
def stand_ins(monkeypatch):
    from torchvision import datasets

    class CIFAR:
        def __init__(self, root, train, download):
            self.data = np.random.default_rng(train).integers(0, 256, (40 if train else 20, 32, 32, 3), dtype=np.uint8)
            self.targets = [number % 10 for number in range(len(self.data))]

    class STL10:
        sizes = {"train+unlabeled": 60, "train": 10, "test": 20}

        def __init__(self, root, split, download):
            self.data = np.zeros((self.sizes[split], 3, 96, 96), np.uint8)
            self.labels = np.where(np.arange(self.sizes[split]) < 20, np.arange(self.sizes[split]) % 10, -1)

    for name, stand_in in (("CIFAR10", CIFAR), ("CIFAR100", CIFAR), ("STL10", STL10)):
        monkeypatch.setattr(datasets, name, stand_in)


@pytest.mark.parametrize("name", PUBLISHED)
def test_statistics_are_the_sets_own(name):
    data = getattr(sets, f"{name}DataModule")(views="byol")
    assert (data.mean, data.std) == PUBLISHED[name]
    assert len(data.class_names) == data.num_classes == (100 if name == "CIFAR100" else 10)


@pytest.mark.parametrize("name", ["CIFAR10", "CIFAR100"])
def test_cifar_trains_on_train_and_queries_test(stand_ins, name):
    data = getattr(sets, f"{name}DataModule")(batch_size=8, num_workers=0)
    assert (data.image_size, data.num_train_images) == (32, 40)
    assert len(data.bank_dataloader().dataset) == 40
    assert len(data.val_dataloader().dataset) == len(data.test_dataloader().dataset) == 20
    images, targets, indices = next(iter(data.bank_dataloader()))
    expected = np.random.default_rng(True).integers(0, 256, (40, 32, 32, 3), dtype=np.uint8)[:8]
    assert (images.permute(0, 2, 3, 1).numpy() == expected).all()
    assert targets.tolist() == indices.tolist() == list(range(8))


def test_stl10_trains_on_unlabeled_images_too_and_banks_the_labeled(stand_ins):
    data = sets.STL10DataModule(batch_size=60, num_workers=0)
    batch = next(iter(data.train_dataloader()))
    assert batch.views[0].shape == (60, 3, 96, 96)
    assert (batch.targets == torch.where(batch.indices < 20, batch.indices % 10, -1)).all()
    assert len(data.bank_dataloader().dataset) == 10
    assert len(data.val_dataloader().dataset) == 20


@pytest.mark.parametrize("name", PUBLISHED)
def test_missing_data_is_one_clear_line(tmp_path, name):
    data = getattr(sets, f"{name}DataModule")(root=str(tmp_path), download=False)
    for attempt in (data.prepare_data, data.train_dataloader):
        with pytest.raises(UsageError, match=f'{name} is not in root="{tmp_path}"') as error:
            attempt()
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", PUBLISHED)
def test_no_network_is_one_clear_line(tmp_path, monkeypatch, name):
    import urllib.request

    def offline(*args, **kwargs):
        raise urllib.request.URLError("Name or service not known")

    monkeypatch.setattr(urllib.request, "urlopen", offline)
    data = getattr(sets, f"{name}DataModule")(root=str(tmp_path))
    with pytest.raises(UsageError, match=r"could not be fetched \(.*CIFAR10MiniDataModule") as error:
        data.prepare_data()
    assert "\n" not in str(error.value)
