"""A part of the labels: how many, whose, and that nothing else changes."""

import pytest
import torch

from sslbolts.data import CIFAR10MiniDataModule, DatasetDataModule, ImageFolderDataModule, TensorImages
from sslbolts.data.labels import keep_labels
from sslbolts.errors import UsageError
from tests.data.helpers import write_folder


def epoch(data):
    """Views, targets and rows of all training images of an epoch, in the order of the rows."""
    made = [data.on_after_batch_transfer(batch, 0) for batch in data.train_dataloader()]
    indices = torch.cat([batch.indices for batch in made])
    order = indices.argsort()
    assert torch.equal(indices[order], torch.arange(len(indices)))
    return torch.cat([batch.views[0] for batch in made])[order], torch.cat([batch.targets for batch in made])[order]


def mini(**settings):
    return CIFAR10MiniDataModule(**{"batch_size": 1000, "num_workers": 0, "seed": 3, "image_size": 32, **settings})


def test_every_class_keeps_as_many_labels_and_views_and_evaluation_stay_as_they_are():
    views, everything = epoch(mini())
    same_views, targets = epoch(data := mini(labels_per_class=20))
    assert torch.equal(views, same_views)
    labeled = targets >= 0
    assert torch.bincount(targets[labeled]).tolist() == [20] * 10
    assert torch.equal(targets[labeled], everything[labeled])
    assert torch.equal(torch.cat([labels for _, labels, _ in data.bank_dataloader()]), everything)


def test_the_choice_follows_the_seed_alone():
    targets = torch.arange(3000) % 10
    first = keep_labels(targets, 30, seed=1)
    assert torch.equal(first, keep_labels(targets, 30, seed=1))
    assert not torch.equal(first, keep_labels(targets, 30, seed=2))
    rows = (first == 4).nonzero().squeeze(1).double()
    assert 1000 < rows.mean() < 2000  # not the first ones
    more = keep_labels(targets, 60, seed=1)
    assert torch.equal(more[first >= 0], first[first >= 0])  # a smaller choice is part of a larger one


def test_labels_of_images_in_memory_mean_one_class_each():
    images = torch.zeros(3, 3, 8, 8, dtype=torch.uint8)
    for labels in (torch.tensor([[1], [0], [2]]), torch.eye(3)[[1, 0, 2]], torch.tensor([1.0, 0.0, 2.0]), [1, 0, 2]):
        assert TensorImages(images, labels).targets.tolist() == [1, 0, 2]
    with pytest.raises(UsageError, match=r"0\.5 is no label"):
        TensorImages(images, torch.tensor([1.0, 0.5, 2.0]))
    with pytest.raises(UsageError, match="2 labels were given for 3 images"):
        TensorImages(images, torch.tensor([1, 0]))


def test_unlabeled_images_stay_so():
    targets = torch.tensor([-1, 0, 1, 0, -1, 1])
    assert torch.equal(keep_labels(targets, 2, seed=0), targets)


def test_folders_of_files_lose_labels_too(tmp_path):
    folder = write_folder(tmp_path, per_class=8, size=(40, 50))
    settings = {"batch_size": 4, "image_size": 32, "num_workers": 0, "drop_last": False, "seed": 0}
    _, targets = epoch(ImageFolderDataModule(str(folder), labels_per_class=2, **settings))
    assert set(torch.bincount(targets[targets >= 0]).tolist()) == {2}
    assert (targets < 0).any()


def test_what_cannot_be_is_named():
    with pytest.raises(UsageError, match="class 0 has only 500 training images"):
        mini(labels_per_class=501).train_dataloader()
    with pytest.raises(UsageError, match="labels_per_class=0: it must be a whole number of at least 1"):
        mini(labels_per_class=0)
    images = torch.randint(0, 256, (16, 3, 32, 32), dtype=torch.uint8)
    dataset = torch.utils.data.TensorDataset(images, torch.arange(16) % 4)
    with pytest.raises(UsageError, match="in_memory=True"):
        DatasetDataModule(dataset, batch_size=8, num_workers=0, labels_per_class=1).train_dataloader()
