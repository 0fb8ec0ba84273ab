"""Transfer: the table of many data sets, by logistic regression on frozen features or by fine-tuning."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from sslbolts.checks import whole
from sslbolts.errors import UsageError
from sslbolts.evaluation.accuracy import NoNumber
from sslbolts.evaluation.encoder import Encoder
from sslbolts.evaluation.features import features_of, size_notes
from sslbolts.evaluation.fine_tuning.settings import FineTuneSettings
from sslbolts.evaluation.identity import identity_of
from sslbolts.evaluation.result import Result
from sslbolts.evaluation.transfer.images import PreparedImages
from sslbolts.evaluation.transfer.linear import PENALTIES, score_transfer
from sslbolts.evaluation.transfer.sets import TRANSFER_SETS, Splits, TransferSet, classes_of, transfer_set
from sslbolts.evaluation.transfer.tuned import FineTuned
from sslbolts.progress import late_bar
from sslbolts.training.seeds import mix

__all__ = ["evaluate_transfer"]

_OF_AUC = (
    "auc: area under the ROC curve, of the second of two classes; of several labels per image the mean over those that "
    "some of the images have and some have not."
)


def evaluate_transfer(
    encoder: Encoder,
    datasets: Sequence[str] | Sequence[TransferSet] = ("all",),
    *,
    root: str | Path = "data",
    download: bool = False,
    image_size: int | None = None,
    normalize: str = "auto",
    penalties: Sequence[float] = PENALTIES,
    cache: str | Path | None = None,
    batch_size: int | None = None,
    num_workers: int = 0,
    seed: int = 0,
    fine_tune: bool = False,
    supervised: str | None = None,
    settings: str | FineTuneSettings | None = None,
    lr: float | Sequence[float] | None = None,
    epochs: int | None = None,
    steps: int | None = None,
) -> Result:
    """The transfer table of an encoder. Data that is not there is skipped and named, and the others are measured.

    By logistic regression on frozen features; or by fine-tuning, beside the same network drawn anew and, where one is
    named, a supervised network, which are trained alike.

    Args:
        encoder: see :func:`sslbolts.evaluation.load_encoder`.
        datasets: of :data:`~sslbolts.evaluation.transfer.sets.TRANSFER_SETS`, by name, or "all" of them; and
            ``folder:NAME`` or ``folder:NAME:METRIC``, for ``NAME/train/CLASS/*.jpg`` and ``NAME/test/CLASS/*.jpg``,
            with top1, mean_per_class, or auc of two classes. In Python also sets of your own.
        root: folder that holds the data sets, laid out as torchvision does.
        download: fetch what is not there.
        image_size: side of the images, pixels; None is that of the network's training, or 224 (the paper's) where this
            is not known.
        normalize: "auto" is as in training where this is known, else "imagenet", by its mean and deviation; or "none".
        penalties: see :func:`~sslbolts.evaluation.transfer.linear.score_transfer`.
        cache: folder that keeps features.
        batch_size: images at a time, of fine-tuning images per step; None is 64, and there the settings' (256).
        num_workers: processes that read images.
        seed: of what is drawn where a data set has no splits of its own, and of all that fine-tuning draws.
        fine_tune: train the whole network on every data set, in place of a classifier on its features; also the same
            network from random weights.
        supervised: of fine-tuning, ``timm/NAME`` or ``torchvision/NAME``, whose supervised weights are fine-tuned, too.
        settings: of fine-tuning, one of :data:`~sslbolts.evaluation.fine_tuning.settings.FINE_TUNE_SETTINGS`; None is
            "simclr".
        lr: of fine-tuning, in place of theirs; of several, the best on the validation images is taken.
        epochs: of fine-tuning, in place of theirs.
        steps: of fine-tuning, optimizer steps in place of epochs (the paper's are 20,000).

    Returns:
        One row per data set; ``metrics`` has ``NAME/METRIC`` of each, in [0, 1], and in fine-tuning ``NAME/Random
        init/METRIC`` and ``NAME/supervised/METRIC``.

    Raises:
        UsageError: for an unknown name, a size below 1, what is of fine-tuning without it, or if none of the data sets
            is there.

    Source: Chen et al., A Simple Framework for Contrastive Learning of Visual Representations, ICML 2020,
    arXiv:2002.05709, appendix B.8; Kornblith et al., Do Better ImageNet Models Transfer Better?, CVPR 2019,
    arXiv:1805.08974.
    """
    chosen = _chosen(datasets)
    whole(image_size=image_size, batch_size=batch_size)
    whole(0, num_workers=num_workers)
    common: dict[str, Any] = {
        "size": image_size or encoder.preprocessing.image_size or 224,
        "normalize": normalize,
        "batch_size": batch_size,
        "num_workers": num_workers,
    }
    tuning: dict[str, Any] = {
        "supervised": supervised,
        "settings": settings,
        "lr": lr,
        "epochs": epochs,
        "steps": steps,
    }
    _check_tuning(tuning, fine_tune=fine_tune, cache=cache)
    protocol: _Linear | _Tuned
    if fine_tune:
        protocol = _Tuned(FineTuned(encoder, **tuning, **common, seed=seed))
    else:
        protocol = _Linear(encoder, penalties=penalties, cache=cache, **common)
    table = _Table(protocol)
    for entry in late_bar(chosen, "Transfer"):
        try:
            splits = entry.load(str(root), download, mix(seed))
        except UsageError as missing:
            table.notes.append(f"{entry.name} was skipped: {missing}")
            continue
        table.add(entry, splits)
    rows = table.rows
    if not rows:
        raise UsageError(f"none of the data sets is there. {' '.join(table.notes)}")
    return Result(
        protocol=protocol.name,
        source=encoder.source,
        data=rows[0]["data"] if len(rows) == 1 else f"{len(rows)} data sets",
        metrics=table.metrics,
        settings={
            "data": {"folder": os.path.abspath(root), **identity_of(table.images, [])},
            **protocol.stated(),
            "seed": seed,
            "splits": {entry.name: entry.splits for entry in chosen if entry.name in {row["data"] for row in rows}},
        },
        rows=rows,
        notes=[*protocol.notes, *table.notes, *([_OF_AUC] if any(row["metric"] == "auc" for row in rows) else [])],
    )


def _check_tuning(tuning: dict[str, Any], *, fine_tune: bool, cache: str | Path | None) -> None:
    """Refuse what is of fine-tuning without it, and a cache with it."""
    given = [name for name, value in tuning.items() if value is not None]
    if given and not fine_tune:
        raise UsageError(f"{given[0]}={tuning[given[0]]} is of fine-tuning: give fine_tune=True (--fine-tune) as well.")
    if fine_tune and cache is not None:
        raise UsageError("cache keeps features, and fine-tuning uses none: leave it out.")


def _chosen(names: Sequence[str] | Sequence[TransferSet]) -> list[TransferSet]:
    if [name.lower() for name in names if isinstance(name, str)] == ["all"]:
        return list(TRANSFER_SETS.values())
    entries = [transfer_set(name) if isinstance(name, str) else name for name in names]
    return list({(entry.name, entry.metric): entry for entry in entries}.values())


class _Found(NamedTuple):
    """The numbers of a data set, and its columns in the table."""

    metrics: dict[str, float]
    columns: dict[str, Any]


class _Linear:
    """Logistic regression on frozen features."""

    name = "transfer"

    def __init__(
        self,
        encoder: Encoder,
        *,
        penalties: Sequence[float],
        cache: str | Path | None,
        size: int,
        normalize: str,
        batch_size: int | None,
        num_workers: int,
    ) -> None:
        self.encoder = encoder
        self.penalties = penalties
        self.size = size
        self.mean, self.std, self.whose = encoder.normalization(normalize)
        self.reading: dict[str, Any] = {"cache": cache, "batch_size": batch_size or 64, "num_workers": num_workers}
        self.notes = [
            "published: SimCLR's ResNet-50 on ImageNet (1000 epochs), Chen et al. 2020, arXiv:2002.05709, appendix "
            "B.8; not measured here.",
            *size_notes(encoder, size),
        ]

    def prepared(self, images: Any) -> PreparedImages:
        chans = self.encoder.preprocessing.in_chans
        return PreparedImages(images, size=self.size, in_chans=chans, mean=self.mean, std=self.std)

    def measured(self, entry: TransferSet, splits: Splits, prepared: Sequence[PreparedImages], classes: int) -> _Found:
        found = [self._features(images, entry, part) for part, images in zip(Splits._fields, prepared)]
        score = score_transfer(*found, metric=entry.metric, num_classes=classes, penalties=self.penalties)
        columns = {
            "%": round(100 * score.test, 2),
            "SimCLR ResNet-50, published": "none" if entry.published is None else entry.published,
            "validation %": round(100 * score.val, 2),
            "l2": score.penalty,
        }
        return _Found({f"{entry.name}/{entry.metric}": score.test}, columns)

    def _features(self, images: PreparedImages, entry: TransferSet, part: str) -> Any:
        try:
            found = features_of(self.encoder, images, "bank" if part == "train" else part, **self.reading)
        except OSError as error:
            raise UsageError(f"an image of {entry.name} ({part}) cannot be read: {error}.") from error
        return found.features.to(self.encoder.device), found.targets.to(self.encoder.device)

    def stated(self) -> dict[str, Any]:
        penalties = self.penalties
        return {
            "features": self.encoder.feature_name,
            "network": self.encoder.description,
            "preprocessing": f"shorter side {self.size} bicubic, center crop {self.size}, {self.whose}",
            "classifier": "logistic regression by L-BFGS, no augmentation; minimized is the summed cross-entropy + "
            "l2/2 |W|^2",
            "l2": f"of {len(penalties)} values, {min(penalties):g} to {max(penalties):g}: the best on the validation "
            "images (the larger one on a tie), then trained on training and validation images",
        }


class _Tuned:
    """Fine-tuning, beside its baselines."""

    name = "transfer-finetune"

    def __init__(self, trainer: FineTuned) -> None:
        self.trainer = trainer
        self.encoder = trainer.networks[""]
        baselines = [name for name in trainer.networks if name]
        said = [f"{' and '.join(baselines)}: measured here, trained by the same settings."] if baselines else []
        self.notes = [*said, *trainer.notes]
        self.stated = trainer.stated

    def prepared(self, images: Any) -> PreparedImages:
        return self.trainer.prepared(self.encoder, images)

    def measured(self, entry: TransferSet, splits: Splits, prepared: Sequence[PreparedImages], classes: int) -> _Found:
        found = self.trainer.measured(entry, splits, classes)
        metrics = {
            "/".join(filter(None, (entry.name, name, entry.metric))): score.test for name, score in found.items()
        }
        published = "none" if entry.published_tuned is None else entry.published_tuned
        return _Found(metrics, {**self.trainer.columns(found), "SimCLR ResNet-50, published": published})


@dataclass
class _Table:
    """The rows of the data sets so far.

    Attributes:
        protocol: how they are measured.
        rows: one per data set that has a number.
        metrics: ``NAME/METRIC`` of each.
        images: theirs, by data set and split.
        notes: sentences on data sets without number, or of another number of classes.
    """

    protocol: _Linear | _Tuned
    rows: list[dict[str, Any]] = field(default_factory=list)
    metrics: dict[str, float] = field(default_factory=dict)
    images: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def add(self, entry: TransferSet, splits: Splits) -> None:
        """Measure a data set; one that has no number is noted."""
        prepared = [self.protocol.prepared(images) for images in splits]
        classes = classes_of(entry, splits)
        if entry.num_classes not in (None, classes):
            self.notes.append(f"{entry.name} has {classes} classes here, of {entry.num_classes}.")
        try:
            found = self.protocol.measured(entry, splits, prepared, classes)
        except NoNumber as error:
            self.notes.append(f"{entry.name} has no number: {error}")
            return
        self.images |= {f"{entry.name} {part}": images for part, images in zip(Splits._fields, prepared)}
        self.metrics |= found.metrics
        sizes = dict(zip(Splits._fields, map(len, prepared)))
        self.rows.append({"data": entry.name, "metric": entry.metric, **found.columns, **sizes})
