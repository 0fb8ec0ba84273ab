"""The data sets of transfer tables, of torchvision or of a folder, split and measured as the field does."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import Dataset, Subset

from sslbolts.checks import one_of
from sslbolts.data.torchvision_sets import check_files, has_folder
from sslbolts.errors import UsageError, did_you_mean, first_line
from sslbolts.evaluation.transfer.folders import FolderImages, folder_images
from sslbolts.training.seeds import generator

__all__ = ["TRANSFER_SETS", "VOC_CLASSES", "Splits", "TransferSet", "classes_of", "transfer_set", "voc_labels"]

_HELD_OUT = 0.2  # of the training images, where a set has no validation images of its own

VOC_CLASSES = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable", "dog",
    "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip
"""The twenty classes of PASCAL VOC, in the order of their labels."""


class Splits(NamedTuple):
    """A data set's images ``(PIL image, label)``, as they are stored.

    Attributes:
        train: to fit on.
        val: to choose the penalty on.
        test: for the number.
    """

    train: Dataset[Any]
    val: Dataset[Any]
    test: Dataset[Any]


@dataclass(frozen=True)
class TransferSet:
    """A data set of the table.

    Attributes:
        name: on the command line.
        metric: see :func:`sslbolts.evaluation.transfer.metrics.measure`.
        num_classes: number of classes; None is as many as the folder has.
        splits: which images are for what, in words.
        load: makes the splits of ``(root, download, seed)``.
        published: percent that SimCLR's ResNet-50 reached in linear evaluation; None where the paper has no number.
        published_tuned: the same in fine-tuning; None where no number is at hand.
    """

    name: str
    metric: str
    num_classes: int | None
    splits: str
    load: Callable[[str, bool, int], Splits]
    published: float | None = None
    published_tuned: float | None = None


def _build(name: str, root: str, download: bool, **arguments: Any) -> Any:
    """A data set of torchvision.

    Raises:
        UsageError: if it is not there and cannot be had, whatever the reason.
    """
    from torchvision import datasets

    constructor = getattr(datasets, name)
    check_files(name, root)
    try:
        if not download and not has_folder(name, root):
            raise FileNotFoundError(root)
        return constructor(root, download=False, **arguments)
    except ImportError as error:
        raise UsageError(f"torchvision's {name} needs another package: {error}. pip install scipy.") from error
    except (OSError, RuntimeError, ValueError) as missing:  # "Dataset not found", or some of its files
        if not download:
            raise UsageError(
                f'it is not in "{root}", or incomplete; download=True (--download) fetches it.'
            ) from missing
    try:
        return constructor(root, download=True, **arguments)
    except (ImportError, OSError, RuntimeError, ValueError) as error:
        reason = first_line(error)[:200]
        raise UsageError(f'it is not in "{root}" and cannot be downloaded ({reason}).') from error


def _with_own_splits(name: str, splits: tuple[str, str, str] = ("train", "val", "test"), **arguments: Any) -> Any:
    """For a set that has training, validation and test images."""

    def load(root: str, download: bool, seed: int) -> Splits:
        return Splits(*(_build(name, root, download, split=split, **arguments) for split in splits))

    return load


def _with_held_out(name: str, train: dict[str, Any], test: dict[str, Any]) -> Any:
    """For a set that has training and test images."""

    def load(root: str, download: bool, seed: int) -> Splits:
        whole = _build(name, root, download, **train)
        kept, held_out = _hold_out(_labels(whole), seed)
        return Splits(Subset(whole, kept), Subset(whole, held_out), _build(name, root, download, **test))

    return load


def _with_drawn_splits(name: str, per_class: int, most_test: int | None, **arguments: Any) -> Any:
    """For a set that has one pile of images: so many of each class to train on, and the rest (or some) to test."""

    def load(root: str, download: bool, seed: int) -> Splits:
        whole = _build(name, root, download, **arguments)
        # Its files are in the order of the disk, and what is drawn must not follow that.
        files = getattr(whole, "_image_files", None) or [""] * len(whole)
        order = sorted(range(len(files)), key=lambda row: str(files[row]))
        labels = _labels(whole)[order]
        train, test = [], []
        for label in torch.unique(labels).tolist():
            rows = _shuffled(labels, label, seed)
            train += rows[:per_class]
            test += rows[per_class:][:most_test]
        kept, held_out = _hold_out(labels[train], seed)
        return Splits(
            Subset(whole, [order[train[row]] for row in kept]),
            Subset(whole, [order[train[row]] for row in held_out]),
            Subset(whole, [order[row] for row in sorted(test)]),
        )

    return load


def _from_folder(name: str, metric: str = "") -> Any:
    """For a folder of training and test images."""

    def load(root: str, download: bool, seed: int) -> Splits:
        whole, test = folder_images(root, name)
        if metric == "auc" and len(whole.classes) != 2:
            raise UsageError(f'"{name}" has {len(whole.classes)} classes, and auc is of two.')
        kept, held_out = _hold_out(whole.targets, seed)
        if not held_out:
            raise UsageError(f'no class of "{name}" has three training images, of which one could be held out.')
        return Splits(Subset(whole, kept), Subset(whole, held_out), test)

    return load


def _voc(root: str, download: bool, seed: int) -> Splits:
    def part(split: str) -> Any:
        return _build("VOCDetection", root, download, year="2007", image_set=split, target_transform=voc_labels)

    return Splits(part("train"), part("val"), part("test"))


def voc_labels(annotation: Mapping[str, Any], classes: Sequence[str] = VOC_CLASSES) -> Tensor:
    """Labels ``(C,)`` of an image of VOC: 1 yes, 0 no, -1 where all its objects of the class are difficult.

    Args:
        annotation: as ``VOCDetection`` gives it.
        classes: names in the order of the labels.

    Example:
        >>> cat, dog = {"name": "cat", "difficult": "0"}, {"name": "dog", "difficult": "1"}
        >>> voc_labels({"annotation": {"object": [cat, dog]}}, ("cat", "dog", "cow")).tolist()
        [1, -1, 0]
    """
    labels = torch.zeros(len(classes), dtype=torch.int64)
    for item in annotation["annotation"].get("object", []):
        row = classes.index(item["name"])
        if item.get("difficult", "0") != "1":
            labels[row] = 1
        elif labels[row] == 0:
            labels[row] = -1
    return labels


def _labels(dataset: Any) -> Tensor:
    """Labels of all images, under the names by which torchvision's classes have them."""
    for name in ("targets", "labels", "_labels", "y"):
        if (found := getattr(dataset, name, None)) is not None:
            return torch.as_tensor(found)
    return torch.tensor([label for _, label in getattr(dataset, "_samples", ())])


def _hold_out(labels: Tensor, seed: int) -> tuple[list[int], list[int]]:
    """Rows to keep, and a fifth of each class to hold out."""
    held_out: list[int] = []
    for label in torch.unique(labels).tolist():
        rows = _shuffled(labels, label, seed)
        held_out += rows[: round(_HELD_OUT * len(rows))]
    chosen = set(held_out)
    return [row for row in range(len(labels)) if row not in chosen], sorted(held_out)


def _shuffled(labels: Tensor, label: int, seed: int) -> list[int]:
    rows = (labels == label).nonzero().squeeze(1)
    shuffled: list[int] = rows[torch.randperm(len(rows), generator=generator(seed, label))].tolist()
    return shuffled


_FIFTH = "a fifth of the training images, drawn per class, is the validation"
_OWN = "its own training, validation and test images"
_TRAIN, _TEST = {"split": "train"}, {"split": "test"}

TRANSFER_SETS: Mapping[str, TransferSet] = MappingProxyType(
    {
        entry.name: entry
        for entry in (
            TransferSet("Food101", "top1", 101, _FIFTH, _with_held_out("Food101", _TRAIN, _TEST), 68.4),
            TransferSet(
                "CIFAR10", "top1", 10, _FIFTH, _with_held_out("CIFAR10", {"train": True}, {"train": False}), 90.6
            ),
            TransferSet(
                "CIFAR100", "top1", 100, _FIFTH, _with_held_out("CIFAR100", {"train": True}, {"train": False}), 71.6
            ),
            TransferSet(
                "Birdsnap",
                "top1",
                500,
                f"of the folder birdsnap: train/CLASS/*.jpg and test/CLASS/*.jpg; {_FIFTH}",
                _from_folder("birdsnap"),
            ),
            TransferSet(
                "SUN397",
                "top1",
                397,
                f"50 training and 50 test images of each class, drawn (not the paper's first split); {_FIFTH}",
                _with_drawn_splits("SUN397", 50, 50),
                58.8,
            ),
            TransferSet("StanfordCars", "top1", 196, _FIFTH, _with_held_out("StanfordCars", _TRAIN, _TEST), 50.3),
            TransferSet("FGVCAircraft", "mean_per_class", 100, _OWN, _with_own_splits("FGVCAircraft"), 50.3),
            TransferSet(
                "VOC2007",
                "map_11point",
                20,
                f"{_OWN}; several labels per image, and objects marked difficult count neither way",
                _voc,
                80.5,
            ),
            TransferSet("DTD", "top1", 47, f"{_OWN}, first of ten splits", _with_own_splits("DTD"), 74.5),
            TransferSet(
                "OxfordIIITPet",
                "mean_per_class",
                37,
                _FIFTH,
                _with_held_out("OxfordIIITPet", {"split": "trainval"}, _TEST),
                83.6,
            ),
            TransferSet(
                "Caltech101",
                "mean_per_class",
                101,
                f"30 training images of each class, drawn, and the others to test (without the background); {_FIFTH}",
                _with_drawn_splits("Caltech101", 30, None),
                90.3,
            ),
            TransferSet("Flowers102", "mean_per_class", 102, _OWN, _with_own_splits("Flowers102"), 91.2),
            TransferSet("STL10", "top1", 10, _FIFTH, _with_held_out("STL10", _TRAIN, _TEST)),
        )
    }
)
"""Data sets by name. Published are the numbers of SimCLR's ResNet-50 in linear evaluation, Chen et al. 2020,
arXiv:2002.05709, appendix B.8. Birdsnap is not among torchvision's data sets: it is read from the folder ``birdsnap``,
``birdsnap/train/CLASS/*.jpg`` and ``birdsnap/test/CLASS/*.jpg``."""

_FOLDER = "folder:"
_OF_FOLDERS = ("top1", "mean_per_class", "auc")  # measures of one label per image


def transfer_set(name: str) -> TransferSet:
    """A data set by name, in any case; or a folder of yours.

    Args:
        name: of :data:`TRANSFER_SETS`; or ``folder:NAME`` for the images ``NAME/train/CLASS/*.jpg`` and
            ``NAME/test/CLASS/*.jpg``, measured by "top1", or else as ``folder:NAME:METRIC`` says: "mean_per_class", or
            "auc" of two classes, of which the second in the order of their names is looked for.

    Raises:
        UsageError: for an unknown name.

    Example:
        >>> transfer_set("dtd").num_classes, transfer_set("folder:birds:mean_per_class").metric
        (47, 'mean_per_class')
    """
    if name.startswith(_FOLDER):
        folder, _, metric = name.removeprefix(_FOLDER).partition(":")
        if not folder:
            raise UsageError(f'"{name}" names no folder: give {_FOLDER}NAME.')
        one_of(_OF_FOLDERS, metric=metric or "top1")
        words = f"of the folder's train and test; {_FIFTH}"
        return TransferSet(f"{_FOLDER}{folder}", metric or "top1", None, words, _from_folder(folder, metric))
    by_lower = {known.lower(): known for known in TRANSFER_SETS}
    if name.lower() not in by_lower:
        raise UsageError(
            f'there is no transfer data set "{name}".{did_you_mean(name, TRANSFER_SETS)} It is one of '
            f"{', '.join(TRANSFER_SETS)}, or {_FOLDER}NAME."
        )
    return TRANSFER_SETS[by_lower[name.lower()]]


def classes_of(entry: TransferSet, splits: Splits) -> int:
    """Number of classes: of a folder, as many as it has.

    Args:
        entry: the data set.
        splits: its images.

    Raises:
        UsageError: if neither says it.
    """
    if isinstance(splits.test, FolderImages):
        return len(splits.test.classes)
    if entry.num_classes is None:
        raise UsageError(f"{entry.name} does not say its num_classes: give the number.")
    return entry.num_classes
