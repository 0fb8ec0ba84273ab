"""The detection protocol: a detector trained and measured on VOC's images, and what its numbers depend on."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader

from sslbolts._lightning import Trainer
from sslbolts.checks import one_of, whole
from sslbolts.data.workers import worker_settings
from sslbolts.errors import UsageError
from sslbolts.evaluation.detection.data import VOCBoxes, collate_boxes
from sslbolts.evaluation.detection.detector import Detector
from sslbolts.evaluation.detection.precision import coco_metric
from sslbolts.evaluation.encoder import Encoder
from sslbolts.evaluation.identity import identity_of
from sslbolts.evaluation.initialization import initialized
from sslbolts.evaluation.protocol_trainer import protocol_trainer, quiet, saved
from sslbolts.evaluation.result import Result
from sslbolts.training.undisturbed import seeded

__all__ = ["evaluate_detection"]

_BASELINES = ("random",)
_RULES = (
    "map, map50 and map75 are COCO's: precision at 101 recalls (map: over overlaps of 0.5 to 0.95), and a detection "
    "that lies within a difficult box does not count.",
    "voc07/... are by the rule of VOC 2007: precision at 11 recalls, and a detection counts as wrong unless it "
    "overlaps a box, which may be difficult, as much as is asked for. MoCo's table for the test images of VOC 2007 is "
    "by this one (detectron2's), with another detector: a C4 head and synchronized batch norm.",
)


def evaluate_detection(
    encoder: Encoder,
    root: str | Path,
    *,
    train: Sequence[str] = ("VOC2007:trainval",),
    test: Sequence[str] = ("VOC2007:test",),
    steps: int = 24000,
    batch_size: int = 16,
    num_workers: int = 0,
    normalize: str = "auto",
    devices: int = 1,
    precision: str = "32-true",
    seed: int = 0,
    save: str | Path | None = None,
    baselines: Sequence[str] = (),
    progress: bool = True,
    **detector: Any,
) -> Result:
    """Fine-tunes a detector on boxes, and measures it once at the end.

    Args:
        encoder: see :func:`sslbolts.evaluation.load_encoder`; a copy of its backbone is trained.
        root: folder of one VOC set, or of several, see :class:`~sslbolts.evaluation.detection.data.VOCBoxes`.
        train: splits to train on, as SET:SPLIT, or SPLIT of the only set.
        test: splits for the numbers.
        steps: optimizer steps.
        batch_size: images per device and step.
        num_workers: processes that read images.
        normalize: "auto" is as in training where this is known, else "imagenet", by its mean and deviation; or "none".
        devices: devices that train.
        precision: of the Trainer, e.g. "16-mixed".
        seed: of everything that is drawn.
        save: checkpoint of the trained detector to write; None writes none.
        baselines: "random" is a second detector, whose backbone has weights drawn anew and has learned nothing before;
            see :func:`~sslbolts.evaluation.initialization.initialized`.
        progress: show progress bars.
        **detector: arguments of :class:`~sslbolts.evaluation.detection.detector.Detector`, e.g. ``lr``, ``image_size``.
            Where ``frozen_norm`` is not among them, batch norms of weights drawn anew are trained, and others frozen.

    Returns:
        ``map``, ``map50`` and ``map75`` as in COCO, and ``voc07/map50``, ``voc07/map75`` and ``voc07/map`` by the rule
        of the VOC challenge of 2007, all in [0, 1]; with ``baselines`` also ``random/map`` and so on, and a row for
        each network.

    Raises:
        UsageError: if images, boxes, maps or a package are missing.
    """
    whole(steps=steps, batch_size=batch_size, devices=devices)
    whole(0, num_workers=num_workers)
    for init in baselines:
        one_of(_BASELINES, baselines=init)
    coco_metric()  # a missing package is told before training
    training = _Training(
        steps=steps,
        batch_size=batch_size,
        num_workers=num_workers,
        devices=devices,
        precision=precision,
        seed=seed,
        progress=progress,
    )
    measure = partial(
        _evaluate, root=root, splits=(train, test), normalize=normalize, training=training, detector=detector
    )
    if not baselines:
        return measure(encoder, save=save)
    drawn = initialized(replace(encoder, teacher=False), "random", seed=seed)
    result, other = measure(encoder, save=save), measure(drawn, save=None)
    of_both = ((encoder.name, result), ("random", other))
    rows = [{"network": name, **found.metrics, "batch norms": found.settings["batch norms"]} for name, found in of_both]
    return replace(
        result,
        metrics=result.metrics | {f"random/{name}": value for name, value in other.metrics.items()},
        settings={**result.settings, "baselines": {"random": drawn.initialization}},
        rows=rows,
        notes=[
            *result.notes,
            "random: as many steps as the trained network; from scratch a detector gains by many more.",
        ],
    )


@dataclass(frozen=True)
class _Training:
    """How detectors are trained; see :func:`evaluate_detection`."""

    steps: int
    batch_size: int
    num_workers: int
    devices: int
    precision: str
    seed: int
    progress: bool

    def trainer(self, device: torch.device) -> Trainer:
        return protocol_trainer(
            device,
            devices=self.devices,
            precision=self.precision,
            max_steps=self.steps,
            limit_val_batches=0,
            enable_progress_bar=self.progress,
        )

    def loader(self, images: VOCBoxes, **order: Any) -> DataLoader[Any]:
        return DataLoader(
            images, self.batch_size, collate_fn=collate_boxes, **worker_settings(self.num_workers), **order
        )


def _evaluate(
    encoder: Encoder,
    *,
    root: str | Path,
    splits: tuple[Sequence[str], Sequence[str]],
    normalize: str,
    training: _Training,
    detector: dict[str, Any],
    save: str | Path | None,
) -> Result:
    """The numbers of one network."""
    train, test = splits
    channels = encoder.preprocessing.in_chans
    images = VOCBoxes(root, train, in_chans=channels)
    held_out = VOCBoxes(root, test, classes=images.classes, in_chans=channels)
    mean, std, normalized = encoder.normalization(normalize)
    # torchvision's detector always normalizes: by 0 and 1 where images stay as they are.
    known: dict[str, Any] = {"mean": mean or (0.0,) * channels, "std": std or (1.0,) * channels}
    known["frozen_norm"] = not encoder.initialization
    drawn = {"initialization": encoder.initialization} if encoder.initialization else {}
    with quiet(), seeded(training.seed):
        module = Detector(encoder.trainable(), len(images.classes), in_chans=channels, **{**known, **detector})
        trainer = training.trainer(encoder.device)
        trainer.fit(module, training.loader(images, shuffle=True, drop_last=len(images) > training.batch_size))
        _check_weights(module, trainer.global_step)
        found = trainer.test(module, training.loader(held_out), verbose=False)[0]
        unsaved = saved(trainer, save)
    return Result(
        protocol="detect",
        source=encoder.source,
        data="+".join(test).replace(":", "-"),
        metrics={name.removeprefix("test/"): float(value) for name, value in found.items()},
        settings={
            "data": {"folder": os.path.abspath(root), **identity_of({"train": images, "test": held_out}, [])},
            **drawn,
            "features": f"{replace(encoder, layer='backbone').feature_name}, trained further",
            **_detector_in_words(module, normalized),
            "steps": training.steps,
            "images per step": training.batch_size * training.devices,
            "trained on": f"{', '.join(train)} ({len(images)} images, difficult boxes included)",
            "measured on": f"{', '.join(test)} ({len(held_out)} images; what finds difficult boxes counts neither "
            "way), once, at the end",
            "classes": len(images.classes),
            "seed": training.seed,
        },
        notes=[*unsaved, *_RULES],
    )


def _check_weights(module: Detector, steps: int) -> None:
    broken = [name for name, weight in module.named_parameters() if not bool(weight.isfinite().all())]
    if broken:
        raise UsageError(
            f"after {steps} steps, weights of the detector are not finite ({broken[0]}): the network, or its "
            "training, has diverged; for the latter, lower lr."
        )


def _detector_in_words(module: Detector, normalized: str) -> dict[str, str]:
    """What a detector is and how it learned, for the result's settings."""
    hparams: Any = module.hparams
    return {
        "detector": f"torchvision's Faster R-CNN, feature pyramid of {hparams.width} channels on "
        f"{', '.join(module.detector.backbone.layers)}",
        "batch norms": "frozen" if module.frozen_norm else "trained",
        "preprocessing": f"shorter side {hparams.image_size[0]}, longest side {hparams.image_size[1]} (training: "
        f"{', '.join(map(str, module.train_sizes))}), flips; {normalized}",
        "optimizer": f"SGD, momentum 0.9, lr {hparams.lr:g} for 16 images, weight decay {hparams.weight_decay:g}, "
        f"warm-up of {hparams.warmup} steps, divided by ten after "
        f"{', '.join(f'{m:.3g}' for m in hparams.milestones)} of the run",
    }
