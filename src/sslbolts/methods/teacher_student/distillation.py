"""Distillation: a small network learns the features of a trained one."""

from typing import Any, Unpack

import torch
from torch import Tensor, nn
from torch.optim import SGD

from sslbolts.batch import ViewBatch
from sslbolts.checks import whole
from sslbolts.health import Indicator
from sslbolts.losses import byol_regression, matching_accuracy
from sslbolts.methods.base import LRScaling, NetworkArguments, SSLModule
from sslbolts.methods.teacher_student.frozen import FrozenTeacher, accept_eval_mode, teacher_network
from sslbolts.networks.backbones import BackboneLike, feature_width
from sslbolts.networks.heads import mlp
from sslbolts.optim import OptimizerCallable

__all__ = ["Distillation"]


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
        optimizer: SGD as in the paper's code, lr 0.05 for 256 images, with decay on all parameters.
        lr_scaling, warmup_epochs, final_lr, network: see :class:`SSLModule`; the paper trains for 130 epochs.

    Raises:
        UsageError: for a file that does not exist or holds no backbone, or an unknown name.

    Source: Navaneet et al., SimReg: Regression as a Simple Yet Effective Tool for Self-supervised Knowledge
    Distillation, BMVC 2021, arXiv:2201.05131.

    Example:
        >>> method = Distillation("resnet10t", teacher={"backbone": "resnet18", "stem": "cifar"})
        >>> method.train().teacher.network.training, method.projector[-1][-1].out_features
        (False, 512)
    """

    starts_at_identity = False
    num_views = None
    decay_vectors = True
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
        optimizer: OptimizerCallable = lambda params: SGD(params, lr=0.05, momentum=0.9, weight_decay=1e-4),
        lr_scaling: LRScaling = "linear",
        warmup_epochs: float = 0.0,
        final_lr: float = 0.0,
        **network: Unpack[NetworkArguments],
    ) -> None:
        whole(expansion=expansion)
        super().__init__(backbone, optimizer, lr_scaling, warmup_epochs, final_lr, **network)
        trained, spec = teacher_network(teacher)
        if spec is not None:
            self.save_hyperparameters({"teacher": spec})  # in place of a path or of weights that only training needs
        self.teacher = FrozenTeacher(trained)
        width, hidden = self.num_features, expansion * self.num_features
        self.projector = nn.Sequential(mlp(width, hidden, width), mlp(width, hidden, feature_width(trained)))

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
        accept_eval_mode(self, self.teacher)
