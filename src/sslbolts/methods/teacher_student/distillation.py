"""Distillation: a small network learns the features of a trained one."""

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sslbolts.backbones import BackboneLike, create_backbone, feature_width
from sslbolts.batch import ViewBatch
from sslbolts.callbacks.indicator import Indicator
from sslbolts.errors import UsageError
from sslbolts.export import backbone_spec, load_backbone
from sslbolts.heads import mlp
from sslbolts.losses import byol_regression, matching_accuracy
from sslbolts.methods.base import SSLModule
from sslbolts.optim import OptimizerCallable

__all__ = ["Distillation", "FrozenTeacher"]

_FILES = (".ckpt", ".safetensors")


class FrozenTeacher(nn.Module):
    """A trained network that only answers: no gradient, and in eval mode also while its method trains.

    Args:
        network: ``(B, C, H, W) -> (B, D)``; its parameters are frozen.

    Example:
        >>> teacher = FrozenTeacher(nn.Sequential(nn.Flatten(), nn.Linear(12, 4), nn.BatchNorm1d(4)))
        >>> nn.ModuleList([teacher]).train()[0].network.training, teacher(torch.ones(2, 3, 2, 2)).requires_grad
        (False, False)
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network.requires_grad_(False).to(memory_format=torch.channels_last)
        self.train(False)

    def train(self, mode: bool = True) -> "FrozenTeacher":
        """Stays in eval mode, whatever ``mode`` is."""
        return super().train(False)

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        """Features ``(B, D)`` of images ``(B, C, H, W)``."""
        features: Tensor = self.network(x)
        return features


class Distillation(SSLModule):
    r"""Distillation by regression (SimReg): a small student predicts the features of a frozen teacher on the same view.

    .. math:: \frac{1}{B} \sum_i \Big\| \frac{g(s_i)}{\|g(s_i)\|} - \frac{t_i}{\|t_i\|} \Big\|^2

    where `s` and `t` are the features of student and teacher and `g` is an MLP of four layers, which is thrown away
    afterwards: the features for other tasks are those of the student's backbone. The head is what makes plain
    regression as good as more complicated ways, says the paper; and both networks see the same, weakly augmented
    image. Batches may hold any number of views; the loss is the mean over them.

    A checkpoint holds the teacher's weights and, unless it was given as a module, what network it is: loading needs
    neither its file nor the network that it came from.

    Args:
        backbone: the student; see :class:`SSLModule`.
        teacher: what to learn from, one of

            - a checkpoint of a method, or a file of :func:`sslbolts.export_backbone` (``.ckpt``, ``.safetensors``);
            - the name of a timm or torchvision network, with its published weights, which are downloaded;
            - a module ``(B, C, H, W) -> (B, D)``. Loading a checkpoint then takes it again, as ``teacher=``;
            - a mapping of ``backbone``, ``stem``, ``in_chans``, ``backbone_kwargs``, as checkpoints store it: a network
              that is untrained unless ``backbone_kwargs`` asks for weights.
        expansion: width of the head's hidden layers, in widths of the student's features.
        optimizer: SGD as in the paper's code, lr 0.05 for 256 images.
        recipe: what :class:`SSLModule` takes besides; the paper trains for 130 epochs.

    Raises:
        UsageError: for a file that does not exist or holds no backbone, or an unknown name.

    Source: Navaneet et al., SimReg: Regression as a Simple Yet Effective Tool for Self-supervised Knowledge
    Distillation, BMVC 2021, arXiv:2201.05131.

    Example:
        >>> method = Distillation("resnet10t", teacher={"backbone": "resnet18", "stem": "cifar"})
        >>> method.train().teacher.network.training, method.projector[-1][-1].out_features
        (False, 512)
    """

    num_views = None
    indicators = (
        Indicator(
            metric="train/matching_accuracy",
            below=0.02,
            meaning="the student's prediction is hardly ever nearest to its own image's features: it learns nothing, "
            "or the teacher gives all images the same features",
            fixes=("a teacher that was trained, on images normalized as these are", "a lower learning rate"),
        ),
    )

    def __init__(
        self,
        backbone: BackboneLike = "resnet18",
        *,
        teacher: str | nn.Module | dict[str, Any],
        expansion: int = 2,
        optimizer: OptimizerCallable = lambda params: torch.optim.SGD(params, lr=0.05, momentum=0.9, weight_decay=1e-4),
        warmup_epochs: float = 0.0,
        **recipe: Any,
    ) -> None:
        if expansion < 1:
            raise UsageError(
                f"expansion={expansion}: hidden layers are at least as wide as the features; give 1 or more."
            )
        super().__init__(backbone, optimizer=optimizer, warmup_epochs=warmup_epochs, **recipe)
        network, spec = _network_of(teacher)
        if spec is not None:
            self.save_hyperparameters({"teacher": spec})  # in place of a path or of weights that only training needs
        self.teacher = FrozenTeacher(network)
        width, hidden = self.num_features, expansion * self.num_features
        self.projector = nn.Sequential(mlp(width, hidden, width), mlp(width, hidden, feature_width(network)))

    def training_step(self, batch: ViewBatch, batch_idx: int) -> Tensor:
        losses, accuracies = [], []
        for x in batch.views:
            prediction = self.projector(self.backbone(x))  # (B, width of the teacher)
            target = self.teacher(x)
            losses.append(byol_regression(prediction, target))
            accuracies.append(matching_accuracy(prediction, target))
        loss = torch.stack(losses).mean()
        self.log("train/loss", loss, prog_bar=True, batch_size=len(batch.indices))
        self.log("train/matching_accuracy", torch.stack(accuracies).mean(), batch_size=len(batch.indices))
        return loss

    def on_fit_start(self) -> None:
        super().on_fit_start()
        ours = set(self.teacher.modules())
        if all(module in ours for module in self.modules() if not module.training):
            warnings.filterwarnings("ignore", message=r".*module\(s\) in eval mode at the start of training")


def _network_of(teacher: str | nn.Module | Mapping[str, Any]) -> tuple[nn.Module, dict[str, Any] | None]:
    """The teacher's network, and how to make it again without its weights; None for a module."""
    if isinstance(teacher, nn.Module):
        return teacher, None
    if isinstance(teacher, Mapping):
        spec = {"backbone_kwargs": {}, **teacher}
        unknown = spec.keys() - {"backbone", "stem", "in_chans", "backbone_kwargs"}
        if unknown or not isinstance(spec.get("backbone"), str):
            raise UsageError(
                f"teacher={dict(teacher)}: a mapping must have backbone, a name, and may have stem, in_chans and "
                "backbone_kwargs."
            )
        kwargs = spec["backbone_kwargs"]
        rest = {name: value for name, value in spec.items() if name not in ("backbone", "backbone_kwargs")}
        return create_backbone(spec["backbone"], **rest, **kwargs), {**spec, "backbone_kwargs": _untrained(kwargs)}
    if Path(teacher).suffix in _FILES:
        return load_backbone(teacher), backbone_spec(teacher)
    return create_backbone(teacher, **_published_weights(teacher)), {"backbone": teacher}


def _untrained(kwargs: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in kwargs.items() if name not in ("pretrained", "weights")}


def _published_weights(name: str) -> dict[str, Any]:
    import timm

    of_torchvision = name.startswith("torchvision/") or not timm.is_model(name.removeprefix("timm/"))
    return {"weights": "DEFAULT"} if of_torchvision else {"pretrained": True}
