"""Probes from start to end: trained, their learning rate chosen on held-out training images, and measured."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from sslbolts.checks import one_of
from sslbolts.data import SSLDataModule
from sslbolts.errors import UsageError
from sslbolts.evaluation.accuracy import auc_setting
from sslbolts.evaluation.encoder import Encoder
from sslbolts.evaluation.features import EncodedData, EvaluationData
from sslbolts.evaluation.labeled_crops import few_steps, labeled_crops
from sslbolts.evaluation.probes.linear import LinearProbe, MLPProbe, probe_views
from sslbolts.evaluation.probes.on_features import (
    HELD_OUT,
    MOST_HELD_OUT,
    NOTHING_HELD_OUT,
    crop_in_words,
    lr_origin,
    probe_on_features,
    settings_in_words,
)
from sslbolts.evaluation.probes.on_maps import Classifier, FrozenMap, MapProbe
from sslbolts.evaluation.probes.settings import ProbeSettings, probe_settings, with_own_lr
from sslbolts.evaluation.protocol_trainer import protocol_trainer, quiet
from sslbolts.evaluation.result import Result
from sslbolts.evaluation.splits import held_out, labeled_splits, training_targets
from sslbolts.training.undisturbed import isolated, seeded

__all__ = ["evaluate_linear", "evaluate_maps", "evaluate_mlp"]

On = Literal["auto", "images", "features"]
_NO_CROPS = "{} is no DataModule of sslbolts, whose images can be cropped and flipped: {}."


def evaluate_linear(
    encoder: Encoder,
    data: EvaluationData,
    *,
    test: EvaluationData | None = None,
    settings: str | ProbeSettings = "features",
    on: On = "auto",
    lr: float | Sequence[float] | None = None,
    seed: int = 0,
    cache: str | Path | None = None,
    trainer: dict[str, Any] | None = None,
    **changes: Any,
) -> Result:
    """A linear classifier on frozen features, by a paper's settings.

    Args:
        encoder: see :func:`sslbolts.evaluation.load_encoder`.
        data: a DataModule of sslbolts; on features also any other, or a dataset or loader that then needs ``test``.
        test: test images.
        settings: one of :data:`~sslbolts.evaluation.probes.settings.PROBE_SETTINGS`, or ProbeSettings of your own.
        on: "images", with the settings' random crops, by a Trainer; "features", computed once, without augmentation;
            "auto" is "features" for the settings "features", else "images".
        lr: in place of theirs, for 256 images per step; several are trained at once, and the best is chosen.
        seed: of what is drawn.
        cache: folder of features.
        trainer: further arguments of the Trainer, on images.
        **changes: other values in place of theirs, e.g. ``epochs=20``.

    Returns:
        Accuracy on the test images of the learning rate that is best on a tenth of the training images, held out of
        training; on features, after training again on all of them. On features of images of several classes it is the
        mean average precision, of classifiers trained by binary cross-entropy.

    Raises:
        UsageError: for unknown settings or values, or data without labels.
    """
    subject = EncodedData(encoder, data, test=test, cache=cache)
    return _evaluate("linear", LinearProbe, subject, probe_settings(settings, lr=lr, **changes), on, seed, trainer)


def evaluate_mlp(
    encoder: Encoder,
    data: EvaluationData,
    *,
    test: EvaluationData | None = None,
    settings: str | ProbeSettings = "amdim",
    hidden_dim: int = 1024,
    dropout: float = 0.2,
    on: On = "features",
    lr: float | Sequence[float] | None = None,
    seed: int = 0,
    cache: str | Path | None = None,
    trainer: dict[str, Any] | None = None,
    **changes: Any,
) -> Result:
    """A classifier with one hidden layer on frozen features; see :func:`evaluate_linear`.

    Args:
        encoder: see :func:`sslbolts.evaluation.load_encoder`.
        data: as of :func:`evaluate_linear`.
        test: test images.
        settings: one of :data:`~sslbolts.evaluation.probes.settings.PROBE_SETTINGS`, or ProbeSettings of your own.
        hidden_dim: width of the hidden layer.
        dropout: rate of dropout before both layers, in [0, 1).
        on: "images", with the settings' random crops, by a Trainer; "features", computed once, without augmentation;
            "auto" is "features" for the settings "features", else "images".
        lr: in place of theirs, for 256 images per step; several are trained at once, and the best is chosen.
        seed: of what is drawn.
        cache: folder of features.
        trainer: further arguments of the Trainer, on images.
        **changes: other values in place of theirs, e.g. ``epochs=20``.
    """
    make = partial(MLPProbe, hidden_dim=hidden_dim, dropout=dropout)
    subject = EncodedData(encoder, data, test=test, cache=cache)
    return _evaluate("mlp", make, subject, probe_settings(settings, lr=lr, **changes), on, seed, trainer)


def evaluate_maps(
    encoder: Encoder,
    data: EvaluationData,
    *,
    classifier: Classifier = "conv",
    hidden_dim: int | None = None,
    settings: str | ProbeSettings | None = None,
    lr: float | Sequence[float] | None = None,
    seed: int = 0,
    trainer: dict[str, Any] | None = None,
    **changes: Any,
) -> Result:
    """A classifier with layers of its own on a layer's frozen maps, trained on images: RotNet's probes on CIFAR-10.

    The maps are those of the encoder's layer; of "backbone" those of a pretext method's ``feature_layer``, or else of
    the last block.

    Args:
        encoder: see :func:`sslbolts.evaluation.load_encoder`.
        data: a DataModule of sslbolts with labels.
        classifier: "conv", a block of three convolutions and a linear classifier of its mean; "mlp", two hidden layers
            on the flattened map.
        hidden_dim: channels of the convolutions, or width of the hidden layers; None is RotNet's: 192, and 20 per class
            (at most 2,048).
        settings: one of :data:`~sslbolts.evaluation.probes.settings.PROBE_SETTINGS`, or ProbeSettings of your own; None
            is "rotnet_conv" or "rotnet_mlp".
        lr: in place of theirs, for 256 images per step; several are trained at once, and the best is chosen.
        seed: of what is drawn.
        trainer: further arguments of the Trainer.
        **changes: other values in place of theirs, e.g. ``epochs=20``.

    Returns:
        Accuracy on the test images; see :func:`evaluate_linear`.

    Raises:
        UsageError: for unknown settings or values, a layer without maps, or data without labels.
    """
    one_of(get_args(Classifier), classifier=classifier)
    subject = EncodedData(encoder, data)
    chosen = probe_settings(settings or f"rotnet_{classifier}", lr=lr, **changes)
    if not isinstance(subject.data, SSLDataModule):
        raise UsageError(_NO_CROPS.format(subject.name, "train MapProbe with a Trainer and your own loaders"))
    maps = FrozenMap(encoder, subject.data.image_size)

    def make(encoder: Encoder, num_classes: int, **options: Any) -> MapProbe:
        made_of = {"shape": maps.shape, "classifier": classifier, "hidden_dim": hidden_dim}
        return MapProbe(maps, num_classes, **made_of, **options)  # type: ignore[arg-type]

    return _on_images("maps", make, subject, chosen, seed, trainer or {})


def _evaluate(
    protocol: str,
    make: Callable[..., LinearProbe],
    subject: EncodedData,
    settings: ProbeSettings,
    on: str,
    seed: int,
    trainer: dict[str, Any] | None,
) -> Result:
    one_of(get_args(On), on=on)
    if on == "auto":
        on = "features" if settings.norm == "standardize" else "images"
    if on == "images":
        return _on_images(protocol, make, subject, settings, seed, trainer or {})
    splits = labeled_splits(subject, several=True)
    with isolated():
        probe = make(torch.nn.Identity(), splits.num_classes, width=splits.x.shape[1], settings=settings)
    found = probe_on_features(
        splits,
        settings,
        hidden_dim=probe.hidden_dim,
        dropout=probe.dropout,
        seed=seed,
        device=subject.encoder.device,
    )
    notes = [
        *subject.notes,
        "trained on features of whole images: without the crops and flips of the papers' protocols",
    ]
    if settings.norm != "standardize":  # a paper's, not the one made for features of a few thousand images, too
        notes += few_steps(len(splits.x), settings.batch_size)
    return subject.result(protocol, found.metrics, splits.settings | found.settings, found.rows, notes)


def _on_images(
    protocol: str,
    make: Callable[..., LinearProbe],
    subject: EncodedData,
    settings: ProbeSettings,
    seed: int,
    trainer: dict[str, Any],
) -> Result:
    encoder, data = subject.encoder, subject.data
    if not isinstance(data, SSLDataModule):
        other = 'evaluate on features, on="features", or train LinearProbe with a Trainer and your own loaders'
        raise UsageError(_NO_CROPS.format(subject.name, other))
    if settings.norm == "standardize":
        raise UsageError('norm="standardize" needs features that are computed once: on="features", or "batch_norm".')
    named = settings
    targets = training_targets(data)
    settings, held, chosen = _to_choose_on(settings, targets, seed)
    kept = ((targets >= 0) & ~held).nonzero().squeeze(1)
    images = labeled_crops(
        subject,
        seed=seed,
        view=probe_views(settings, data.image_size).views[0],
        rows=kept,
        held_out=held.nonzero().squeeze(1),
        batch_size=settings.batch_size,
    )
    validated = {"check_val_every_n_epoch": settings.epochs} if held.any() else {"limit_val_batches": 0}
    with quiet(), seeded(seed):
        probe = make(encoder, data.num_classes, settings=settings)
        fitter = protocol_trainer(encoder.device, **{"max_epochs": settings.epochs, **validated, **trainer})
        images.batch_size = batch_size = max(1, min(settings.batch_size, len(kept)) // max(1, fitter.num_devices))
        fitter.fit(probe, datamodule=images)
        on_val = {name: float(value) for name, value in fitter.callback_metrics.items()}
        lr = settings.lrs[probe.chosen_head]
        fitter.test(probe, datamodule=images, verbose=False)
    rows = []
    if held.any():
        rows = [{"lr": lr, "held-out top1": on_val[f"val/top1_lr{lr:g}"]} for lr in settings.lrs]
        most = 100 * max(row["held-out top1"] for row in rows)
        chosen = f"of {len(rows)} on {int(held.sum()):,} held-out training images ({most:.2f} % right)"
    metrics = {
        name.removeprefix("test/"): float(value) for name, value in fitter.callback_metrics.items() if "test/" in name
    }
    return subject.result(
        protocol,
        metrics,
        {
            "features": probe.features_in_words(encoder),
            "network": encoder.description,
            "preprocessing": subject.preprocessing,
            "images": f"{len(kept):,} labeled, under flips and random crops {crop_in_words(settings)}",
            **settings_in_words(named, probe.hidden_dim, probe.dropout, lr=lr, batch_size=batch_size),
            **probe.classifier_in_words(),
            "learning rate chosen": f"{chosen}; seed {seed}",
            **auc_setting(data.num_classes, there="auc" in metrics),
        },
        rows,
        [*subject.notes, *few_steps(len(kept), settings.batch_size)],
    )


def _to_choose_on(settings: ProbeSettings, targets: Tensor, seed: int) -> tuple[ProbeSettings, Tensor, str]:
    """The settings to train by, the training images ``(N,)`` bool that choose, and the learning rate's origin.

    Nothing is held out for a single learning rate. Where no class has two images, the settings' own is the only one.
    """
    held = held_out(targets, HELD_OUT, seed=seed, most=MOST_HELD_OUT) & (targets >= 0)
    if len(settings.lrs) == 1:
        return settings, torch.zeros_like(held), lr_origin(settings)
    if not held.any():
        return with_own_lr(settings), held, NOTHING_HELD_OUT
    return settings, held, lr_origin(settings)
