"""What a protocol on frozen features learns from and is judged on."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sslbolts._lightning import LightningDataModule
from sslbolts.data import SSLDataModule
from sslbolts.errors import UsageError
from sslbolts.evaluation.encoder import Encoder
from sslbolts.evaluation.features import (
    EvaluationData,
    Features,
    data_name,
    features_of,
    has_loader,
    labelled_rows,
    preprocessing,
    size_notes,
)
from sslbolts.evaluation.result import Result
from sslbolts.progress import late_bar
from sslbolts.readouts import class_accuracies, confusion_matrix

__all__ = ["Splits", "accuracies", "held_out", "labelled_splits", "result_of", "training_targets"]

_TOP5_FROM = 6  # classes


@dataclass(frozen=True)
class Splits:
    """Labelled features.

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


def labelled_splits(
    encoder: Encoder,
    data: EvaluationData,
    *,
    test: EvaluationData | None = None,
    train_split: str = "bank",
    test_split: str | None = None,
    cache: str | Path | None = None,
) -> Splits:
    """Features of labelled training images and of the images that decide.

    Args:
        encoder: see :func:`sslbolts.evaluation.load_encoder`.
        data: a DataModule, or a dataset or loader of training images, which then needs ``test``.
        test: a dataset or loader of test images, where ``data`` is no DataModule.
        train_split: "bank" or "train".
        test_split: "test" or "val"; None is "test" where a DataModule has such images.
        cache: see :func:`~sslbolts.evaluation.features.features_of`.

    Where a DataModule of sslbolts was given ``labels_per_class``, the other training images have no label here either.

    Raises:
        UsageError: if there are no labels, or no test images.

    Example:
        >>> from sslbolts.evaluation import load_encoder
        >>> dataset = torch.utils.data.TensorDataset(torch.rand(6, 3, 2, 2), torch.arange(6) % 3)
        >>> encoder = load_encoder(torch.nn.Flatten(), image_size=2, device="cpu")
        >>> splits = labelled_splits(encoder, dataset, test=dataset)
        >>> tuple(splits.x.shape), splits.num_classes
        ((6, 12), 3)
    """
    if test is None and not hasattr(data, "val_dataloader"):
        raise UsageError("a dataset of training images was given without test images: give test= as well.")
    where = ""
    if test_split is None:
        there = test is not None or _has_test_images(data)
        test_split, where = ("test", "") if there else ("val", ", as there are no test images")
    train, few = _with_few_labels(features_of(encoder, data, train_split, cache=cache), data)
    judged = features_of(encoder, data if test is None else test, test_split, cache=cache)
    x, y = labelled_rows(train, what="training data")
    test_x, test_y = labelled_rows(judged, what="test data")
    return Splits(
        x=x,
        y=y,
        test_x=test_x,
        test_y=test_y,
        num_classes=int(max(y.max(), test_y.max())) + 1,
        indices=train.indices[train.targets >= 0],
        settings={
            "features": f"{x.shape[1]} of {encoder.feature_name}",
            "network": encoder.description,
            "preprocessing": preprocessing(encoder, data),
            "images": f'{len(x):,} labelled of "{train_split}"{few}, '
            f'judged on {len(test_x):,} of "{test_split}"{where}',
        },
    )


def _has_test_images(data: Any) -> bool:
    if isinstance(data, SSLDataModule):
        data.prepare_data()
        data.setup()
        return data._loaded("test") is not None
    return has_loader(data, "test_dataloader") if isinstance(data, LightningDataModule) else True


def _with_few_labels(found: Features, data: Any) -> tuple[Features, str]:
    """The features, labelled as a DataModule says with ``labels_per_class``; and that in words."""
    count = data.labels_per_class if isinstance(data, SSLDataModule) else None
    if count is None:
        return found, ""
    unlabelled = training_targets(data)[found.indices] < 0
    return found._replace(targets=found.targets.masked_fill(unlabelled, -1)), f", {count} of each class"


def result_of(
    protocol: str,
    encoder: Encoder,
    data: EvaluationData,
    splits: Splits,
    found: tuple[dict[str, float], dict[str, Any], list[dict[str, Any]]],
) -> Result:
    """What a protocol on features found, with where the features are from.

    Args:
        protocol: its name.
        encoder: whose features.
        data: of which images.
        splits: the features.
        found: metrics, settings and rows.
    """
    metrics, settings, rows = found
    return Result(
        protocol,
        encoder.source,
        data_name(data),
        metrics,
        {**splits.settings, **settings},
        rows,
        size_notes(encoder, data.image_size if isinstance(data, SSLDataModule) else None),
    )


def accuracies(scores: Tensor, targets: Tensor) -> dict[str, float]:
    """Shares of right answers: ``top1``, ``top5`` (from six classes on) and the mean of the classes' own shares.

    Args:
        scores: ``(N, C)``; the largest predicts.
        targets: labels ``(N,)``, at least one.

    Example:
        >>> accuracies(torch.eye(3)[[0, 1, 1, 1]], torch.tensor([0, 1, 1, 2]))
        {'top1': 0.75, 'mean_per_class': 0.6666666666666666}
    """
    targets = targets.to(scores.device)
    found = {"top1": (scores.argmax(1) == targets).double().mean().item()}
    if scores.shape[1] >= _TOP5_FROM:
        found["top5"] = (scores.topk(5).indices == targets[:, None]).any(1).double().mean().item()
    shares = class_accuracies(confusion_matrix(scores, targets, num_classes=max(2, scores.shape[1])))
    found["mean_per_class"] = shares[shares.isfinite()].mean().item()
    return found


def training_targets(data: SSLDataModule) -> Tensor:
    """Labels ``(N,)`` of the images of the bank, -1 where there is none; images are read where nothing else tells.

    Args:
        data: whose images; where it was given ``labels_per_class``, the others count as unlabelled.

    Raises:
        UsageError: if no image has a label.

    Example:
        >>> from sslbolts.data import CIFAR10MiniDataModule
        >>> training_targets(CIFAR10MiniDataModule()).bincount().tolist()
        [500, 500, 500, 500, 500, 500, 500, 500, 500, 500]
    """
    data.prepare_data()
    data.setup()
    images: Any = data._loaded("bank")
    targets = None if images is None else data._kept_labels(images)
    if targets is None:
        targets = getattr(images, "targets", None)
    if targets is None:
        rows = late_bar(range(len(images or ())), "Labels")
        targets = torch.tensor([images.read(index)[1] for index in rows], dtype=torch.int64)
    targets = torch.as_tensor(targets)
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
