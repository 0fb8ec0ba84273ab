"""The layer protocol: one regression per block of a frozen network, and the table of their accuracies."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from sslbolts._lightning import seed_everything
from sslbolts.batch import ViewBatch
from sslbolts.checks import positive, whole
from sslbolts.data import SSLDataModule
from sslbolts.data.arguments import Split
from sslbolts.errors import UsageError
from sslbolts.evaluation.accuracy import check_finite
from sslbolts.evaluation.encoder import Encoder
from sslbolts.evaluation.features import EncodedData
from sslbolts.evaluation.initialization import Init, initialized
from sslbolts.evaluation.labeled_crops import decisive_split, labeled_crops
from sslbolts.evaluation.layers.maps import POOLED_VALUES, PooledMaps, fitting_groups
from sslbolts.evaluation.layers.probe import LAYER_LRS, LayerProbe
from sslbolts.evaluation.protocol_trainer import protocol_trainer, quiet
from sslbolts.evaluation.result import Result
from sslbolts.evaluation.splits import held_out, training_targets
from sslbolts.progress import late_bar

__all__ = ["evaluate_layers"]

_CHOSEN_ON = 0.1  # of the training images
_OWN_LR = 0.01  # of the paper, where nothing can be held out to choose on


class _StoredMaps(Dataset[ViewBatch]):
    """Pooled maps in memory, in half precision; an index of several rows gives a batch."""

    def __init__(self, maps: list[Tensor], targets: Tensor) -> None:
        self.maps = maps
        self.targets = targets

    def __len__(self) -> int:
        return len(self.targets)

    def __getitems__(self, rows: Sequence[int]) -> ViewBatch:
        index = torch.as_tensor(rows)
        return ViewBatch([layer[index] for layer in self.maps], self.targets[index], index)


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
    measure = partial(
        _evaluate,
        data=data,
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
    result = measure(encoder)
    if not others:
        return result
    metrics, settings = dict(result.metrics), dict(result.settings)
    rows = [{"network": encoder.name, **row} for row in result.rows]
    for init, other in others.items():
        found = measure(other)
        metrics |= {f"{init}/{name}": value for name, value in found.metrics.items()}
        rows += [{"network": init, **row} for row in found.rows]
    settings["baselines"] = {init: other.initialization for init, other in others.items()}
    return replace(result, metrics=metrics, settings=settings, rows=rows)


def _evaluate(
    encoder: Encoder,
    data: Any,
    *,
    layers: Sequence[str] | None,
    lrs: Sequence[float],
    epochs: int,
    batch_size: int,
    weight_decay: float,
    values: int,
    augment: bool,
    memory: float,
    devices: int,
    precision: str,
    seed: int,
    progress: bool,
) -> Result:
    """The table of one network."""
    whole(epochs=epochs, batch_size=batch_size, values=values)
    positive(memory=memory)
    every = PooledMaps(encoder.network, encoder.backbone, layers, values=values)
    subject = EncodedData(encoder, data)
    targets = training_targets(subject.module)
    chosen_on = held_out(targets, _CHOSEN_ON, seed=seed) & (targets >= 0)
    choosing = bool(chosen_on.any())
    if not choosing and len(lrs) > 1 and _OWN_LR not in lrs:
        raise UsageError(f"no class has two labeled training images to choose one of lrs={list(lrs)} on: give one.")
    own = lrs.index(_OWN_LR) if _OWN_LR in lrs else 0
    kept = (~chosen_on & (targets >= 0)).nonzero().squeeze(1)
    crops = labeled_crops(subject, rows=kept, held_out=chosen_on.nonzero().squeeze(1), batch_size=batch_size * devices)
    crops.batch_size = crops.eval_batch_size = batch_size
    shapes = _shapes(every, encoder, crops.image_size)
    widths = [channels * side**2 for channels, _, _, side in shapes]
    images = int((targets >= 0).sum()) + len(crops.images("test"))
    groups = [list(range(len(widths)))] if augment else fitting_groups(widths, images, memory)

    found: list[dict[str, Any]] = []
    for group in groups:
        maps = PooledMaps(encoder.network, encoder.backbone, [every.layers[i] for i in group], values=values)
        seed_everything(seed, verbose=False)
        probe = LayerProbe(
            maps, data.num_classes, widths=[widths[i] for i in group], lrs=lrs, weight_decay=weight_decay
        )
        with quiet():
            trainer = protocol_trainer(
                encoder.device,
                devices=devices,
                precision=precision,
                max_epochs=epochs,
                limit_val_batches=0,
                enable_progress_bar=progress,
            )
            on_val, on_test = _train(
                trainer, probe, crops, encoder, batch_size, seed, augment=augment, choosing=choosing
            )
        for number, i in enumerate(group):
            best = max(range(len(lrs)), key=lambda lr: on_val[number][lr]) if choosing else own
            channels, height, width, side = shapes[i]
            found.append(
                {
                    "layer": every.layers[i],
                    "top1": on_test[number][best],
                    "map": f"{channels} x {height} x {width}",
                    "pooled to": f"{channels} x {side} x {side} = {widths[i]}",
                    "lr": lrs[best],
                    **({"validation/top1": on_val[number][best]} if choosing else {}),
                }
            )
    best_layer = max(found, key=lambda row: row["validation/top1"]) if choosing else found[-1]
    return subject.result(
        "layers",
        metrics={"top1": best_layer["top1"], **{f"{row['layer']}/top1": row["top1"] for row in found}},
        settings={
            "features": f"maps of the {encoder.feature_name}'s blocks, adaptively max-pooled to about {values} values, "
            "standardized by batch norm without scales",
            "classifier": f"logistic regression, SGD with Nesterov momentum 0.9, weight decay {weight_decay:g}, "
            f"{epochs} epochs, learning rate divided by ten at 8/28, 16/28 and 24/28 of the run",
            "lr for 256 images": list(lrs),
            "choice": f"the learning rate best on {int(chosen_on.sum()):,} held-out training images; top1 is that of "
            "the layer best there"
            if choosing
            else f"none, for no class has two labeled images, of which one could be held out: learning rate "
            f"{lrs[own]:g}; top1 is that of the last layer",
            "images per step": batch_size * devices,
            "augmentation": "random crops and flips"
            if augment
            else f"none; {len(groups)} pass(es) of the images in all",
            "preprocessing": subject.preprocessing,
            "images": f'{len(kept):,} labeled of "train", judged on {len(crops.images("test")):,} of '
            f'"{decisive_split(data)}"',
            "seed": seed,
        },
        rows=found,
    )


def _train(
    trainer: Any,
    probe: LayerProbe,
    crops: SSLDataModule,
    encoder: Encoder,
    batch_size: int,
    seed: int,
    *,
    augment: bool,
    choosing: bool,
) -> tuple[list[list[float]], list[list[float]]]:
    """Right answers ``(layers, learning rates)`` on held-out images where they choose, and on test images."""
    on_val: list[list[float]] = []
    if augment:
        trainer.fit(probe, crops)
        trainer.limit_val_batches = 1.0
        if choosing:
            trainer.validate(probe, datamodule=crops, verbose=False)
            on_val = probe.shares
        trainer.test(probe, datamodule=crops, verbose=False)
        return on_val, probe.shares
    loaders = {}
    splits: tuple[Split, ...] = ("train", "val", "test") if choosing else ("train", "test")
    for split in splits:
        shuffled = torch.Generator().manual_seed(seed) if split == "train" else None
        loaders[split] = DataLoader(
            _stored(probe.maps, crops, split, encoder),
            batch_size,
            shuffle=shuffled is not None,
            generator=shuffled,
            collate_fn=_as_is,
        )
    trainer.fit(probe, loaders["train"])
    trainer.limit_val_batches = 1.0
    if choosing:
        trainer.validate(probe, loaders["val"], verbose=False)
        on_val = probe.shares
    trainer.test(probe, loaders["test"], verbose=False)
    return on_val, probe.shares


@torch.no_grad()
def _stored(maps: PooledMaps, crops: SSLDataModule, split: Split, encoder: Encoder) -> _StoredMaps:
    made: list[list[Tensor]] = [[] for _ in maps.layers]
    targets = []
    loader = crops.evaluation_dataloader(split)
    maps.to(encoder.device).eval()
    for batch in late_bar(loader, f"Maps ({split})"):
        images, labels, _ = crops.on_after_batch_transfer([part.to(encoder.device) for part in batch], 0)
        for rows, layer in zip(made, maps(images)):
            rows.append(layer.half().cpu())
        targets.append(labels.cpu())
    stored = [torch.cat(rows) for rows in made]
    for layer, values in zip(maps.layers, stored):
        advice = "The network has diverged, or they exceed half precision, which augment=True does without."
        check_finite(values.isfinite().all(1), f"maps of the layer {layer}", advice)
    return _StoredMaps(stored, torch.cat(targets))


@torch.no_grad()
def _shapes(maps: PooledMaps, encoder: Encoder, size: int) -> list[Any]:
    maps.eval()(torch.zeros(1, encoder.preprocessing.in_chans, size, size, device=encoder.device))
    return maps.shapes


def _as_is(batch: Any) -> Any:
    return batch
