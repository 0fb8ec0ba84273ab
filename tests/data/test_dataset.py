"""Anybody's dataset."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import Dataset, IterableDataset, TensorDataset

from sslbolts.data import DatasetDataModule
from sslbolts.data.decode import ImageError
from sslbolts.errors import UsageError
from tests.data.helpers import pixels


class Items(Dataset):
    def __init__(self, items, classes=None):
        self.items = items
        if classes is not None:
            self.classes = classes

    def __len__(self):
        return len(self.items)

    def __getitem__(self, index):
        return self.items[index]


ARRAYS = [pixels(32, 32, seed) for seed in range(8)]


def kinds():
    tensors = [torch.from_numpy(array).permute(2, 0, 1) for array in ARRAYS]
    return {
        "PIL": [Image.fromarray(array) for array in ARRAYS],
        "numpy": ARRAYS,
        "uint8": tensors,
        "float": [tensor / 255 for tensor in tensors],
        "(image,)": [(tensor,) for tensor in tensors],
        "(image, int)": [(tensor, 1) for tensor in tensors],
        "(image, tensor)": [(tensor, torch.tensor(1)) for tensor in tensors],
        "[image, numpy, more]": [[tensor, np.int64(1), "more"] for tensor in tensors],
        "(image, text)": [(tensor, "a caption") for tensor in tensors],
    }


@pytest.mark.parametrize("in_memory", [True, False])
@pytest.mark.parametrize("kind", kinds())
def test_every_kind_of_item_gives_the_same_images(kind, in_memory):
    data = DatasetDataModule(Items(kinds()[kind]), batch_size=8, num_workers=0, in_memory=in_memory, seed=0)
    images, targets, _ = next(iter(data.predict_dataloader()))
    assert (images.permute(0, 2, 3, 1).numpy() == np.stack(ARRAYS)).all()
    assert set(targets.tolist()) == ({1} if kind in list(kinds())[5:8] else {-1})
    batch = next(iter(data.train_dataloader()))
    assert [view.shape for view in batch.views] == [(8, 3, 32, 32)] * 2
    assert sorted(batch.indices.tolist()) == list(range(8))


@pytest.mark.parametrize("in_memory", [True, False])
def test_images_labels_and_indices_stay_together(in_memory):
    flat = torch.arange(8, dtype=torch.uint8)[:, None, None, None].expand(8, 3, 32, 32) * 30
    still = Items([(image, 7 - number) for number, image in enumerate(flat)])
    from sslbolts.transforms import MultiView, View

    views = MultiView((View(32), View(16)), normalize=False)  # crops and flips of one-colored images change nothing
    data = DatasetDataModule(still, batch_size=8, views=views, num_workers=0, in_memory=in_memory)
    batch = next(iter(data.train_dataloader()))
    for view in batch.views:
        assert torch.allclose(view.mean((1, 2, 3)), batch.indices * 30 / 255, atol=1e-6)
    assert (batch.targets == 7 - batch.indices).all()


def test_splits_go_where_they_belong():
    parts = {name: TensorDataset(torch.zeros(n, 3, 32, 32), torch.arange(n)) for n, name in enumerate("abcd", start=8)}
    data = DatasetDataModule(
        parts["a"], val=parts["b"], test=parts["c"], bank=parts["d"], num_classes=11, num_workers=0, batch_size=8
    )
    sizes = [len(loader.dataset) for loader in (data.val_dataloader(), data.test_dataloader(), data.bank_dataloader())]
    assert (data.num_train_images, sizes) == (8, [9, 10, 11])
    alone = DatasetDataModule(parts["a"], num_workers=0)
    assert (alone.val_dataloader(), alone.test_dataloader()) == ([], [])
    assert len(alone.bank_dataloader().dataset) == 8


def test_number_of_classes_comes_from_the_argument_or_the_dataset():
    labeled = [(ARRAYS[0], 0)] * 4
    assert DatasetDataModule(Items(labeled), num_classes=5).num_classes == 5
    data = DatasetDataModule(Items(labeled, classes=["cat", "dog"]))
    assert (data.num_classes, data.class_names) == (2, ("cat", "dog"))
    with pytest.raises(UsageError, match="no num_classes: give num_classes="):
        DatasetDataModule(Items(labeled)).num_classes  # noqa: B018
    with pytest.raises(UsageError, match="no labeled training images for a bank"):
        DatasetDataModule(Items(ARRAYS)).bank_dataloader()


class Counted(Items):
    read = 0

    def __getitem__(self, index):
        self.read += 1
        return self.items[index]


@pytest.mark.parametrize(
    ("labels", "labeled"),
    [
        ([-1, -1, 2, -1], True),
        ([None, None, None, 1], True),
        ([torch.tensor(-1), np.int64(3)] * 2, True),
        ([-1, -1, -1, -1], False),
        ([None] * 4, False),
        ([np.str_("a word")] * 4, False),
    ],
)
def test_one_labeled_image_makes_a_labeled_dataset(labels, labeled):
    dataset = Counted([(ARRAYS[0], label) for label in labels])
    data = DatasetDataModule(dataset, num_classes=4, batch_size=2, num_workers=0)
    assert data.images("bank").labeled is labeled
    if labeled:
        targets = [batch[1] for batch in data.bank_dataloader()]
        assert torch.cat(targets).tolist() == [-1 if label is None else int(label) for label in labels]


@pytest.mark.parametrize(("attribute", "labels"), [("targets", [-1, 3] * 4), ("labels", np.array([-1, 3] * 4))])
def test_labels_that_a_dataset_lists_are_believed_unread(attribute, labels):
    dataset = Counted([(ARRAYS[0], label) for label in labels])
    setattr(dataset, attribute, labels)
    data = DatasetDataModule(dataset, image_size=32, num_classes=4)
    before = dataset.read
    assert data.images("bank").labeled
    assert dataset.read == before
    setattr(dataset, attribute, ["cat"] * 8)  # names, whose numbers are in the items
    assert DatasetDataModule(dataset, num_classes=4).images("bank").labeled


def test_image_size_is_that_of_small_square_images_and_else_224():
    for shape, size in (((32, 32), 32), ((96, 96), 96), ((97, 97), 224), ((32, 40), 224)):
        assert DatasetDataModule(Items([np.zeros((*shape, 3), np.uint8)])).image_size == size
    assert DatasetDataModule(Items(ARRAYS), image_size=48).image_size == 48


@pytest.mark.parametrize("workers", [0, 1])
def test_a_wrong_item_is_named_in_one_line(workers):
    items = [*ARRAYS[:5], torch.randn(3, 32, 32), *ARRAYS[6:]]
    data = DatasetDataModule(Items(items), batch_size=8, num_workers=workers)
    with pytest.raises(ImageError, match=r"^item 5 of the train dataset is not usable: .*\[0, 1\] or uint8.*\.$"):
        next(iter(data.train_dataloader()))


def test_images_of_several_sizes_cannot_be_held_as_one_tensor():
    data = DatasetDataModule(Items([*ARRAYS, pixels(30, 32, 0)]), in_memory=True)
    with pytest.raises(UsageError, match=r"item 8 .* \(3, 30, 32\), the first of \(3, 32, 32\)"):
        data.train_dataloader()


class Endless(IterableDataset):
    def __iter__(self):
        yield ARRAYS[0]


def test_a_dataset_without_length_is_refused():
    with pytest.raises(UsageError, match="train=Endless must be a map-style dataset"):
        DatasetDataModule(Endless())
    with pytest.raises(UsageError, match="val=int"):
        DatasetDataModule(Items(ARRAYS), val=3)


def test_an_empty_dataset_is_refused():
    with pytest.raises(UsageError, match='no images in its "train" split'):
        DatasetDataModule(Items([])).train_dataloader()
