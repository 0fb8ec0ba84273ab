"""The fine-tuning protocol: a network trained further with labels, and measured once."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from sslbolts.checks import whole
from sslbolts.errors import UsageError
from sslbolts.evaluation.accuracy import auc_setting
from sslbolts.evaluation.encoder import Encoder
from sslbolts.evaluation.features import EncodedData
from sslbolts.evaluation.fine_tuning.fine_tune import FineTune
from sslbolts.evaluation.fine_tuning.settings import FineTuneSettings
from sslbolts.evaluation.labeled_crops import decisive_split, labeled_crops
from sslbolts.evaluation.protocol_trainer import protocol_trainer, quiet, saved
from sslbolts.evaluation.result import Result
from sslbolts.networks.backbones import first_convolution
from sslbolts.training.facts import effective_batch_size
from sslbolts.training.undisturbed import isolated, seeded
from sslbolts.transforms import View

__all__ = ["check_trainable", "evaluate_finetune", "suitable_settings"]


def evaluate_finetune(
    encoder: Encoder,
    data: Any,
    *,
    settings: str | FineTuneSettings = "auto",
    rows: Tensor | None = None,
    steps: int | None = None,
    devices: int = 1,
    precision: str = "32-true",
    seed: int = 0,
    save: str | Path | None = None,
    progress: bool = True,
    **changes: Any,
) -> Result:
    """Trains the backbone and a linear head on labeled images, and measures the last epoch once.

    Args:
        encoder: see :func:`sslbolts.evaluation.load_encoder`; a copy of its backbone is trained.
        data: a DataModule of sslbolts with labels; its batch size is used, and with ``labels_per_class`` only so many.
        settings: one of :data:`~sslbolts.evaluation.fine_tuning.settings.FINE_TUNE_SETTINGS`, or settings of your
            own; "auto" is "mae" for vision transformers, else "simclr".
        rows: positions of the training images to use; None is all.
        steps: optimizer steps of the run, in place of the settings' epochs.
        devices: devices that train.
        precision: of the Trainer, e.g. "16-mixed".
        seed: of everything that is drawn.
        save: checkpoint of the fine-tuned network to write; None writes none.
        progress: show progress bars.
        **changes: values in place of theirs, e.g. ``epochs=20``.

    Raises:
        UsageError: for unknown settings or values, an encoder of another layer than its backbone, or data without
            labels.

    Example:
        >>> from sslbolts.data import DatasetDataModule
        >>> from sslbolts.evaluation import load_encoder
        >>> import torch
        >>> images = torch.randint(0, 256, (24, 3, 16, 16), dtype=torch.uint8)
        >>> data = torch.utils.data.TensorDataset(images, torch.arange(24) % 3)
        >>> module = DatasetDataModule(data, val=data, num_classes=3, batch_size=8, num_workers=0)
        >>> encoder = load_encoder("timm/resnet10t", pretrained=False, device="cpu")
        >>> result = evaluate_finetune(encoder, module, epochs=1, progress=False)
        >>> 0 <= result.metrics["top1"] <= 1
        True
    """
    check_trainable(encoder)
    subject = EncodedData(encoder, data)
    data = subject.module
    whole(steps=steps)
    if steps is not None and "epochs" in changes:
        raise UsageError(f"steps={steps} and epochs={changes['epochs']}: each says how long is trained; give one.")
    name = suitable_settings(encoder.backbone) if settings == "auto" else settings
    with isolated():
        module = FineTune(encoder.trainable(), data.num_classes, settings=name, **changes)
    crop = View(data.image_size, scale=module.settings.crop_scale, interpolation=module.settings.interpolation)
    crops = labeled_crops(subject, view=crop, rows=rows, seed=seed)
    with quiet(), seeded(seed):
        nn.init.normal_(module.head.weight, std=module.settings.head_std)
        trainer = protocol_trainer(
            encoder.device,
            devices=devices,
            precision=precision,
            max_epochs=module.settings.epochs if steps is None else -1,
            max_steps=-1 if steps is None else steps,
            limit_val_batches=0,
            enable_progress_bar=progress,
        )
        trainer.fit(module, crops)
        batches = trainer.num_training_batches
        found = trainer.test(module, datamodule=crops, verbose=False)[0]
        unsaved = saved(trainer, save)
    length = {} if steps is None else {"epochs": round(steps / float(batches), 2), "steps": steps}
    changed = f", with {', '.join(changes)} changed" if changes else ""
    return subject.result(
        "finetune",
        metrics={metric.removeprefix("test/"): float(value) for metric, value in found.items()},
        settings={
            "features": f"{encoder.feature_name}, trained further with a linear head",
            "settings": f"{name if isinstance(name, str) else 'given'}{changed}",
            **_training_in_words(module, length, images_per_step=effective_batch_size(trainer)),
            "preprocessing": {"training": _crop_in_words(module.settings, crops.image_size), **subject.preprocessing},
            "images": f'{crops.num_train_images:,} labeled of "train", judged on {len(crops.images("test")):,} of '
            f'"{decisive_split(data)}"',
            **auc_setting(data.num_classes, there="test/auc" in found),
            "seed": seed,
        },
        notes=[
            *unsaved,
            "The number is of the last epoch, measured once; these images had no part in any choice.",
            *subject.notes,
        ],
    )


def _training_in_words(module: FineTune, length: dict[str, float], *, images_per_step: int) -> dict[str, Any]:
    """The settings that a network was trained by, for the result's settings; the length is in place of theirs."""
    settings = module.settings
    return {
        **{key: value for key, value in asdict(settings).items() if key not in ("source", "batch_size")},
        **length,
        "pooling": module.pooling,
        "head_lr": settings.lr if settings.head_lr is None else settings.head_lr,
        "images per step": images_per_step,
        "source": settings.source,
    }


def _crop_in_words(settings: FineTuneSettings, size: int) -> str:
    least, greatest = (100 * scale for scale in settings.crop_scale)
    area = f"{least:g} to {greatest:g} % of the area, {settings.interpolation}"
    return f"one random crop of {size} pixels ({area}), flipped"


def check_trainable(encoder: Encoder) -> None:
    """Refuse an encoder that is more than its backbone.

    Raises:
        UsageError: for another layer, or a filter before the backbone.
    """
    if encoder.layer != "backbone":
        raise UsageError(f'fine-tuning trains the backbone, and the layer is "{encoder.layer}": leave layer out.')
    first = first_convolution(encoder.backbone)
    if first is not None and first.in_channels != encoder.preprocessing.in_chans:
        raise UsageError(
            f"{encoder.name} filters its images before the backbone, which takes {first.in_channels} channels: "
            "fine-tuning has no filter."
        )


def suitable_settings(backbone: nn.Module) -> str:
    """The name of the settings for a kind of network: "mae" for vision transformers, else "simclr".

    Example:
        >>> from sslbolts.networks.backbones import create_backbone
        >>> suitable_settings(create_backbone("resnet18")), suitable_settings(create_backbone("vit_tiny_patch16_224"))
        ('simclr', 'mae')
    """
    return "mae" if hasattr(backbone, "blocks") and hasattr(backbone, "patch_embed") else "simclr"
