"""The linear probe: classifiers on frozen features, by a paper's settings."""

from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor, nn

from sslbolts.batch import ViewBatch, images_of, targets_of
from sslbolts.checkpoints.from_checkpoint import FromCheckpoint
from sslbolts.checks import as_plain
from sslbolts.errors import UsageError
from sslbolts.evaluation.accuracy import right_answers, two_class_margin
from sslbolts.evaluation.encoder import Encoder
from sslbolts.evaluation.probes.heads import Heads, ProbeHeads, probe_loss, probe_optimizer
from sslbolts.evaluation.probes.settings import ProbeSettings, probe_settings
from sslbolts.networks.backbones import feature_width
from sslbolts.readouts.checks import usable
from sslbolts.training.facts import effective_batch_size, steps_per_epoch, total_steps
from sslbolts.training.labeled_evaluation import LabeledEvaluation
from sslbolts.transforms import MultiView, View

__all__ = ["LinearProbe", "MLPProbe", "probe_views"]


class LinearProbe(FromCheckpoint, LabeledEvaluation):
    """Linear classifiers on a frozen network, one per learning rate, trained together on labeled images.

    The network stays in eval mode and receives no gradient. Batches are ``(images, targets, ...)`` or one view per
    image (:func:`probe_views`). Rows with label -1 are left out.

    Logs ``train/loss``; of validation ``val/top1``, ``val/top5`` (from six classes on) and ``val/auc`` (of two classes)
    of the head that is best there, which is from then on the chosen one, and ``val/top1_lr...`` of each where there are
    several; of testing the same of the chosen head: without validation, that of the settings' own learning rate. Each
    image is counted once on any number of processes. Validate on held-out training images, and the test images have no
    part in the choice.

    Args:
        network: an :class:`~sslbolts.evaluation.Encoder`, or a module ``(B, C, H, W) -> (B, D)``; with
            ``nn.Identity()`` batches are features. It is in the checkpoint's weights, not in its hyperparameters:
            ``load_from_checkpoint`` asks for ``network=`` again.
        num_classes: number of classes, at least 2.
        settings: a name of :data:`~sslbolts.evaluation.probes.settings.PROBE_SETTINGS`, or settings of your own.
        width: number of features; None is what the network says.
        **changes: values in place of theirs, e.g. ``epochs=20``, ``lr=(0.1, 1.0)``.

    Attributes:
        settings: the settings in use; their ``epochs`` are for the Trainer's ``max_epochs``.
        chosen: which head is reported, -1 before the first validation.

    Raises:
        UsageError: for unknown settings or values.

    Source: that of the settings; several heads at once: Oquab et al., DINOv2, TMLR 2024, arXiv:2304.07193.

    Example:
        >>> from sslbolts.networks.backbones import create_backbone
        >>> probe = LinearProbe(create_backbone("resnet18", stem="cifar"), 10, settings="byol")
        >>> tuple(probe(torch.zeros(2, 3, 32, 32)).shape), probe.settings.epochs
        ((2, 5, 10), 80)
    """

    hidden_dim = 0
    dropout = 0.0
    chosen: Tensor

    def __init__(
        self,
        network: Encoder | nn.Module,
        num_classes: int,
        *,
        settings: str | ProbeSettings = "simclr",
        width: int | None = None,
        **changes: Any,
    ) -> None:
        super().__init__()
        self.settings = probe_settings(settings, **changes)
        if isinstance(network, Encoder):
            width = width or network.num_features
            network = network.network
        self.network = network.eval().requires_grad_(False)
        self.heads = self.make_heads(network, num_classes, width)
        self.register_buffer("chosen", torch.tensor(-1))
        self.save_hyperparameters(as_plain({"num_classes": num_classes, "settings": asdict(self.settings)}))

    def make_heads(self, network: nn.Module, num_classes: int, width: int | None) -> Heads:
        """The classifiers, one per learning rate of the settings."""
        return ProbeHeads(
            width or feature_width(network),
            num_classes,
            count=len(self.settings.lrs),
            settings=self.settings,
            hidden_dim=self.hidden_dim,
            dropout=self.dropout,
        )

    def features_in_words(self, encoder: Encoder) -> str:
        """What the classifiers see of a network, for a result's settings."""
        return f"{encoder.num_features} of {encoder.feature_name}"

    def classifier_in_words(self) -> dict[str, str]:
        """What the classifiers are made of, where the settings do not say it, for a result's settings."""
        return {}

    def train(self, mode: bool = True) -> "LinearProbe":
        """The heads' mode; the network stays in eval mode."""
        super().train(mode)
        self.network.eval()
        return self

    def forward(self, x: Tensor) -> Tensor:
        """Logits ``(B, heads, num_classes)`` of normalized images ``(B, C, H, W)``."""
        with torch.no_grad():
            features = self.network(x)
        logits: Tensor = self.heads(features.float())
        return logits

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        super().on_train_batch_start(batch, batch_idx)
        if isinstance(batch, ViewBatch) and len(batch.views) != 1:
            raise UsageError(
                f"a probe takes one view of each image, and the batch has {len(batch.views)}: give the DataModule "
                "views=probe_views(settings, size), of sslbolts.evaluation."
            )

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """The sum of the heads' cross-entropies on a batch."""
        targets = targets_of(batch)
        loss = probe_loss(self(images_of(batch)), targets)
        self.log("train/loss", loss / self.heads.count, prog_bar=True, batch_size=len(targets))
        return loss

    def answers(self, batch: Any) -> dict[str, Tensor]:
        scores = self(images_of(batch))
        right = right_answers(scores, targets_of(batch)[:, None])
        return {**right, "finite": usable(scores), **two_class_margin(scores.float())}

    def report(self, stage: str, shares: dict[str, Any]) -> None:
        """Validation chooses the head that it and testing report."""
        if stage == "val":
            self.chosen.fill_(max(range(self.heads.count), key=lambda head: shares["top1"][head]))
            if self.heads.count > 1:
                for lr, share in zip(self.settings.lrs, shares["top1"]):
                    self.log(f"val/top1_lr{lr:g}", share)
        super().report(stage, {name: values[self.chosen_head] for name, values in shares.items()})

    @property
    def chosen_head(self) -> int:
        """The head that testing reports."""
        own = min(range(self.heads.count), key=lambda head: abs(self.settings.sweep[head] - 1))
        return own if int(self.chosen) < 0 else int(self.chosen)

    def configure_optimizers(self) -> Any:
        """The settings' optimizer on the heads, with its schedule per step over the whole run."""
        epochs = self.settings.warmup_epochs
        warmup = round(epochs * steps_per_epoch(self.trainer)) if epochs else 0
        optimizer, schedule = probe_optimizer(
            self.heads,
            self.settings,
            batch_size=effective_batch_size(self.trainer),
            total=total_steps(self.trainer),
            warmup=warmup,
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


class MLPProbe(LinearProbe):
    """Classifiers with one hidden layer on a frozen network; otherwise as :class:`LinearProbe`.

    Dropout, linear, batch norm, ReLU, dropout, linear.

    Args:
        network: as in :class:`LinearProbe`.
        num_classes: number of classes, at least 2.
        hidden_dim: width of the hidden layer.
        dropout: before both layers, in [0, 1).
        settings: a name of :data:`~sslbolts.evaluation.probes.settings.PROBE_SETTINGS`, or settings of your own.
        width: number of features; None is what the network says.
        **changes: values in place of theirs.

    Raises:
        UsageError: for unknown settings or values.

    Source: Bachman et al., Learning Representations by Maximizing Mutual Information Across Views, NeurIPS 2019,
    arXiv:1906.00910.

    Example:
        >>> probe = MLPProbe(nn.Flatten(), 10, hidden_dim=8, width=48)
        >>> tuple(probe.eval()(torch.zeros(2, 3, 4, 4)).shape)
        (2, 1, 10)
    """

    def __init__(
        self,
        network: Encoder | nn.Module,
        num_classes: int,
        *,
        hidden_dim: int = 1024,
        dropout: float = 0.2,
        settings: str | ProbeSettings = "amdim",
        width: int | None = None,
        **changes: Any,
    ) -> None:
        if hidden_dim < 1:
            raise UsageError(f"hidden_dim={hidden_dim}: it is at least 1; LinearProbe is without a hidden layer.")
        self.hidden_dim, self.dropout = hidden_dim, dropout
        super().__init__(network, num_classes, settings=settings, width=width, **changes)
        self.save_hyperparameters(as_plain({"hidden_dim": hidden_dim, "dropout": dropout}))


def probe_views(settings: str | ProbeSettings, size: int, *, normalize: bool = True) -> MultiView:
    """The settings' augmentation as the ``views`` of a DataModule: one random crop and flip of each image.

    Args:
        settings: a name, or settings of your own.
        size: side of the images, pixels.
        normalize: as the network was trained.

    Example:
        >>> probe_views("mae", 224).views[0].interpolation
        'bicubic'
    """
    settings = probe_settings(settings)
    view = View(
        size,
        scale=settings.crop,
        ratio=settings.ratio,
        padding=settings.padding,
        interpolation=settings.interpolation,
    )
    return MultiView((view,), normalize=normalize)
