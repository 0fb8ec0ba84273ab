"""The features that a protocol learns from and is measured on."""

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from sslbolts._lightning import LightningDataModule
from sslbolts.data import SSLDataModule
from sslbolts.errors import UsageError
from sslbolts.evaluation.accuracy import auc_setting
from sslbolts.evaluation.features import EncodedData, Features, data_name, labeled_rows
from sslbolts.evaluation.loaders import has_loader

__all__ = ["Splits", "held_out", "labeled_splits", "training_targets"]


@dataclass(frozen=True)
class Splits:
    """Labeled features.

    Attributes:
        x: features ``(N, D)`` of the training images.
        y: their labels ``(N,)``.
        test_x: features ``(M, D)``.
        test_y: labels ``(M,)``.
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


def labeled_splits(subject: EncodedData, *, train_split: str = "bank", test_split: str | None = None) -> Splits:
    """Features of labeled training images and of the images that decide.

    Where a DataModule of sslbolts was given ``labels_per_class`` or the like, other training images have no label here.

    Args:
        subject: a network on a DataModule, or on a dataset or loader of training images with test images beside it.
        train_split: "bank" or "train".
        test_split: "test" or "val"; None is "test" where a DataModule has such images.

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
    train, few = _with_few_labels(subject.features(train_split), data)
    x, y = labeled_rows(train, what="training data")
    test_x, test_y = labeled_rows(tested.features(test_split), what="test data")
    y, test_y, num_classes = _without_gaps(y, test_y)
    return Splits(
        x=x,
        y=y,
        test_x=test_x,
        test_y=test_y,
        num_classes=num_classes,
        indices=train.indices[train.targets >= 0],
        settings={
            "features": f"{x.shape[1]} of {encoder.feature_name}",
            "network": encoder.description,
            "preprocessing": subject.preprocessing,
            "images": f'{len(x):,} labeled of "{train_split}"{few}, judged on {len(test_x):,} of "{test_split}"{where}',
            **auc_setting(num_classes, there=bool((test_y != test_y[0]).any())),
        },
    )


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
    data.prepare_data()
    data.setup()
    targets = data.targets("bank") if data.has_images("bank") else torch.empty(0)
    if not (targets >= 0).any():
        raise UsageError(f"no training image of {data_name(data)} has a label, and this protocol needs them.")
    return targets


def held_out(targets: Tensor, share: float, *, seed: int, most: int | None = None) -> Tensor:
    """Rows to choose hyper-parameters on: ``share`` of every class, at least one of each that has two.

    Args:
        targets: labels ``(N,)``.
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
    for label in sorted(set(targets.tolist())):
        rows = (targets == label).nonzero().squeeze(1)
        count = min(max(1, round(share * len(rows))), len(rows) - 1)
        chosen[rows[torch.randperm(len(rows), generator=generator)[:count]]] = True
    return chosen
