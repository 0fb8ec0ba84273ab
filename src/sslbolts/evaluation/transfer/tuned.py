"""Transfer by fine-tuning: the whole network trained further on each data set, beside baselines trained alike."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import ConcatDataset, DataLoader, Dataset

from sslbolts.batch import images_of
from sslbolts.checks import whole
from sslbolts.data.workers import worker_settings
from sslbolts.errors import UsageError
from sslbolts.evaluation.accuracy import NoNumber
from sslbolts.evaluation.encoder import Encoder, load_encoder
from sslbolts.evaluation.features import size_notes
from sslbolts.evaluation.fine_tuning.fine_tune import FineTune
from sslbolts.evaluation.fine_tuning.run import check_trainable
from sslbolts.evaluation.fine_tuning.settings import FineTuneSettings, fine_tune_settings
from sslbolts.evaluation.initialization import initialized
from sslbolts.evaluation.protocol_trainer import protocol_trainer, quiet
from sslbolts.evaluation.transfer.images import CroppedImages, PreparedImages, Rows
from sslbolts.evaluation.transfer.metrics import measure
from sslbolts.evaluation.transfer.sets import Splits, TransferSet
from sslbolts.progress import late_bar
from sslbolts.readouts.checks import usable
from sslbolts.training.undisturbed import seeded
from sslbolts.transforms import evaluation

__all__ = ["RANDOM", "SUPERVISED", "FineTuned", "Tuned"]

RANDOM, SUPERVISED = "Random init", "supervised"
"""Names of the baselines."""


@dataclass(frozen=True)
class Tuned:
    """What fine-tuning on a data set reached.

    Attributes:
        test: the metric on the test images, after training on training and validation images.
        val: on the validation images, after training on the training images; None where there was nothing to choose.
        lr: the learning rate, chosen by ``val``; the smaller one on a tie.
    """

    test: float
    val: float | None
    lr: float


class FineTuned:
    """Transfer by fine-tuning: a network, the same one drawn anew, and perhaps a supervised one, all trained alike.

    Args:
        encoder: the network; a copy of its backbone is trained.
        settings: of :data:`~sslbolts.evaluation.fine_tuning.settings.FINE_TUNE_SETTINGS`, or settings of your own.
        lr: in place of theirs; several are tried, and the best on the validation images is taken.
        epochs: in place of theirs.
        steps: optimizer steps of each training, in place of epochs.
        supervised: ``timm/NAME`` or ``torchvision/NAME``, whose library's weights are a baseline; None is none.
        size: side of the images, pixels.
        normalize: see :meth:`sslbolts.evaluation.encoder.Encoder.normalization`.
        batch_size: images per step; None is the settings'.
        num_workers: processes that read images.
        seed: of everything that is drawn.

    Attributes:
        networks: by the names of their columns: "" is the network itself.
        notes: sentences for the result.

    Raises:
        UsageError: for unknown settings or values, an encoder of another layer than its backbone, or supervised weights
            that cannot be had.

    Source: Chen et al., A Simple Framework for Contrastive Learning of Visual Representations, ICML 2020,
    arXiv:2002.05709, appendix B.8.
    """

    def __init__(
        self,
        encoder: Encoder,
        *,
        settings: str | FineTuneSettings | None,
        lr: float | Sequence[float] | None,
        epochs: int | None,
        steps: int | None,
        supervised: str | None,
        size: int,
        normalize: str,
        batch_size: int | None,
        num_workers: int,
        seed: int,
    ) -> None:
        check_trainable(encoder)
        whole(steps=steps)
        if epochs is not None and steps is not None:
            raise UsageError(f"epochs={epochs} and steps={steps}: give one of them.")
        changes = {} if epochs is None else {"epochs": epochs}
        named = "simclr" if settings is None else settings
        given = [lr] if isinstance(lr, int | float) else lr
        self.settings = fine_tune_settings(named, **changes)
        self.lrs = sorted(set(map(float, [self.settings.lr] if given is None else given)))
        if not self.lrs:
            raise UsageError("lr=[]: at least one learning rate is needed.")
        for rate in self.lrs:
            fine_tune_settings(self.settings, lr=rate)  # a wrong one is told before anything is trained
        self._settings_name = named if isinstance(named, str) else "given"
        self.steps = steps
        self.size, self.normalize, self.num_workers, self.seed = size, normalize, num_workers, seed
        self.batch_size = batch_size or self.settings.batch_size
        self.notes = size_notes(encoder, size)
        self.networks = {"": encoder}
        try:
            self.networks[RANDOM] = initialized(replace(encoder, teacher=False), "random", seed=seed)
        except UsageError as error:
            self.notes.append(f"{RANDOM} is left out: {error}")
        if supervised is not None:
            self.networks[SUPERVISED] = self._supervised(encoder, supervised)

    def _supervised(self, encoder: Encoder, name: str) -> Encoder:
        if not name.startswith(("timm/", "torchvision/")):
            raise UsageError(f'supervised="{name}": it is timm/NAME or torchvision/NAME, whose weights are known.')
        found = load_encoder(name, in_chans=encoder.preprocessing.in_chans, image_size=self.size, device=encoder.device)
        mine, theirs = (
            sum(parameter.numel() for parameter in network.backbone.parameters()) for network in (encoder, found)
        )
        if mine != theirs:
            self.notes.append(
                f"{SUPERVISED} is another architecture: {name} has {theirs:,} parameters, and {encoder.name} {mine:,}."
            )
        return found

    @torch.enable_grad()
    def measured(self, entry: TransferSet, splits: Splits, num_classes: int) -> dict[str, Tuned]:
        """Trains and measures every network on a data set.

        Args:
            entry: the data set.
            splits: its images.
            num_classes: of it.
        """
        return {name: self._measured(network, entry, splits, num_classes) for name, network in self.networks.items()}

    def _measured(self, encoder: Encoder, entry: TransferSet, splits: Splits, num_classes: int) -> Tuned:
        lr, val = self.lrs[0], None
        if len(self.lrs) > 1:
            on_val = [self._once(encoder, entry, splits.train, splits.val, num_classes, rate) for rate in self.lrs]
            reached = [-1.0 if share is None else share for share in on_val]  # one that has diverged is the worst
            lr, val = self.lrs[reached.index(max(reached))], max(0.0, *reached)
        everything: Dataset[Any] = ConcatDataset([splits.train, splits.val])
        test = self._once(encoder, entry, everything, splits.test, num_classes, lr)
        if test is None:
            raise NoNumber(f"the training of {encoder.source} has diverged at lr={lr:g}: give a smaller one.")
        return Tuned(test, val, lr)

    def _once(
        self, encoder: Encoder, entry: TransferSet, train: Dataset[Any], on: Dataset[Any], num_classes: int, lr: float
    ) -> float | None:
        """The measure on some images after training on others; None if that has diverged."""
        images = self.prepared(encoder, train)
        settings = replace(self.settings, lr=lr)
        mean, std, _ = encoder.normalization(self.normalize)
        crops = CroppedImages(images, size=self.size, interpolation=settings.interpolation, mean=mean, std=std)
        loader = DataLoader(
            crops,
            batch_size=min(self.batch_size, len(crops)),
            sampler=Rows(len(crops), seed=self.seed),
            **worker_settings(self.num_workers),
        )
        length: dict[str, Any] = (
            {"max_epochs": settings.epochs} if self.steps is None else {"max_epochs": -1, "max_steps": self.steps}
        )
        several = torch.as_tensor(images.read(0)[1]).ndim == 1
        kind = _SeveralLabels if several else FineTune
        with quiet(), seeded(self.seed):
            module = kind(encoder.trainable(), num_classes, settings=settings)
            nn.init.normal_(module.head.weight, std=settings.head_std)
            trainer = protocol_trainer(encoder.device, limit_val_batches=0, **length)
            trainer.fit(module, loader)
        scores, targets = self._scores(module.to(encoder.device), self.prepared(encoder, on), entry.name)
        return measure(entry.metric, scores, targets) if bool(usable(scores).all()) else None

    @torch.no_grad()
    def _scores(self, module: FineTune, images: PreparedImages, name: str) -> tuple[Tensor, Tensor]:
        module.eval()
        loader = DataLoader(images, self.batch_size, **worker_settings(self.num_workers))
        batches = late_bar(loader, f"Scores of {name}")
        found = [(module(x.to(module.device)).float().cpu(), y) for x, y in batches]
        scores, targets = (torch.cat(column) for column in zip(*found))
        return scores, targets

    def prepared(self, encoder: Encoder, images: Dataset[Any]) -> PreparedImages:
        """Images as one of the networks is measured on them."""
        mean, std, _ = encoder.normalization(self.normalize)
        resize = evaluation(self.size).resize
        chans = encoder.preprocessing.in_chans
        return PreparedImages(images, size=self.size, resize=resize, in_chans=chans, mean=mean, std=std)

    def columns(self, found: dict[str, Tuned]) -> dict[str, Any]:
        """Their numbers for a row of the table."""
        columns: dict[str, Any] = {}
        for name, score in found.items():
            columns[f"{name} %".strip()] = round(100 * score.test, 2)
        for name, score in found.items() if len(self.lrs) > 1 else ():
            columns[f"{name} validation %".strip()] = round(100 * cast(float, score.val), 2)
            columns[f"{name} lr".strip()] = score.lr
        return columns

    def stated(self) -> dict[str, Any]:
        """What the numbers depend on, for a result's settings."""
        settings, resize = self.settings, evaluation(self.size).resize
        changed = ("source", "lr", "batch_size", *(() if self.steps is None else ("epochs",)))
        rates = ", ".join(f"{lr:g}" for lr in self.lrs)
        if len(self.lrs) > 1:
            rates = (
                f"of {rates}: for each network the best on the validation images (the smaller one on a tie), then "
                "trained on training and validation images"
            )
        return {
            "networks": {
                name or "%": {
                    "source": network.source,
                    "network": network.description,
                    "features": network.feature_name,
                    "weights": network.digest[:16],
                    "normalization": network.normalization(self.normalize)[2],
                }
                for name, network in self.networks.items()
            },
            "preprocessing": f"training: a random crop of {self.size} pixels (8 to 100 % of the area, "
            f"{settings.interpolation}), flipped; test: shorter side {resize} bicubic, center crop {self.size}",
            "classifier": "a linear head, trained with the whole network; with several labels per image by the sum of "
            "the classes' binary cross-entropies",
            "settings": self._settings_name,
            "lr": rates,
            **({} if self.steps is None else {"steps": self.steps}),
            **{name: value for name, value in asdict(settings).items() if name not in changed},
            "images per step": self.batch_size,
            "source": settings.source,
        }


class _SeveralLabels(FineTune):
    """For images with several labels ``(B, C)``: 1, 0, and -1 for what is not known and does not count."""

    def __init__(self, backbone: nn.Module, num_classes: int, **settings: Any) -> None:
        super().__init__(backbone, num_classes, **settings)
        blended = [name for name in ("mixup", "cutmix", "label_smoothing") if getattr(self.settings, name)]
        if blended:
            raise UsageError(f"images with several labels are trained without {', '.join(blended)}: give 0.")

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """The sum over classes of the binary cross-entropy of known labels, its mean over images."""
        labels, logits = batch[1], self.logits(images_of(batch))
        each = F.binary_cross_entropy_with_logits(logits, labels.clamp(min=0).float(), reduction="none")  # (B, C)
        loss: Tensor = (each * (labels >= 0)).sum(1).mean()
        self.log("train/loss", loss, prog_bar=True, batch_size=len(labels))
        return loss
