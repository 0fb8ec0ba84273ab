"""MoCo: momentum contrast for unsupervised visual representation learning, versions 1 and 2."""

from collections.abc import Sequence
from typing import Any, Unpack

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import SGD

from sslbolts._lightning import Callback
from sslbolts.batch import ViewBatch
from sslbolts.callbacks.ema import EMATeacher
from sslbolts.checks import fraction, positive, whole
from sslbolts.distributed import gather, rank, world_size
from sslbolts.errors import UsageError
from sslbolts.health import Indicator, accuracy_over_chance
from sslbolts.losses import info_nce, matching_accuracy
from sslbolts.methods.base import LRScaling, NetworkArguments, SSLModule
from sslbolts.networks.backbones import BackboneLike
from sslbolts.networks.heads import mlp
from sslbolts.networks.split_batch_norm import join_batch_norms, split_batch_norms
from sslbolts.networks.teacher import Teacher
from sslbolts.optim import OptimizerCallable
from sslbolts.training.memory import FeatureQueue, only_measures

__all__ = ["MoCo"]


class MoCo(SSLModule):
    """MoCo: find a view's key, made by a slow teacher, among a long queue of former keys.

    The arguments are those of version 2. Version 1 is ``hidden_dim=None, temperature=0.07, milestones=(0.6, 0.8)`` on
    the views "moco_v1".

    A step takes the query of the first view, the key of the second, compares with the queue as it was before, and
    then appends the keys of all ranks. The teacher moves after each optimizer step; the official code moves it before
    the next key, which is the same sequence. Keys are made in batches other than those of the queries, shuffled over
    all ranks: else batch norm tells which key is whose, and nothing is learned. On fewer than ``bn_splits`` devices,
    batch norms split each batch into groups to the same end.

    Args:
        hidden_dim: width of the head's hidden layer; None for version 1's linear head. The head has no batch norm.
        output_dim: width of queries and keys.
        temperature: `τ`; 0.2 in version 2, 0.07 in version 1, 0.1 on CIFAR-10.
        queue_length: `K`, a multiple of the keys of one optimizer step; 65,536 on ImageNet, 4,096 on CIFAR-10.
        momentum: of the teacher, constant; 0.99 on CIFAR-10.
        symmetric: use both views as queries and both as keys, and add the two losses.
        bn_splits: groups of the global batch that have batch-norm statistics of their own, 8 as on the paper's eight
            devices: one device makes 8 of its batch, two make 4 each, eight or more none. 1 for a backbone without
            batch norms, or with synchronized ones.
        milestones: parts of the run at which the learning rate is divided by 10; none for a cosine.
        optimizer: SGD, with decay of all parameters.
        backbone, lr_scaling, warmup_epochs, final_lr, network: see :class:`SSLModule`.

    Raises:
        UsageError: for a value out of its range; when training starts, if ``queue_length`` is no multiple of the keys
            of one step.

    Source: He et al., Momentum Contrast for Unsupervised Visual Representation Learning, CVPR 2020, arXiv:1911.05722;
    Chen et al., Improved Baselines with Momentum Contrastive Learning, arXiv:2003.04297.

    Example:
        >>> method = MoCo("resnet18", stem="cifar", queue_length=4096, momentum=0.99, temperature=0.1)
        >>> method.queue.rows.shape
        torch.Size([4096, 128])
    """

    starts_at_identity = False
    indicators = (
        Indicator(
            metric="train/accuracy",
            above=0.98,
            meaning="nearly every key is found among the queue's: batch statistics tell which key is whose",
            fixes=("more groups with bn_splits", "a backbone without batch norm", "sync_batchnorm=True"),
        ),
        accuracy_over_chance(
            "keys are found among the queue's",
            "a lower learning rate or a warm-up",
            "a temperature in 0.07 to 0.2",
            "a higher momentum",
        ),
    )

    own_statistics_from = 1  # what shuffling is for
    decay_vectors = True

    def __init__(
        self,
        backbone: BackboneLike = "resnet50",
        *,
        hidden_dim: int | None = 2048,
        output_dim: int = 128,
        temperature: float = 0.2,
        queue_length: int = 65536,
        momentum: float = 0.999,
        symmetric: bool = False,
        bn_splits: int = 8,
        milestones: Sequence[float] = (),
        optimizer: OptimizerCallable = lambda params: SGD(params, lr=0.03, momentum=0.9, weight_decay=1e-4),
        lr_scaling: LRScaling = "linear",
        warmup_epochs: float = 0.0,
        final_lr: float = 0.0,
        **network: Unpack[NetworkArguments],
    ) -> None:
        positive(temperature=temperature)
        fraction(momentum=momentum)
        whole(hidden_dim=hidden_dim, output_dim=output_dim, queue_length=queue_length, bn_splits=bn_splits)
        super().__init__(backbone, optimizer, lr_scaling, warmup_epochs, final_lr, milestones=milestones, **network)
        self.temperature = temperature
        self.momentum = momentum
        self.symmetric = symmetric
        self.bn_splits = bn_splits
        hidden = () if hidden_dim is None else (hidden_dim,)
        self.projector = mlp(self.num_features, *hidden, output_dim, batch_norm=False)
        self.teacher = Teacher(self.backbone, self.projector)
        self.queue = FeatureQueue(queue_length, output_dim)

    def training_step(self, batch: ViewBatch, batch_idx: int) -> Tensor:
        x1, x2 = batch.views
        q = self.projector(self.backbone(x1))  # (B, output_dim)
        k = self.keys(x2, batch_idx)
        loss = info_nce(q, k, self.queue.rows, self.temperature)
        if self.symmetric:
            q2, k1 = self.projector(self.backbone(x2)), self.keys(x1, batch_idx)
            loss = loss + info_nce(q2, k1, self.queue.rows, self.temperature)
            self.queue.stage(torch.cat([k, k1]))
        else:
            self.queue.stage(k)
        self.log("train/loss", loss, prog_bar=True, batch_size=len(x1))
        if self.steps_done * self._keys_per_step(batch) >= len(self.queue.rows):  # keys have replaced the noise in it
            accuracy = matching_accuracy(q, k, self.queue.rows)
            self.log_matching(accuracy, of=1 + len(self.queue.rows), batch_size=len(x1), name="train/accuracy")
        return loss

    @torch.no_grad()
    def keys(self, x: Tensor, batch_idx: int) -> Tensor:
        """The teacher's embeddings of unit length ``(B, output_dim)``, made in batches shuffled over all ranks."""
        everyone = gather(x)
        order = torch.randperm(len(everyone), generator=self.generator(batch_idx, device=x.device), device=x.device)
        shuffled = gather(self.teacher(everyone[order.chunk(world_size())[rank()]]))
        return F.normalize(shuffled[order.argsort()].chunk(world_size())[rank()], dim=1)

    def configure_callbacks(self) -> list[Callback]:
        return [EMATeacher(self.momentum, final_momentum=self.momentum)]

    def on_fit_start(self) -> None:
        super().on_fit_start()
        groups = self.bn_splits // self.trainer.world_size
        if groups > 1 and any(isinstance(norm, nn.SyncBatchNorm) for norm in self.backbone.modules()):
            raise UsageError(
                f"bn_splits={self.bn_splits} has no effect on synchronized batch norms: pass bn_splits=1, or leave out "
                "sync_batchnorm=True, since keys are shuffled over devices instead."
            )
        if groups > 1:
            split_batch_norms(self.backbone, groups)
            split_batch_norms(self.teacher.backbone, groups)

    def teardown(self, stage: str) -> None:
        super().teardown(stage)
        join_batch_norms(self.backbone)
        join_batch_norms(self.teacher.backbone)

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        super().on_train_batch_start(batch, batch_idx)
        keys, length = self._keys_per_step(batch), len(self.queue.rows)
        if batch_idx == 0 and length % keys and not only_measures(self.trainer):
            raise UsageError(
                f"queue_length={length} is no multiple of the {keys} keys that an optimizer step adds: choose a "
                f"multiple of {keys}, e.g. {max(length // keys, 1) * keys}, or another batch size."
            )

    def _keys_per_step(self, batch: ViewBatch) -> int:
        images = len(batch.targets) * world_size() * self.trainer.accumulate_grad_batches
        return images * (2 if self.symmetric else 1)
