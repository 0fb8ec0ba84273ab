"""Joint semi-supervised training: classes of the labeled images, and another method's loss on the others."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, Unpack

from torch import Tensor, nn
from torch.optim import SGD

from sslbolts.batch import ViewBatch, targets_of
from sslbolts.checks import at_least, positive, whole
from sslbolts.data.base import SSLDataModule
from sslbolts.errors import UsageError
from sslbolts.health import Indicator
from sslbolts.losses import joint_loss, prediction_entropy, virtual_adversarial
from sslbolts.losses.semi_supervised import adversarial_perturbation
from sslbolts.methods.base import LRScaling, NetworkArguments, SSLModule
from sslbolts.methods.host import MethodHost, described, logging_as
from sslbolts.methods.semi_supervised.beside import ROTATION, features_of_images, method_beside
from sslbolts.methods.semi_supervised.rotation import JointRotation
from sslbolts.networks.backbones import BackboneLike
from sslbolts.networks.split_batch_norm import BATCH_NORMS
from sslbolts.networks.taps import Tap
from sslbolts.optim import OptimizerCallable, parameter_groups
from sslbolts.readouts.checks import usable
from sslbolts.training.labeled_evaluation import LabeledEvaluation, check_classes
from sslbolts.training.shared_draws import normal

__all__ = ["SemiSupervised"]


class SemiSupervised(LabeledEvaluation, MethodHost):
    r"""Joint semi-supervised training: :math:`L_l + w\, L_u`, around any method that needs no labels.

    A linear class head on the backbone learns from the labeled images of a batch, while the method's own loss trains
    the same backbone. The default is S4L's rotation task, ``JointRotation``, on labeled and unlabeled images alike.
    Images of label -1 are unlabeled; of a DataModule ``labels_fraction=``, ``labels_per_class=`` or ``labels_rows=``
    leave some with labels, and ``labeled_batch_size=`` puts as many of them first in every batch.

    There are two ways through the network. Concatenated, as in S4L, the method sees the whole batch, and the class head
    the features that its loss was computed from, those of all rotations: one pass, whose batch norms see both kinds of
    images. Apart, the method sees the unlabeled images (the whole batch without ``labeled_batch_size``), and the class
    head the first view of the labeled ones, in a pass of their own. With a weight of 0 this is supervised training.

    Virtual adversarial training and the minimization of entropy, S4L's baselines, may be added. They are on the first
    view of all images, as there, in a pass of their own; running statistics are not those of perturbed images.
    ``val/top1`` is the class head's accuracy on images as they are, not turned. Features for other tasks are those of
    the method.

    Differences to S4L: its unlabeled images are all training images, here those without a label where batches are
    mixed; its network is a ResNet-50 v2; and see :func:`~sslbolts.losses.semi_supervised.adversarial_perturbation`.

    Args:
        method: the loss `L_u`: the name of a method; ``{"class_path": ..., "init_args": ...}``, without network and
            optimizer, which are given here; or a module, whose network is trained. None is S4L's rotation task.
        num_classes: number of classes.
        weight: `w`.
        concatenate: one pass for both losses; None does for the rotation task.
        vat_weight: of virtual adversarial training; 0.5 in S4L.
        vat_epsilon: length of a perturbation; 40 in S4L, for images of 224 pixels in [-1, 1].
        entropy_weight: of the entropy of predictions.
        optimizer: SGD as in S4L, with decay on all parameters.
        milestones: parts of the run at which the learning rate drops to a tenth; none for a cosine.
        backbone: the network of ``method``; None is a ResNet-50, or that of a module.
        lr_scaling, warmup_epochs, final_lr, network: see :class:`SSLModule`.

    Raises:
        UsageError: for a value out of its range, a method that has labels of its own, settings without effect, another
            number of classes than the data's, or data without labels.

    Source: Zhai et al., S4L: Self-Supervised Semi-Supervised Learning, ICCV 2019, arXiv:1905.03670.

    Example:
        >>> method = SemiSupervised("resnet10t", stem="cifar", method="SimCLR", num_classes=10)
        >>> type(method.method).__name__, method.classifier
        ('SimCLR', Linear(in_features=512, out_features=10, bias=True))
    """

    num_views = None
    starts_at_identity = False
    decay_vectors = True
    indicators: tuple[Indicator, ...] = (  # type: ignore[misc]  # those of the method are added
        Indicator(
            metric="train/labeled",
            below=1e-9,
            meaning="no image of the batch has a label, so the class head learns nothing",
            fixes=("labels: label -1 means none", "labeled_batch_size= of the DataModule, or more labels"),
        ),
    )

    def __init__(
        self,
        backbone: BackboneLike | None = None,
        *,
        method: str | dict[str, Any] | SSLModule | None = None,
        num_classes: int = 1000,
        weight: float = 1.0,
        concatenate: bool | None = None,
        vat_weight: float = 0.0,
        vat_epsilon: float = 40.0,
        entropy_weight: float = 0.0,
        optimizer: OptimizerCallable = lambda params: SGD(params, lr=0.03, momentum=0.9, weight_decay=1e-3),
        lr_scaling: LRScaling = "none",
        warmup_epochs: float = 5.0,
        final_lr: float = 0.0,
        milestones: Sequence[float] = (0.7, 0.8, 0.9),
        **network: Unpack[NetworkArguments],
    ) -> None:
        whole(2, num_classes=num_classes)
        at_least(0, weight=weight, vat_weight=vat_weight, entropy_weight=entropy_weight)
        positive(vat_epsilon=vat_epsilon)
        if concatenate and not weight:
            raise UsageError("concatenate=True has no effect with weight=0: leave it out.")
        if vat_epsilon != 40.0 and not vat_weight:
            raise UsageError(f"vat_epsilon={vat_epsilon} has no effect with vat_weight=0: leave it out.")
        compiled = network.pop("compile_backbone", False)
        beside = method_beside(ROTATION if method is None else method, backbone, network)
        schedule: dict[str, Any] = {"milestones": milestones, "compile_backbone": compiled}
        super().__init__(beside.backbone, optimizer, lr_scaling, warmup_epochs, final_lr, **schedule)
        found = described(beside)
        self.save_hyperparameters(found if method is not None else {**found, "method": None})
        self.method = beside
        self.indicators = (*type(self).indicators, *(beside.indicators if weight else ()))
        self.num_classes = num_classes
        self.weight = weight
        self.concatenate = isinstance(beside, JointRotation) and weight > 0 if concatenate is None else concatenate
        self.vat_weight, self.vat_epsilon, self.entropy_weight = vat_weight, vat_epsilon, entropy_weight
        self.classifier = nn.Linear(self.num_features, num_classes)
        if not weight:  # what gets no gradient is none of the optimizer's, nor of a data-parallel reducer's
            shared = set(self.backbone.parameters())
            for parameter in beside.parameters():
                parameter.requires_grad_(parameter in shared and parameter.requires_grad)

    def training_step(self, batch: ViewBatch, batch_idx: int) -> Tensor:
        labeled, unlabeled = self.parts(batch)
        loss_u = batch.views[0].new_zeros(())
        with Tap(self.backbone) if self.concatenate else nullcontext() as tap:
            if self.weight:
                with logging_as(self.method, self, _beside):
                    loss_u = self.method.training_step(unlabeled, batch_idx)
        if tap is not None:
            features, targets = features_of_images(self.method, tap.outputs, len(batch.views), batch.targets)
        else:
            features, targets = self(labeled.views[0]), labeled.targets
        logits = self.classifier(features)  # (R, num_classes)
        loss = joint_loss(logits, targets, loss_u, self.weight)
        supervised = loss.detach() - self.weight * loss_u.detach()
        loss = loss + self.regularizers(batch, batch_idx)
        known = targets >= 0
        right = ((logits.argmax(1) == targets) & known).sum() / known.sum().clamp(min=1)
        size = len(batch.targets)
        self.log("train/loss", loss, prog_bar=True, batch_size=size)
        self.log("train/labeled_loss", supervised, batch_size=size)
        self.log("train/labeled_accuracy", right, batch_size=size)
        self.log("train/labeled", (batch.targets >= 0).float().mean(), batch_size=size)
        return loss

    def parts(self, batch: ViewBatch) -> tuple[ViewBatch, ViewBatch]:
        """What each of the two losses sees: the first and the other images where the DataModule mixes them so."""
        first = getattr(getattr(self.trainer, "datamodule", None), "labeled_batch_size", None)
        if first is None or self.concatenate:
            return batch, batch
        return _rows(batch, slice(None, first)), _rows(batch, slice(first, None))

    def regularizers(self, batch: ViewBatch, batch_idx: int) -> Tensor | float:
        """Weighted losses that are on the class head's own predictions for all images."""
        images = batch.views[0]
        total: Tensor | float = 0.0
        if not (self.vat_weight or self.entropy_weight):
            return total
        clean = self.classify(images)
        if self.entropy_weight:
            entropy = prediction_entropy(clean)
            self.log("train/entropy", entropy, batch_size=len(images))
            total = total + self.entropy_weight * entropy
        if self.vat_weight:
            noise = normal(*images.shape, generator=self.generator(batch_idx, 1, device=images.device))
            with _kept_statistics(self.backbone):
                moved = adversarial_perturbation(
                    self.classify, images, clean, noise.to(images.dtype), epsilon=self.vat_epsilon
                )
                divergence = virtual_adversarial(self.classify(images + moved), clean)
            self.log("train/vat", divergence, batch_size=len(images))
            total = total + self.vat_weight * divergence
        return total

    def classify(self, images: Tensor) -> Tensor:
        """Logits ``(B, num_classes)`` of images ``(B, C, H, W)``."""
        logits: Tensor = self.classifier(self(images))
        return logits

    def forward(self, x: Tensor) -> Tensor:
        features: Tensor = self.method(x)
        return features

    def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> Mapping[str, Tensor]:
        """Features for the monitors; of the first loader's labeled images, count the right answers."""
        features = self(batch[0])
        if dataloader_idx == 0 and len(batch) > 1:
            logits = self.classifier(features)
            finite = usable(logits)
            self.count(batch, {"top1": (logits.argmax(1) == targets_of(batch)) & finite, "finite": finite})
        return {"features": features}

    test_step = validation_step

    # ------------------------------------------------------------------ what the method has of its own in a run

    @property
    def acting(self) -> list[SSLModule]:
        """The method, unless its loss has no weight."""
        return [self.method] if self.weight else []

    def seen_by(self, method: SSLModule, batch: ViewBatch) -> ViewBatch:
        return self.parts(batch)[1]

    def setup(self, stage: str) -> None:
        super().setup(stage)
        check_classes(self, self.num_classes, stage)
        data = getattr(self.trainer, "datamodule", None)
        if stage == "fit" and isinstance(data, SSLDataModule) and not data.images("train").labeled:
            raise UsageError(
                f"none of the training images of {type(data).__name__} has a label, and SemiSupervised needs some: "
                f"give labels, or train {type(self.method).__name__} alone."
            )

    def input_module(self) -> nn.Module:
        return self.method.input_module()

    def compile_network(self) -> None:
        self.method.compile_network()

    def parameter_groups(self) -> list[dict[str, Any]]:
        """The method's own, and the class head."""
        head = parameter_groups(self.classifier, decay_vectors=self.method.decay_vectors)
        return [*self.method.parameter_groups(), *head]

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        if "backbone" in self.hparams and "backbone" not in checkpoint.get("hyper_parameters", {}):
            raise UsageError(
                "this checkpoint's network was given as a module, which it does not hold: pass the method again, "
                "SemiSupervised.load_from_checkpoint(path, method=...)."
            )
        super().on_load_checkpoint(checkpoint)


def _beside(name: str) -> str:
    return "train/unlabeled_loss" if name == "train/loss" else name


def _rows(batch: ViewBatch, rows: slice) -> ViewBatch:
    return ViewBatch([view[rows] for view in batch.views], batch.targets[rows], batch.indices[rows])


@contextmanager
def _kept_statistics(network: nn.Module) -> Iterator[None]:
    """Batch norms whose running statistics stay as they are."""
    norms = [norm for norm in network.modules() if isinstance(norm, BATCH_NORMS)]
    before = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, momentum in zip(norms, before):
            norm.momentum = momentum
