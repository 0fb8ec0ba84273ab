"""Transfer: logistic regression on frozen features of many data sets, as SimCLR's table has it."""

import os
from collections.abc import Sequence, Sized
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor
from torch.utils.data import Dataset

from sslbolts.checks import whole
from sslbolts.data.decode import ImageError, strict_pillow
from sslbolts.errors import UsageError
from sslbolts.evaluation.encoder import Encoder
from sslbolts.evaluation.features import features_of, size_notes
from sslbolts.evaluation.identity import identity_of
from sslbolts.evaluation.result import Result
from sslbolts.evaluation.transfer.metrics import measure
from sslbolts.evaluation.transfer.sets import Splits, TransferSet, transfer_set
from sslbolts.progress import late_bar
from sslbolts.readouts.logistic import fit_logistic
from sslbolts.training.seeds import mix

__all__ = ["PENALTIES", "PreparedImages", "TransferScore", "evaluate_transfer", "score_transfer"]

PENALTIES = tuple(float(value) for value in torch.logspace(-6, 5, 45, dtype=torch.float64))
"""The 45 penalties of the paper, from 1e-6 to 1e5, evenly spaced in their logarithm."""


class TransferScore(NamedTuple):
    """The measures of the classifier of a data set.

    Attributes:
        test: the metric on the test images, after training on training and validation images.
        val: on the validation images, after training on the training images.
        penalty: `λ`, chosen by ``val``; the larger one on a tie.
    """

    test: float
    val: float
    penalty: float


def score_transfer(
    train: tuple[Tensor, Tensor],
    val: tuple[Tensor, Tensor],
    test: tuple[Tensor, Tensor],
    *,
    metric: str,
    num_classes: int,
    penalties: Sequence[float] = PENALTIES,
    max_iter: int = 200,
) -> TransferScore:
    """Fits with every penalty, chooses on the validation images, fits again on all, and measures once.

    Args:
        train, val, test: features ``(N, D)`` and labels ``(N,)``, or ``(N, C)`` of images with several.
        metric: "top1", "mean_per_class" or "map_11point".
        num_classes: number of classes.
        penalties: candidates for the l2 penalty, see :func:`sslbolts.readouts.logistic.fit_logistic`.
        max_iter: L-BFGS steps of each fit.

    Source: Chen et al., SimCLR, ICML 2020, arXiv:2002.05709, appendix B.8.

    Example:
        >>> x = torch.randn(90, 4, generator=torch.Generator().manual_seed(0))
        >>> thirds = [(part, (part[:, 0] > 0).long()) for part in x.split(30)]
        >>> score_transfer(*thirds, metric="top1", num_classes=2, penalties=[1.0, 100.0]).test > 0.8
        True
    """
    candidates = sorted(penalties, reverse=True)
    fits = fit_logistic(*train, candidates, num_classes=num_classes, max_iter=max_iter)
    on_val = [measure(metric, fit.scores(val[0]), val[1].to(val[0].device)) for fit in fits]
    best = on_val.index(max(on_val))
    features, targets = torch.cat([train[0], val[0]]), torch.cat([train[1], val[1]])
    (final,) = fit_logistic(features, targets, [candidates[best]], num_classes=num_classes, max_iter=max_iter)
    on_test = measure(metric, final.scores(test[0]), test[1].to(test[0].device))
    return TransferScore(on_test, on_val[best], candidates[best])


class PreparedImages(Dataset[Any]):
    """A data set's PIL images as the network wants them: shorter side resized (bicubic), center cut out, normalized.

    Args:
        dataset: map-style, ``(PIL image, label)``. Of a file of several frames it gives the first, and an alpha channel
            is left out, as in the published protocol.
        size: side of the square, pixels.
        resize: shorter side before it is cut out; None is ``size``.
        in_chans: 1 or 3 channels.
        mean: per channel, in [0, 1]; None does not normalize.
        std: per channel.
    """

    def __init__(
        self,
        dataset: Dataset[Any],
        *,
        size: int,
        resize: int | None = None,
        in_chans: int = 3,
        mean: Any = None,
        std: Any = None,
    ) -> None:
        from torchvision.transforms import v2

        self.dataset = dataset
        self._mode = "L" if in_chans == 1 else "RGB"
        steps: list[Any] = [
            v2.Resize(resize or size, interpolation=v2.InterpolationMode.BICUBIC, antialias=True),
            v2.CenterCrop(size),
            v2.PILToTensor(),
            v2.ToDtype(torch.float32, scale=True),
        ]
        self._prepare = v2.Compose([*steps, v2.Normalize(list(mean), list(std))] if mean is not None else steps)

    def __len__(self) -> int:
        return len(cast(Sized, self.dataset))

    def __getitem__(self, index: int) -> tuple[Tensor, Any]:
        try:
            with strict_pillow():
                image, label = self.dataset[index]
        except (OSError, SyntaxError, ValueError) as error:
            raise ImageError(f"image {index} of {type(self.dataset).__name__} cannot be read: {error}") from error
        return self._prepare(image.convert(self._mode)), label


def evaluate_transfer(
    encoder: Encoder,
    datasets: Sequence[str] = ("all",),
    *,
    root: str | Path = "data",
    download: bool = False,
    image_size: int | None = None,
    normalize: str = "auto",
    penalties: Sequence[float] = PENALTIES,
    cache: str | Path | None = None,
    batch_size: int = 64,
    num_workers: int = 0,
    seed: int = 0,
) -> Result:
    """The transfer table of an encoder. Data that is not there is skipped and named, and the others are measured.

    Args:
        encoder: see :func:`sslbolts.evaluation.load_encoder`.
        datasets: of :data:`~sslbolts.evaluation.transfer.sets.TRANSFER_SETS`, by name, or "all" of them.
        root: folder that holds the data sets, laid out as torchvision does.
        download: fetch what is not there.
        image_size: side of the images, pixels; None is that of the network's training, or 224 (the paper's) where this
            is not known.
        normalize: "auto" is as in training where this is known, else "imagenet", by its mean and deviation; or "none".
        penalties: see :func:`score_transfer`.
        cache: folder that keeps features.
        batch_size: images at a time.
        num_workers: processes that read images.
        seed: of what is drawn where a data set has no splits of its own.

    Returns:
        One row per data set; ``metrics`` has ``NAME/METRIC`` of each, in [0, 1].

    Raises:
        UsageError: for an unknown name, a size below 1, or if none of the data sets is there.

    Source: Chen et al., A Simple Framework for Contrastive Learning of Visual Representations, ICML 2020,
    arXiv:2002.05709, appendix B.8; Kornblith et al., Do Better ImageNet Models Transfer Better?, CVPR 2019,
    arXiv:1805.08974.
    """
    chosen = _chosen(datasets)
    whole(image_size=image_size, batch_size=batch_size)
    whole(0, num_workers=num_workers)
    size = image_size or encoder.preprocessing.image_size or 224
    mean, std, whose = encoder.normalization(normalize)
    rows: list[dict[str, Any]] = []
    metrics: dict[str, float] = {}
    notes: list[str] = []
    judged: dict[str, Any] = {}
    for entry in late_bar(chosen, "Transfer"):
        try:
            splits = entry.load(str(root), download, mix(seed))
        except UsageError as missing:
            notes.append(f"{entry.name} was skipped: {missing}")
            continue
        prepared = [
            PreparedImages(s, size=size, in_chans=encoder.preprocessing.in_chans, mean=mean, std=std) for s in splits
        ]
        found = [
            _features(encoder, images, entry, part, cache=cache, batch_size=batch_size, num_workers=num_workers)
            for part, images in zip(Splits._fields, prepared)
        ]
        score = score_transfer(*found, metric=entry.metric, num_classes=entry.num_classes, penalties=penalties)
        judged |= {f"{entry.name} {part}": images for part, images in zip(Splits._fields, prepared)}
        metrics[f"{entry.name}/{entry.metric}"] = score.test
        rows.append(_row(entry, score, [len(images) for images in prepared]))
    if not rows:
        raise UsageError(f"none of the data sets is there. {' '.join(notes)}")
    return Result(
        protocol="transfer",
        source=encoder.source,
        data=rows[0]["data"] if len(rows) == 1 else f"{len(rows)} data sets",
        metrics=metrics,
        settings={
            "data": {"folder": os.path.abspath(root), **identity_of(judged, [])},
            "features": encoder.feature_name,
            "network": encoder.description,
            "preprocessing": f"shorter side {size} bicubic, center crop {size}, {whose}",
            "classifier": "logistic regression by L-BFGS, no augmentation; minimized is the summed cross-entropy + "
            "l2/2 |W|^2",
            "l2": f"of {len(penalties)} values, {min(penalties):g} to {max(penalties):g}: the best on the validation "
            "images (the larger one on a tie), then trained on training and validation images",
            "seed": seed,
            "splits": {entry.name: entry.splits for entry in chosen if entry.name in {row["data"] for row in rows}},
        },
        rows=rows,
        notes=[
            "published: SimCLR's ResNet-50 on ImageNet (1000 epochs), Chen et al. 2020, arXiv:2002.05709, appendix "
            "B.8; not measured here.",
            *size_notes(encoder, size),
            *notes,
        ],
    )


def _chosen(names: Sequence[str]) -> list[TransferSet]:
    from sslbolts.evaluation.transfer.sets import TRANSFER_SETS

    if [name.lower() for name in names] == ["all"]:
        return list(TRANSFER_SETS.values())
    return list(dict.fromkeys(transfer_set(name) for name in names))


def _features(encoder: Encoder, images: PreparedImages, entry: TransferSet, part: str, **settings: Any) -> Any:
    name = f"{entry.name} ({part})"
    try:
        found = features_of(encoder, images, "bank" if part == "train" else part, **settings)
    except OSError as error:
        raise UsageError(f"an image of {name} cannot be read: {error}.") from error
    return found.features.to(encoder.device), found.targets.to(encoder.device)


def _row(entry: TransferSet, score: TransferScore, sizes: list[int]) -> dict[str, Any]:
    return {
        "data": entry.name,
        "metric": entry.metric,
        "%": round(100 * score.test, 2),
        "SimCLR ResNet-50, published": "none" if entry.published is None else entry.published,
        "validation %": round(100 * score.val, 2),
        "l2": score.penalty,
        "train": sizes[0],
        "val": sizes[1],
        "test": sizes[2],
    }
