"""The public face of a DataModule: its images and labels, and the same settings over others, whoever wrote `load`."""

from dataclasses import dataclass

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from sslbolts import UsageError
from sslbolts.data import DatasetDataModule, ImageFolderDataModule, SSLDataModule, TensorImages
from sslbolts.data.images import chosen
from sslbolts.evaluation import evaluate_few_label, evaluate_linear, load_encoder
from tests.data.helpers import epoch, small, write_folder

GENERATOR = torch.Generator().manual_seed(0)
PIXELS = torch.randint(0, 256, (24, 3, 8, 8), dtype=torch.uint8, generator=GENERATOR)
LABELS = torch.arange(24) % 3


@dataclass
class OneByOne:
    """Images that hold no labels beside them, and say which were read."""

    rows: range
    in_chans: int = 3
    labeled: bool = True

    def __post_init__(self):
        self.read_rows = []

    def __len__(self):
        return len(self.rows)

    def read(self, index):
        self.read_rows.append(index)
        return PIXELS[self.rows[index]], int(LABELS[self.rows[index]])


class OnlyLoad(SSLDataModule):
    """What a user writes."""

    native_size = 8
    class_names = ("a", "b", "c")
    rows = {"train": range(12), "bank": range(12), "test": range(12, 24)}

    def __init__(self, *args, in_memory=True, **common):
        super().__init__(*args, **common)
        self.in_memory = in_memory
        self.loaded = []

    def load(self, split):
        self.loaded.append(split)
        if split not in self.rows:
            return None
        rows = self.rows[split]
        return TensorImages(PIXELS[rows], LABELS[rows]) if self.in_memory else OneByOne(rows)


def only_load(**settings):
    return OnlyLoad(**{"batch_size": 4, "num_workers": 0, "seed": 0} | settings)


@pytest.mark.parametrize("in_memory", [True, False])
def test_images_and_labels_of_a_module_that_only_loads(in_memory):
    data = only_load(in_memory=in_memory)
    assert [data.has_images(split) for split in ("train", "val", "test", "bank")] == [True, False, True, True]
    assert torch.equal(data.images("test").read(3)[0], PIXELS[15])
    assert data.targets("bank").tolist() == LABELS[:12].tolist()
    assert data.loaded == ["train", "val", "test", "bank"], "each is loaded once"
    with pytest.raises(UsageError, match='OnlyLoad has no images for "val"'):
        data.images("val")


def test_labels_that_are_held_are_had_without_reading_an_image(tmp_path):
    data = small(write_folder(tmp_path))
    data.images("train").read = None  # whoever calls it fails
    assert data.targets("train").tolist() == [0] * 6 + [1] * 6


def test_few_labels_are_the_labels_of_training_images_only():
    data = only_load(labels_per_class=2)
    kept = data.targets("bank")
    assert torch.bincount(kept[kept >= 0]).tolist() == [2, 2, 2]
    assert torch.equal(kept[kept >= 0], LABELS[:12][kept >= 0])
    assert torch.equal(kept, data.targets("train"))
    assert data.targets("test").tolist() == LABELS[12:].tolist()


@pytest.mark.parametrize("in_memory", [True, False])
def test_other_images_under_the_same_settings(in_memory):
    data = only_load(in_memory=in_memory, labels_per_class=2 if in_memory else None, views="byol")
    before = data.targets("train")
    rows = torch.tensor([7, 1, 4, 10])
    other = data.with_images(train=chosen(data.images("train"), rows), val=data.images("test"))
    assert (other.num_train_images, data.num_train_images) == (4, 12)
    assert other.targets("train").tolist() == LABELS[rows].tolist(), "all labels of the images that were given"
    assert other.images("test") is data.images("test")
    assert type(other) is OnlyLoad
    assert other.views == data.views
    assert not data.has_images("val")
    assert torch.equal(data.targets("train"), before)
    (batch,) = epoch(other)
    assert sorted(batch.targets.tolist()) == sorted(LABELS[rows].tolist())


def test_a_copy_does_not_disturb_the_run_of_the_first():
    data = only_load(labels_per_class=1)
    loader = data.train_dataloader()
    other = data.with_images(train=TensorImages(PIXELS[:8], LABELS[:8]))
    epoch(other)
    batches = [data.on_after_batch_transfer(batch, 0) for batch in loader]
    assert sum(int((batch.targets >= 0).sum()) for batch in batches) == 3
    assert len(batches) == 3


def test_images_that_do_not_fit_are_refused():
    data = only_load()
    for images, message in (
        ({"train": TensorImages(PIXELS[:, :1])}, "images of 1 channels, but in_chans=3"),
        ({"train": TensorImages(PIXELS[:0])}, 'no images in its "train" split'),
        ({"tarin": TensorImages(PIXELS)}, 'split="tarin": it must be one of train, val, test, bank'),
    ):
        with pytest.raises(UsageError, match=message):
            data.with_images(**images)


def test_an_evaluation_loader_of_every_split():
    data = only_load(eval_batch_size=5)
    for split, first in (("train", 0), ("test", 12)):
        images, targets, indices = (torch.cat(part) for part in zip(*data.evaluation_dataloader(split)))
        assert torch.equal(images, PIXELS[first : first + 12])
        assert torch.equal(targets, LABELS[first : first + 12])
        assert indices.tolist() == list(range(12))
    with pytest.raises(UsageError, match='no images for "val"'):
        data.evaluation_dataloader("val")


@pytest.mark.parametrize("in_memory", [True, False])
def test_protocols_take_a_module_that_only_loads(in_memory):
    encoder = load_encoder(nn.Flatten(), image_size=8, device="cpu")
    data = only_load(in_memory=in_memory)
    quiet = {"enable_progress_bar": False}
    images = evaluate_linear(encoder, data, settings="byol", epochs=1, batch_size=4, trainer=quiet)
    few = evaluate_few_label(encoder, data, per_class=2)
    assert images.settings["images"].startswith("9 labeled")
    assert few.settings["images"] == "labeled ones of 12, judged on 12"


def test_files_that_cannot_be_read_are_left_out_of_a_part_too(tmp_path):
    write_folder(tmp_path)
    (tmp_path / "cat" / "0.png").write_bytes(b"no image")
    data = ImageFolderDataModule(str(tmp_path), image_size=8, num_workers=0, in_memory=False, on_bad_image="skip")
    part = data.with_images(val=chosen(data.images("train"), torch.tensor([0, 1, 11])))
    loader = part.val_dataloader()
    assert loader.dataset.leaves_out
    assert [indices.tolist() for _, _, indices in loader] == [[1, 2]]


def test_a_dataset_without_listed_labels_is_read_for_them():
    dataset = TensorDataset(PIXELS, LABELS)
    assert DatasetDataModule(dataset, num_classes=3).targets("train").tolist() == LABELS.tolist()


def test_a_checkpoint_holds_no_arguments_of_a_data_module():
    with pytest.raises(UsageError, match=r"no checkpoint holds the arguments of DatasetDataModule: .* config\.yaml"):
        DatasetDataModule.load_from_checkpoint("last.ckpt")
