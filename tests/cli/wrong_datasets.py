"""Wrong uses of weights, labels and streams."""

import torch
from torch import nn
from torch.utils.data import IterableDataset

from sslbolts.data import CIFAR10MiniDataModule, DatasetDataModule, ImageFolderDataModule, StreamDataModule
from sslbolts.evaluation import evaluate_finetune, load_encoder
from tests.cli.wrong import SIMCLR, Wrong

_FOLDER = [*SIMCLR, "--data=ImageFolder", "--data.image_size=32"]
_IMAGE = torch.zeros(3, 8, 8)


class _Stream(IterableDataset[object]):
    def __iter__(self) -> object:
        yield from [(_IMAGE, 0)] * 8


def _first(data: StreamDataModule) -> object:
    return next(iter(data.train_dataloader()))


WRONG_DATASETS = [
    Wrong(
        "a sampling that there is not",
        [*SIMCLR, "--data.sampling=balancd"],
        'sampling="balancd": it is "balanced", or a list of weights.',
        lambda files: CIFAR10MiniDataModule(sampling="balancd"),
    ),
    Wrong(
        "a negative weight of a class",
        [*SIMCLR, "--data.sampling=[1, -1]"],
        "sampling has the weight -1",
        lambda files: CIFAR10MiniDataModule(sampling=[1, -1]),
    ),
    Wrong(
        "weights of three classes for ten",
        [*SIMCLR, "--data.sampling=[1, 2, 3]"],
        "sampling has 3 weights: give one for each of 5,000 training images, or one for each of 10 classes.",
        lambda files: CIFAR10MiniDataModule(sampling=[1, 2, 3], batch_size=8, num_workers=0).train_dataloader(),
    ),
    Wrong(
        "weights and a number of labeled images",
        [*SIMCLR, "--data.sampling=balanced", "--data.labeled_batch_size=2"],
        "sampling= and labeled_batch_size= both say which images a batch holds",
        lambda files: CIFAR10MiniDataModule(sampling="balanced", labeled_batch_size=2),
    ),
    Wrong(
        "classes of a folder without classes drawn evenly",
        [*_FOLDER, "--data.root={files}/flat", "--data.sampling=balanced"],
        "sampling= by class needs labels, and no training image has one",
        lambda files: ImageFolderDataModule(
            str(files / "flat"), sampling="balanced", batch_size=8, num_workers=0
        ).train_dataloader(),
    ),
    Wrong(
        "two weights of one root",
        [*_FOLDER, "--data.root={files}/flat", "--data.root_weights=[1, 2]"],
        "root_weights has 2 weights for 1 roots: give one for each.",
        lambda files: ImageFolderDataModule(str(files / "flat"), root_weights=[1, 2]),
    ),
    Wrong(
        "roots that are never drawn",
        [*_FOLDER, "--data.root={files}/flat", "--data.root_weights=[0]"],
        "root_weights has no weight above 0",
        lambda files: ImageFolderDataModule(str(files / "flat"), root_weights=[0]),
    ),
]

WRONG_DATASETS_IN_PYTHON = {
    "a stream where rows are needed": (
        lambda: DatasetDataModule(_Stream()),
        "must be a map-style dataset, with __len__ and __getitem__. StreamDataModule takes a stream",
    ),
    "a list for a stream": (
        lambda: StreamDataModule([_IMAGE], epoch_images=1),  # type: ignore[arg-type]
        "train=list must be an IterableDataset, a stream without row numbers: DatasetDataModule is for it",
    ),
    "a stream of unknown length": (
        lambda: StreamDataModule(_Stream()),
        "train=_Stream has no length: give epoch_images=",
    ),
    "fewer images than a batch": (
        lambda: _first(StreamDataModule(_Stream(), epoch_images=8, batch_size=16, num_workers=0)),
        "epoch_images=8, but one batch takes 16",
    ),
    "rows of a stream": (
        lambda: StreamDataModule(_Stream(), epoch_images=8, labels_fraction=0.5),
        "labels_fraction= chooses rows, and a stream has none",
    ),
    "another way to resume": (
        lambda: StreamDataModule(_Stream(), epoch_images=8, resume="exakt"),
        'Did you mean "exact"',
    ),
    "a division that there is not": (
        lambda: StreamDataModule(_Stream(), epoch_images=8, split_by="item"),  # type: ignore[arg-type]
        'Did you mean "items"',
    ),
    "batches that are not full": (
        lambda: StreamDataModule(_Stream(), epoch_images=8, drop_last=False),
        "all batches of a stream are full",
    ),
    "no image under the name": (
        lambda: DatasetDataModule([{"photo": _IMAGE}]),
        "has photo, and none of image, img, jpg, jpeg, png, webp: give image_key=.",
    ),
    "several classes of an image": (
        lambda: DatasetDataModule([(_IMAGE, torch.tensor([1, 1, 0]))] * 2, num_classes=3).targets("train"),
        "several classes of one image are declared, by multi_label=True",
    ),
    "class numbers where several classes are declared": (
        lambda: DatasetDataModule([(_IMAGE, 3)] * 2, num_classes=5, multi_label=True).targets("train"),
        "3 is no row of several classes: with multi_label=True a label is 5 numbers",
    ),
    "a row of several classes that is too short": (
        lambda: DatasetDataModule([(_IMAGE, [1, 0])] * 2, num_classes=5, multi_label=True).targets("train"),
        "[1, 0] is no row of several classes",
    ),
    "shares of several classes": (
        lambda: DatasetDataModule([(_IMAGE, [0.2, 0.8])] * 2, multi_label=True).targets("train"),
        "hold the number 0.2",
    ),
    "labels per class where an image has several": (
        lambda: DatasetDataModule([(_IMAGE, [1, 0])] * 2, multi_label=True, labels_per_class=1),
        "labels_per_class= goes by the one class of an image",
    ),
    "balanced sampling where an image has several classes": (
        lambda: DatasetDataModule([(_IMAGE, [1, 0])] * 2, multi_label=True, sampling="balanced"),
        "sampling= goes by the one class of an image",
    ),
    "a stream of several classes without their number": (
        lambda: StreamDataModule(_Stream(), epoch_images=8, multi_label=True),
        "multi_label=True of a stream needs num_classes=",
    ),
    "fine-tuning on several classes": (
        lambda: evaluate_finetune(
            load_encoder(nn.Flatten(), image_size=8, device="cpu"),
            DatasetDataModule([(_IMAGE, [1, 0])] * 2, val=[(_IMAGE, [1, 0])] * 2, multi_label=True),
        ),
        "one label per image, but DatasetDataModule has multi_label=True: its labels are rows (N, 2)",
    ),
}
