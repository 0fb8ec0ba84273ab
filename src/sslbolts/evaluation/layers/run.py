"""The layer protocol: one regression per block of a frozen network, and the table of their accuracies."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch

from sslbolts.checks import positive, whole
from sslbolts.data import SSLDataModule
from sslbolts.data.arguments import Split
from sslbolts.errors import UsageError
from sslbolts.evaluation.encoder import Encoder
from sslbolts.evaluation.features import EncodedData
from sslbolts.evaluation.initialization import Init, initialized
from sslbolts.evaluation.labeled_crops import decisive_split, labeled_crops
from sslbolts.evaluation.layers.maps import POOLED_VALUES, PooledMaps, fitting_groups
from sslbolts.evaluation.layers.probe import LAYER_LRS, LayerProbe
from sslbolts.evaluation.layers.stored import stored_loader
from sslbolts.evaluation.protocol_trainer import protocol_trainer, quiet
from sslbolts.evaluation.result import Result
from sslbolts.evaluation.splits import held_out, training_targets
from sslbolts.training.undisturbed import seeded

__all__ = ["evaluate_layers"]

_CHOSEN_ON = 0.1  # of the training images
_OWN_LR = 0.01  # of the paper, where nothing can be held out to choose on


@dataclass(frozen=True)
class _Settings:
    """How the regressions are trained and judged: the arguments of :func:`evaluate_layers`."""

    layers: Sequence[str] | None
    lrs: Sequence[float]
    epochs: int
    batch_size: int
    weight_decay: float
    values: int
    augment: bool
    memory: float
    devices: int
    precision: str
    seed: int
    progress: bool

    @property
    def own_lr(self) -> int:
        """Position of the learning rate to take where there is nothing to choose on."""
        return self.lrs.index(_OWN_LR) if _OWN_LR in self.lrs else 0


@dataclass(frozen=True)
class _Images:
    """The images of one network.

    Attributes:
        crops: a DataModule of them: its validation images are the training images that choose.
        trained: number of training images that the regressions learn from.
        chosen_on: number of training images that choose learning rates and layer; 0 where no class has two.
    """

    crops: SSLDataModule
    trained: int
    chosen_on: int

    @property
    def choosing(self) -> bool:
        return self.chosen_on > 0


def evaluate_layers(
    encoder: Encoder,
    data: Any,
    *,
    layers: Sequence[str] | None = None,
    lrs: Sequence[float] = LAYER_LRS,
    epochs: int = 28,
    batch_size: int = 256,
    weight_decay: float = 5e-4,
    values: int = POOLED_VALUES,
    augment: bool = False,
    memory: float = 8.0,
    devices: int = 1,
    precision: str = "32-true",
    baselines: Sequence[Init] = (),
    seed: int = 0,
    progress: bool = True,
) -> Result:
    """Logistic regression on every block, with the learning rates that are best on a tenth of the training images.

    Args:
        encoder: see :func:`sslbolts.evaluation.load_encoder`.
        data: a DataModule of sslbolts with labels.
        layers: names of submodules of the backbone; None is all blocks.
        lrs: learning rates for 256 images per step.
        epochs: passes over the training images, or over their maps.
        batch_size: images per device and step.
        weight_decay: of the weights.
        values: about how many numbers are kept of each map.
        augment: train on random crops and flips, as the papers do: the images pass the network in every epoch, once for
            all layers. Otherwise they pass it once in all, and their maps are kept in half precision.
        memory: GiB that the maps may take; layers that do not fit together are done one after the other, with a pass of
            the images for each group.
        devices: devices that train.
        precision: of the Trainer.
        baselines: "random", "rescaled" or both: rows of the same network with weights drawn anew; see
            :func:`~sslbolts.evaluation.initialization.initialized`.
        seed: of everything that is drawn.
        progress: show progress bars.

    Returns:
        A row per layer; ``metrics`` has ``LAYER/top1``, in [0, 1], the best layer's as ``top1`` first. Where no class
        has two labeled images to choose with, it is the last layer, and the learning rate the paper's, 0.01.

    Raises:
        UsageError: for layers without maps, data without labels, or several learning rates where there is nothing to
            choose on and the paper's is not among them.
    """
    settings = _Settings(
        layers=layers,
        lrs=lrs,
        epochs=epochs,
        batch_size=batch_size,
        weight_decay=weight_decay,
        values=values,
        augment=augment,
        memory=memory,
        devices=devices,
        precision=precision,
        seed=seed,
        progress=progress,
    )
    others = {init: initialized(encoder, init, data, seed=seed) for init in baselines}
    result = _evaluate(encoder, data, settings)
    if not others:
        return result
    metrics, stated = dict(result.metrics), dict(result.settings)
    rows = [{"network": encoder.name, **row} for row in result.rows]
    for init, other in others.items():
        found = _evaluate(other, data, settings)
        metrics |= {f"{init}/{name}": value for name, value in found.metrics.items()}
        rows += [{"network": init, **row} for row in found.rows]
    stated["baselines"] = {init: other.initialization for init, other in others.items()}
    return replace(result, metrics=metrics, settings=stated, rows=rows)


def _evaluate(encoder: Encoder, data: Any, settings: _Settings) -> Result:
    """The table of one network."""
    whole(epochs=settings.epochs, batch_size=settings.batch_size, values=settings.values)
    positive(memory=settings.memory)
    every = PooledMaps(encoder.network, encoder.backbone, settings.layers, values=settings.values)
    subject = EncodedData(encoder, data)
    images = _images(subject, settings)
    shapes = _shapes(every, encoder, images.crops.image_size)
    count = images.trained + images.chosen_on + len(images.crops.images("test"))
    together = list(range(len(shapes)))
    groups = [together] if settings.augment else fitting_groups([*map(_width, shapes)], count, settings.memory)

    rows: list[dict[str, Any]] = []
    for group in groups:
        layers = [every.layers[i] for i in group]
        maps = PooledMaps(encoder.network, encoder.backbone, layers, values=settings.values)
        rows += _trained_rows(maps, [shapes[i] for i in group], subject, images, settings)
    best = max(rows, key=lambda row: row["validation/top1"]) if images.choosing else rows[-1]
    return subject.result(
        "layers",
        metrics={"top1": best["top1"], **{f"{row['layer']}/top1": row["top1"] for row in rows}},
        settings=_in_words(subject, images, settings, passes=len(groups)),
        rows=rows,
    )


def _images(subject: EncodedData, settings: _Settings) -> _Images:
    """The images to train, choose and measure on.

    Raises:
        UsageError: for several learning rates and nothing to choose on.
    """
    targets = training_targets(subject.module)
    chosen_on = held_out(targets, _CHOSEN_ON, seed=settings.seed) & (targets >= 0)
    if not chosen_on.any() and len(settings.lrs) > 1 and _OWN_LR not in settings.lrs:
        given = list(settings.lrs)
        raise UsageError(f"no class has two labeled training images to choose one of lrs={given} on: give one.")
    rows = (~chosen_on & (targets >= 0)).nonzero().squeeze(1)
    crops = labeled_crops(
        subject,
        seed=settings.seed,
        rows=rows,
        held_out=chosen_on.nonzero().squeeze(1),
        batch_size=settings.batch_size * settings.devices,
    )
    crops.batch_size = crops.eval_batch_size = settings.batch_size
    return _Images(crops, len(rows), int(chosen_on.sum()))


def _trained_rows(
    maps: PooledMaps, shapes: Sequence[Any], subject: EncodedData, images: _Images, settings: _Settings
) -> list[dict[str, Any]]:
    """The rows of layers whose regressions are trained together."""
    lrs = settings.lrs
    with seeded(settings.seed):
        probe = LayerProbe(
            maps,
            subject.module.num_classes,
            widths=[*map(_width, shapes)],
            lrs=lrs,
            weight_decay=settings.weight_decay,
        )
        on_val, on_test = _train(probe, subject.encoder, images, settings)
    rows = []
    for number, (channels, height, width, side) in enumerate(shapes):
        best = max(range(len(lrs)), key=lambda lr: on_val[number][lr]) if images.choosing else settings.own_lr
        rows.append(
            {
                "layer": maps.layers[number],
                "top1": on_test[number][best],
                "map": f"{channels} x {height} x {width}",
                "pooled to": f"{channels} x {side} x {side} = {channels * side**2}",
                "lr": lrs[best],
                **({"validation/top1": on_val[number][best]} if images.choosing else {}),
            }
        )
    return rows


def _train(
    probe: LayerProbe, encoder: Encoder, images: _Images, settings: _Settings
) -> tuple[list[list[float]], list[list[float]]]:
    """Right answers ``(layers, learning rates)`` on held-out images where they choose, and on test images."""
    on_val: list[list[float]] = []
    with quiet():
        trainer = protocol_trainer(
            encoder.device,
            devices=settings.devices,
            precision=settings.precision,
            max_epochs=settings.epochs,
            limit_val_batches=0,
            enable_progress_bar=settings.progress,
        )
        loaded = _loaded(probe.maps, encoder, images, settings)
        trainer.fit(probe, loaded["train"])
        trainer.limit_val_batches = 1.0
        if images.choosing:
            trainer.validate(probe, loaded["val"], verbose=False)
            on_val = probe.shares
        trainer.test(probe, loaded["test"], verbose=False)
    return on_val, probe.shares


def _loaded(maps: PooledMaps, encoder: Encoder, images: _Images, settings: _Settings) -> dict[str, Any]:
    """What a Trainer takes for each split: the images themselves under augmentation, else loaders of their maps."""
    splits: tuple[Split, ...] = ("train", "val", "test") if images.choosing else ("train", "test")
    if settings.augment:
        return dict.fromkeys(splits, images.crops)
    loader = partial(stored_loader, maps, images.crops, device=encoder.device, batch_size=settings.batch_size)
    return {split: loader(split, seed=settings.seed if split == "train" else None) for split in splits}


def _in_words(subject: EncodedData, images: _Images, settings: _Settings, *, passes: int) -> dict[str, Any]:
    """What the numbers depend on, for the result's settings."""
    choice = (
        f"the learning rate best on {images.chosen_on:,} held-out training images; top1 is that of the layer best there"
    )
    if not images.choosing:
        choice = (
            "none, for no class has two labeled images, of which one could be held out: learning rate "
            f"{settings.lrs[settings.own_lr]:g}; top1 is that of the last layer"
        )
    return {
        "features": f"maps of the {subject.encoder.feature_name}'s blocks, adaptively max-pooled to about "
        f"{settings.values} values, standardized by batch norm without scales",
        "classifier": "logistic regression, SGD with Nesterov momentum 0.9, weight decay "
        f"{settings.weight_decay:g}, {settings.epochs} epochs, learning rate divided by ten at 8/28, 16/28 and 24/28 "
        "of the run",
        "lr for 256 images": list(settings.lrs),
        "choice": choice,
        "images per step": settings.batch_size * settings.devices,
        "augmentation": "random crops and flips"
        if settings.augment
        else f"none; {passes} pass(es) of the images in all",
        "preprocessing": subject.preprocessing,
        "images": f'{images.trained:,} labeled of "train", judged on {len(images.crops.images("test")):,} of '
        f'"{decisive_split(subject.module)}"',
        "seed": settings.seed,
    }


@torch.no_grad()
def _shapes(maps: PooledMaps, encoder: Encoder, size: int) -> list[Any]:
    maps.eval()(torch.zeros(1, encoder.preprocessing.in_chans, size, size, device=encoder.device))
    return maps.shapes


def _width(shape: Sequence[int]) -> int:
    """How many values are kept of a map ``(C, H, W)`` that is pooled to a side."""
    channels, _, _, side = shape
    return channels * side**2
