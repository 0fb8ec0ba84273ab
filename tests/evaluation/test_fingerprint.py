"""A fingerprint follows every image that a data set holds or names."""

import os

import numpy as np
import torch
from PIL import Image
from torch.utils.data import ConcatDataset, Dataset, Subset, TensorDataset

from sslbolts.data import CIFAR10MiniDataModule, DatasetDataModule, ImageFolderDataModule
from sslbolts.evaluation.fingerprint import fingerprint


class Held(Dataset):
    """Images in an attribute, and an item made of each."""

    def __init__(self, images, item=lambda image: image):
        self.images = images
        self.item = item

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        return self.item(self.images[index]), index % 3


def _images(count=600):
    return torch.randint(0, 256, (count, 3, 4, 4), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


def _changed(images):
    """One image is another, and not one of those that come first, last or at round numbers."""
    changed = images.copy() if isinstance(images, np.ndarray) else images.clone()
    changed[517] = 255 - changed[517]
    return changed


def test_one_changed_image_in_memory_is_seen_through_every_wrapper():
    first, again, other = _images(), _images(), _changed(_images())
    wrappers = {
        "tensors": TensorDataset,
        "subset": lambda images: Subset(TensorDataset(images), range(600)),
        "parts": lambda images: ConcatDataset([TensorDataset(images[:300]), TensorDataset(images[300:])]),
        "module": lambda images: DatasetDataModule(Held(images), num_classes=3).bank_dataloader().dataset,
        "held": lambda images: DatasetDataModule(Held(images), num_classes=3, in_memory=True).bank_dataloader().dataset,
        "arrays": lambda images: Held(images.numpy()),
        "list of arrays": lambda images: Held(list(images.numpy())),
        "pillow": lambda images: Held([Image.fromarray(i.permute(1, 2, 0).numpy()) for i in images]),
    }
    for name, wrap in wrappers.items():
        found = fingerprint(wrap(first))
        assert found is not None
        assert found == fingerprint(wrap(again)), name
        assert found != fingerprint(wrap(other)), name


def test_a_fork_and_this_process_find_the_same(monkeypatch):
    dataset = Held(_images(40), lambda image: image.flip(2))
    found = []
    for forks in (True, False):
        monkeypatch.setattr("sslbolts.data.apart.are_forked", lambda forks=forks: forks)
        found.append(fingerprint(dataset))
    assert found[0] == found[1] is not None


def test_another_choice_of_the_same_images_is_another_data_set():
    images = TensorDataset(_images())
    rows = list(range(0, 600, 2))
    swapped = [*rows[:7], rows[8], rows[7], *rows[9:]]
    assert fingerprint(Subset(images, rows)) != fingerprint(Subset(images, swapped))


def test_a_transform_is_seen_in_what_comes_out():
    images = _images(40)
    assert fingerprint(Held(images, lambda image: image)) != fingerprint(Held(images, lambda image: image.flip(2)))


def test_arrays_count_whole_where_their_text_is_abbreviated():
    first = np.zeros((2, 50, 50), dtype=np.uint8)
    other = first.copy()
    other[:, 25, 25] = 1
    assert str(first[0]) == str(other[0])  # what numpy prints of both

    class Made(Dataset):
        """Images that no attribute holds."""

        def __init__(self, make):
            self.make = lambda index: make[index]

        def __len__(self):
            return 2

        def __getitem__(self, index):
            return self.make(index), 0

    assert fingerprint(Made(first)) == fingerprint(Made(first.copy())) != fingerprint(Made(other))
    images = [[Image.fromarray(image) for image in part] for part in (first, first.copy(), other)]
    one, again, changed = (fingerprint(Made(part)) for part in images)
    assert one == again != changed


def test_a_file_that_was_written_again_is_seen(tmp_path):
    for number in range(80):
        folder = tmp_path / f"class{number % 2}"
        folder.mkdir(exist_ok=True)
        Image.new("RGB", (8, 8), (number, 0, 0)).save(folder / f"{number:02}.png")

    def found():
        return fingerprint(ImageFolderDataModule(str(tmp_path), image_size=8, num_workers=0).bank_dataloader().dataset)

    before = found()
    assert before is not None
    assert before == found()
    (tmp_path / "notes").mkdir()
    assert before == found(), "a folder's own time says nothing of its images"
    changed = tmp_path / "class1" / "37.png"
    when = changed.stat()
    Image.new("RGB", (8, 8), (0, 200, 99)).save(changed)
    os.utime(changed, ns=(when.st_atime_ns, when.st_mtime_ns + 1_000_000))
    assert before != found()


def test_packaged_images_have_one():
    train, again = (CIFAR10MiniDataModule().bank_dataloader().dataset for _ in range(2))
    assert fingerprint(train) == fingerprint(again) != fingerprint(CIFAR10MiniDataModule().val_dataloader().dataset)


def test_what_cannot_be_told_has_none():
    class Odd(Dataset):
        def __len__(self):
            return 3

        def __getitem__(self, index):
            return object()

    assert fingerprint(Odd()) is None


def test_files_of_a_folder_count_one_by_one_wherever_it_is_named_from(tmp_path, monkeypatch):
    """Also those of which no item is looked at, and however often they have been read."""
    monkeypatch.chdir(tmp_path)
    for number in range(80):
        path = tmp_path / "day" / f"class{number % 2}" / f"{number:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4), (number, 0, 0)).save(path)
    (tmp_path / "day" / "class0" / "00.png").write_text("no picture")

    def known(root):
        data = ImageFolderDataModule(root, in_memory=False, on_bad_image="skip", image_size=8)
        loader = data.evaluation_dataloader("train")
        found = fingerprint(loader.dataset)
        list(loader)
        assert fingerprint(loader.dataset) == found
        return found

    before = known("day")
    assert known(str(tmp_path / "day")) == before
    Image.new("RGB", (4, 4), (255, 255, 255)).save(tmp_path / "day" / "class1" / "63.png")
    assert known("day") != before
