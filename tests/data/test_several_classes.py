"""Rows of several classes as labels, from a dataset to a batch."""

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset, TensorDataset

from sslbolts.data import CIFAR10MiniDataModule, DatasetDataModule, StreamDataModule, TensorImages
from sslbolts.errors import UsageError

PIXELS = torch.randint(0, 256, (12, 3, 8, 8), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
ROWS = (torch.rand(12, 4, generator=torch.Generator().manual_seed(1)) > 0.5).long()


def module(train: object = None, **settings: object) -> DatasetDataModule:
    given = TensorDataset(PIXELS, ROWS) if train is None else train
    return DatasetDataModule(given, **({"multi_label": True, "batch_size": 6, "num_workers": 0} | settings))


class Items(Dataset):
    """Gives ``(image, label)`` of a list."""

    def __init__(self, labels: list) -> None:
        self.given = labels

    def __len__(self) -> int:
        return len(self.given)

    def __getitem__(self, index: int) -> tuple:
        return PIXELS[index], self.given[index]


@pytest.mark.parametrize("in_memory", [False, True])
def test_labels_stay_rows_from_the_dataset_to_the_batch(in_memory: bool) -> None:
    data = module(in_memory=in_memory, val=TensorDataset(PIXELS[:5], ROWS[:5].bool()))
    assert data.num_classes == 4
    assert data.multi_label
    assert torch.equal(data.targets("bank"), ROWS.float())
    for batch in data.train_dataloader():
        assert batch.targets.dtype == torch.float32
        assert torch.equal(batch.targets, ROWS[batch.indices].float())
    (images, targets, indices), *_ = data.val_dataloader()
    assert torch.equal(targets, ROWS[:5].float())
    assert indices.tolist() == list(range(5))
    assert len(images) == 5


def test_rows_of_items_are_of_any_type_and_none_is_no_label() -> None:
    given = [np.array([1, 0, 1], bool), [0.0, 0.0, 1.0], None, torch.tensor([0, 0, 0]), (1, float("nan"), 0)]
    data = module(Items(given))
    expected = [[1, 0, 1], [0, 0, 1], [-1, -1, -1], [0, 0, 0], [1, -1, 0]]
    assert data.targets("train").tolist() == expected
    assert data.images("train").labeled


def test_the_number_of_classes_comes_from_names_or_the_first_row_and_a_stream_asks_for_it() -> None:
    named = Items([[1, 0, 1]] * 4)
    named.classes = ["sky", "sea", "sand"]
    assert module(named).class_names == ("sky", "sea", "sand")
    assert module(named).num_classes == module(Items([[1, 1]] * 3)).num_classes + 1 == 3
    with pytest.raises(UsageError, match="nothing says how many classes"):
        module(Items([None, [0, 1]]))

    class Stream(torch.utils.data.IterableDataset):
        def __iter__(self):
            yield from zip(PIXELS, ROWS)

    settings = {"epoch_images": 12, "batch_size": 6, "num_workers": 0, "image_size": 8}
    stream = StreamDataModule(Stream(), multi_label=True, num_classes=4, **settings)
    assert torch.equal(torch.cat([batch.targets for batch in stream.train_dataloader()]), ROWS.float())
    with pytest.raises(UsageError, match="needs num_classes="):
        StreamDataModule(Stream(), multi_label=True, **settings)


def test_rows_with_a_single_one_are_what_was_declared_and_it_is_said(monkeypatch) -> None:
    said: list[str] = []
    monkeypatch.setattr("sslbolts.data.dataset.rank_zero_info", said.append)
    one_hot = torch.eye(4)[torch.arange(12) % 4]
    for declared, words in ((True, "as multi_label=True says"), (False, "read as class numbers")):
        data = module(TensorDataset(PIXELS, one_hot), multi_label=declared, num_classes=4)
        assert data.images("train").labeled
        assert words in said.pop()
        assert data.targets("train").shape == ((12, 4) if declared else (12,))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: module(Items([3, 1]), num_classes=4).targets("train"), "3 is no row of several classes.* 4 numbers"),
        (lambda: module(Items([[1, 0]] * 3), num_classes=4).targets("train"), r"\[1, 0\] is no row of several"),
        (lambda: module(labels_per_class=2), "labels_per_class= goes by the one class of an image"),
        (lambda: module(sampling="balanced"), "sampling= goes by the one class of an image"),
        (lambda: module(sampling=[1.0] * 4).train_dataloader(), "sampling= goes by the one class of an image"),
        (lambda: module(labeled_batch_size=2), "labeled_batch_size= goes by the one class"),
        (lambda: TensorImages(PIXELS, multi_label=True), "multi_label=True needs targets="),
        (lambda: TensorImages(PIXELS, torch.arange(12), multi_label=True), r"labels of shape \(12,\)"),
        (
            lambda: CIFAR10MiniDataModule(image_size=32).with_images(
                train=TensorImages(torch.zeros(12, 3, 32, 32, dtype=torch.uint8), ROWS, multi_label=True)
            ),
            'has multi_label=False, but the labels of its "train" images are rows of 4 classes',
        ),
        (
            lambda: module().with_images(train=TensorImages(PIXELS, torch.arange(12))),
            'has multi_label=True, but the labels of its "train" images are class numbers',
        ),
    ],
)
def test_what_does_not_go_with_several_classes_is_refused(make, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        make()


def test_weights_of_single_images_go_with_several_classes() -> None:
    data = module(sampling=[1.0] * 6 + [0.0] * 6)
    drawn = torch.cat([batch.indices for batch in data.train_dataloader()])
    assert len(drawn) == 12
    assert int(drawn.max()) < 6
