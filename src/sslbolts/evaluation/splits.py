"""The features that a protocol learns from and is measured on."""

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from sslbolts._lightning import LightningDataModule
from sslbolts.checks.multi_hot import has_label, is_one_hot
from sslbolts.data import SSLDataModule
from sslbolts.errors import UsageError
from sslbolts.evaluation.accuracy import auc_setting
from sslbolts.evaluation.features import EncodedData, Features, data_name, labeled_rows, refuse_several
from sslbolts.evaluation.loaders import has_loader

__all__ = ["Splits", "held_out", "labeled_splits", "training_targets"]


@dataclass(frozen=True)
class Splits:
    """Labeled features.

    Attributes:
        x: features ``(N, D)`` of the training images.
        y: their labels ``(N,)``; where images may show several classes ``(N, C)`` of 1, 0, and -1 for unknown.
        test_x: features ``(M, D)``.
        test_y: labels ``(M,)``, or ``(M, C)``.
        num_classes: number of classes.
        indices: rows of the training images in their data set ``(N,)``.
        settings: layer, preprocessing and images, for a result's settings.
    """

    x: Tensor
    y: Tensor
    test_x: Tensor
    test_y: Tensor
    num_classes: int
    indices: Tensor
    settings: dict[str, Any]

    @property
    def several(self) -> bool:
        """Whether an image may show several classes."""
        return self.y.ndim == 2


def labeled_splits(
    subject: EncodedData, *, train_split: str = "bank", test_split: str | None = None, several: bool = False
) -> Splits:
    """Features of labeled training images and of the images that decide.

    Where a DataModule of sslbolts was given ``labels_per_class`` or the like, other training images have no label here.

    Args:
        subject: a network on a DataModule, or on a dataset or loader of training images with test images beside it.
        train_split: "bank" or "train".
        test_split: "test" or "val"; None is "test" where a DataModule has such images.
        several: whether the protocol takes images of several classes. A DataModule declares them (``multi_label``); of
            other data rows of labels are several classes, unless each has a single 1: then they are class numbers. The
            settings say which.

    Raises:
        UsageError: if there are no labels, or no test images.

    Example:
        >>> from sslbolts.evaluation import load_encoder
        >>> dataset = torch.utils.data.TensorDataset(torch.rand(6, 3, 2, 2), torch.arange(6) % 3)
        >>> encoder = load_encoder(torch.nn.Flatten(), image_size=2, device="cpu")
        >>> splits = labeled_splits(EncodedData(encoder, dataset, test=dataset))
        >>> tuple(splits.x.shape), splits.num_classes
        ((6, 12), 3)
    """
    encoder, data = subject.encoder, subject.data
    tested = subject if subject.test is None else replace(subject, data=subject.test)
    if subject.test is None and not hasattr(data, "val_dataloader"):
        raise UsageError("a dataset of training images was given without test images: give test= as well.")
    where = ""
    if test_split is None:
        there = subject.test is not None or _has_test_images(data)
        test_split, where = ("test", "") if there else ("val", ", as there are no test images")
    if not several:
        refuse_several(data)
    train, few = _with_few_labels(subject.features(train_split), data)
    test = tested.features(test_split)
    several = several and _of_several(data, train.targets, test.targets)
    x, y = labeled_rows(train, what="training data", several=several)
    test_x, test_y = labeled_rows(test, what="test data", several=several)
    if several:
        num_classes = y.shape[1]
        form = _several_in_words(y, test_y)
    else:
        y, test_y, num_classes = _without_gaps(y, test_y)
        form = auc_setting(num_classes, there=bool((test_y != test_y[0]).any()))
        if train.targets.ndim == 2 or test.targets.ndim == 2:
            form |= {"labels": "rows with a single 1 each, read as class numbers"}
    return Splits(
        x=x,
        y=y,
        test_x=test_x,
        test_y=test_y,
        num_classes=num_classes,
        indices=train.indices[has_label(train.targets)],
        settings={
            "features": f"{x.shape[1]} of {encoder.feature_name}",
            "network": encoder.description,
            "preprocessing": subject.preprocessing,
            "images": f'{len(x):,} labeled of "{train_split}"{few}, judged on {len(test_x):,} of "{test_split}"{where}',
            **form,
        },
    )


def _of_several(data: Any, targets: Tensor, test_targets: Tensor) -> bool:
    """Whether labels are rows of several classes.

    Raises:
        UsageError: if only those of one split are, or rows have different lengths.
    """
    splits = (targets, test_targets)
    declared = getattr(data, "multi_label", None)
    rows = [labels for labels in splits if labels.ndim == 2]
    if not rows or (declared is None and all(is_one_hot(labels) for labels in rows)):
        return False
    if len(rows) == 1 or rows[0].shape[1] != rows[1].shape[1]:
        shapes = " and ".join(str(tuple(labels.shape)) for labels in splits)
        raise UsageError(f"labels of training and test images have the shapes {shapes}: both are (N, C) of one C.")
    return True


def _several_in_words(y: Tensor, test_y: Tensor) -> dict[str, str]:
    """What the labels are, and over which classes a mean goes, for a result's settings."""
    shown = int((test_y == 1).any(0).sum())
    if not shown or not bool((y == 1).any()):
        which = "test" if not shown else "training"
        raise UsageError(f"no {which} image shows any of the {y.shape[1]} classes: there is no average precision.")
    lacking = y.shape[1] - shown
    without = f"; {lacking} without any are left out" if lacking else ""
    mean = float((y == 1).sum(1).float().mean())
    return {
        "labels": f"rows of several classes, {mean:.3g} per training image",
        "classes": f"the mean is over {shown} classes that test images show{without}",
    }


def _without_gaps(y: Tensor, test_y: Tensor) -> tuple[Tensor, Tensor, int]:
    """Labels and the number of classes; where most numbers are of no image, each label becomes its rank."""
    classes = torch.unique(torch.cat([y, test_y]))
    count = int(classes[-1]) + 1
    if count <= 2 * len(classes):
        return y, test_y, count
    return torch.searchsorted(classes, y), torch.searchsorted(classes, test_y), len(classes)


def _has_test_images(data: Any) -> bool:
    if isinstance(data, SSLDataModule):
        data.prepare_data()
        data.setup()
        return data.has_images("test")
    return has_loader(data, "test_dataloader") if isinstance(data, LightningDataModule) else True


def _with_few_labels(found: Features, data: Any) -> tuple[Features, str]:
    """The features, labeled as a DataModule says that was given ``labels_per_class`` or the like; and that in words."""
    if not isinstance(data, SSLDataModule) or not data.kept_labels:
        return found, ""
    unlabeled = training_targets(data)[found.indices] < 0
    return found._replace(targets=found.targets.masked_fill(unlabeled, -1)), f", {data.kept_labels.words}"


def training_targets(data: SSLDataModule) -> Tensor:
    """Labels ``(N,)`` of the images of the bank, -1 where there is none.

    Args:
        data: whose images; where it was given ``labels_per_class`` or the like, the others count as unlabeled.

    Raises:
        UsageError: if no image has a label.
    """
    refuse_several(data)
    data.prepare_data()
    data.setup()
    targets = data.targets("bank") if data.has_images("bank") else torch.empty(0)
    if not (targets >= 0).any():
        raise UsageError(f"no training image of {data_name(data)} has a label, and this protocol needs them.")
    return targets


def held_out(targets: Tensor, share: float, *, seed: int, most: int | None = None) -> Tensor:
    """Rows to choose hyper-parameters on: ``share`` of every class, at least one of each that has two.

    Args:
        targets: labels ``(N,)``; of rows ``(N, C)`` of several classes a share of all images is drawn.
        share: in (0, 1).
        seed: of the draw.
        most: upper bound of their number, by a smaller share of every class.

    Returns:
        ``(N,)`` bool.

    Example:
        >>> held_out(torch.arange(40) % 2, 0.25, seed=0).sum().item()
        10
    """
    if most is not None:
        share = min(share, most / max(1, len(targets)))
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.zeros(len(targets), dtype=torch.bool)
    if targets.ndim == 2:
        count = min(max(1, round(share * len(targets))), len(targets) - 1)
        chosen[torch.randperm(len(targets), generator=generator)[:count]] = True
        return chosen
    for label in sorted(set(targets.tolist())):
        rows = (targets == label).nonzero().squeeze(1)
        count = min(max(1, round(share * len(rows))), len(rows) - 1)
        chosen[rows[torch.randperm(len(rows), generator=generator)[:count]]] = True
    return chosen
