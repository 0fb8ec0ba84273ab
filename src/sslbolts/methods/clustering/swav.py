"""SwAV: unsupervised learning of visual features by contrasting cluster assignments."""

import math
from typing import Any, Unpack

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sslbolts.batch import ViewBatch
from sslbolts.checks import positive, whole
from sslbolts.distributed import all_sum, world_size
from sslbolts.errors import UsageError
from sslbolts.health import Indicator
from sslbolts.losses import sinkhorn, swapped_prediction
from sslbolts.methods.base import LRScaling, NetworkArguments, SSLModule
from sslbolts.methods.clustering.cosines import cosines, unit
from sslbolts.networks.backbones import BackboneLike
from sslbolts.networks.heads import mlp
from sslbolts.optim import LARC, OptimizerCallable
from sslbolts.readouts.kmeans import shard
from sslbolts.training.memory import FeatureQueue

__all__ = ["CodeQueue", "SwAV"]


class SwAV(SSLModule):
    r"""SwAV: each view predicts to which prototypes the others belong, all prototypes being used alike.

    Views of one size go through the backbone together and share their batch-norm statistics; the projector takes all of
    them in one call. The codes of the first ``num_coded`` views come from Sinkhorn iterations on the scores of the
    global batch, in float32, without gradient (:func:`sslbolts.losses.sinkhorn`); every other view predicts them
    (:func:`sslbolts.losses.swapped_prediction`).

    The rows of the prototypes have length 1 before every forward pass of a new optimizer step, and stand still in the
    first ``freeze_prototypes_steps`` steps. With small batches a queue of former embeddings joins the codes' batch: it
    is filled from epoch ``queue_from_epoch`` on and used once it is full. It is one queue for all ranks, of which each
    puts its share into the iterations: the official code has one of a W-th of the length per rank.

    Args:
        backbone: see :class:`SSLModule`.
        hidden_dim: width of the projector's hidden layer.
        output_dim: width `D` of the embeddings.
        num_prototypes: `K`.
        temperature: `τ` of the predictions.
        epsilon: `ε` of the codes; the smaller, the harder.
        iterations: rounds of Sinkhorn-Knopp.
        num_coded: how many views, from the first on, have codes: the large crops.
        freeze_prototypes_steps: optimizer steps in which the prototypes stand still; 313 at batch 4096, 5005 at 256.
        queue_length: rows of the queue over all ranks, a multiple of the global batch; 0 for none (batch 4096), 3840
            for batch 256.
        queue_from_epoch: epoch from which the queue is filled.
        optimizer: LARC on all parameters, biases and norms included, for batch 4096; lr 0.6 at batch 256.
        lr_scaling: see :class:`SSLModule`.
        warmup_epochs: of a rise from 0; the official one starts at 1/16 of the peak.
        final_lr: learning rate at the end, over the peak.
        network: see :class:`NetworkArguments`.

    Raises:
        UsageError: for a value out of its range.

    Source: Caron et al., Unsupervised Learning of Visual Features by Contrasting Cluster Assignments, NeurIPS 2020,
    arXiv:2006.09882.

    Example:
        >>> method = SwAV("resnet18", stem="cifar", num_prototypes=512)
        >>> method.prototypes.weight.norm(dim=1).allclose(torch.ones(512))
        True
    """

    starts_at_identity = False
    num_views = None
    decay_vectors = True
    own_statistics_from = 512  # the paper's groups of devices
    indicators = (
        Indicator(
            metric="train/loss_over_guessing",  # logged when the start is past, in which every run guesses
            above=0.9995,
            meaning="the loss stays at that of guessing, log(num_prototypes): nothing is predicted",
            fixes=(
                "a larger freeze_prototypes_steps",
                "a smaller epsilon",
                "fewer prototypes",
                "a shorter queue, or a later queue_from_epoch",
            ),
        ),
        Indicator(
            metric="train/perplexity",
            below=2.0,
            meaning="nearly all images of a batch are nearest to one and the same prototype",
            fixes=("a smaller epsilon", "a lower learning rate", "fewer prototypes"),
        ),
    )

    def __init__(
        self,
        backbone: BackboneLike = "resnet50",
        *,
        hidden_dim: int = 2048,
        output_dim: int = 128,
        num_prototypes: int = 3000,
        temperature: float = 0.1,
        epsilon: float = 0.05,
        iterations: int = 3,
        num_coded: int = 2,
        freeze_prototypes_steps: int = 313,
        queue_length: int = 0,
        queue_from_epoch: int = 15,
        optimizer: OptimizerCallable = lambda params: LARC(params, lr=0.3, weight_decay=1e-6),
        lr_scaling: LRScaling = "linear",
        warmup_epochs: float = 10.0,
        final_lr: float = 0.001,
        **network: Unpack[NetworkArguments],
    ) -> None:
        positive(temperature=temperature, epsilon=epsilon)
        whole(hidden_dim=hidden_dim, output_dim=output_dim, iterations=iterations, num_coded=num_coded)
        whole(2, num_prototypes=num_prototypes)
        whole(0, freeze_prototypes_steps=freeze_prototypes_steps, queue_length=queue_length)
        whole(0, queue_from_epoch=queue_from_epoch)
        super().__init__(backbone, optimizer, lr_scaling, warmup_epochs, final_lr, **network)
        self.temperature = temperature
        self.epsilon = epsilon
        self.iterations = iterations
        self.num_coded = num_coded
        self.freeze_prototypes_steps = freeze_prototypes_steps
        self.queue_from_epoch = queue_from_epoch
        self.projector = mlp(self.num_features, hidden_dim, output_dim)
        self.prototypes = nn.Linear(output_dim, num_prototypes, bias=False)
        self._normalize_prototypes()
        self.queue = CodeQueue(queue_length, num_coded, output_dim) if queue_length else None

    def training_step(self, batch: ViewBatch, batch_idx: int) -> Tensor:
        if len(batch.views) < max(2, self.num_coded):
            raise UsageError(
                f"a batch of {len(batch.views)} views: num_coded={self.num_coded} and one more are needed."
            )
        z = unit(self.projector(self.embed(batch.views)))  # (V * B, D)
        scores = cosines(z, self.prototypes.weight)
        embeddings = z.detach().chunk(len(batch.views))
        predictions = scores.chunk(len(batch.views))  # V times (B, K)
        codes = [self._codes(view, predictions[view].detach()) for view in range(self.num_coded)]
        loss = swapped_prediction(predictions, codes, temperature=self.temperature)
        if self.queue is not None and self.epochs_done >= self.queue_from_epoch:
            self.queue.stage(torch.stack(embeddings[: self.num_coded], dim=1))  # (B, A, D)
        images = len(batch.targets)
        self.log("train/loss", loss, prog_bar=True, batch_size=images)
        if self._is_under_way:
            guessing = math.log(self.prototypes.out_features)
            self.log("train/loss_over_guessing", loss.detach() / guessing, batch_size=images)
        self.log("train/perplexity", _perplexity(predictions[0].detach()), batch_size=images)
        return loss

    def _codes(self, view: int, scores: Tensor) -> Tensor:
        """Codes ``(B, K)`` of one view, with the queue's share of this rank where it is full."""
        images = len(scores)
        if self.queue is not None and self.queue.is_full:
            former = cosines(unit(shard(self.queue.view(view))), self.prototypes.weight)
            scores = torch.cat([former.detach(), scores])
        return sinkhorn(scores, epsilon=self.epsilon, iterations=self.iterations)[-images:]

    def on_train_start(self) -> None:
        if self.queue is not None:
            self.queue.count()

    def on_before_optimizer_step(self, optimizer: Any) -> None:
        if self._prototypes_are_frozen:
            self.prototypes.weight.grad = None  # neither momentum nor decay moves them

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        frozen = self._prototypes_are_frozen
        super().optimizer_step(*args, **kwargs)
        if not frozen:  # here and not before each forward: batches that accumulate see the same
            self._normalize_prototypes()

    @property
    def _prototypes_are_frozen(self) -> bool:
        return self.steps_done < self.freeze_prototypes_steps

    @property
    def _is_under_way(self) -> bool:
        """True when prototypes move, and warm-up and first epoch are over; until then a healthy run may guess too."""
        return not self._prototypes_are_frozen and self.epochs_done >= max(1, self.warmup_epochs)

    @torch.no_grad()
    def _normalize_prototypes(self) -> None:
        self.prototypes.weight.copy_(F.normalize(self.prototypes.weight, dim=1))


class CodeQueue(FeatureQueue):
    """Former embeddings of each coded view; in use once every row was written.

    Args:
        length: rows over all ranks.
        views: how many views have codes, `A`.
        dim: width of an embedding, `D`.

    Attributes:
        pushed: how many rows were ever written.
        is_full: whether that is all of them; known without asking the device.
    """

    pushed: Tensor

    def __init__(self, length: int, views: int, dim: int) -> None:
        super().__init__(length, views * dim)
        self.dim = dim
        self.register_buffer("pushed", torch.zeros((), dtype=torch.int64))
        self.is_full = False
        self._pushed = 0

    def count(self) -> None:
        """Read from the device how many rows there are: after a checkpoint was loaded."""
        self._pushed = int(self.pushed)
        self.is_full = self._pushed >= len(self.rows)

    def view(self, number: int) -> Tensor:
        """``(K, D)``: embeddings of one view."""
        return self.rows[:, number * self.dim : (number + 1) * self.dim]

    def update(self, rows: Tensor) -> None:
        super().update(rows.flatten(1))
        self.pushed.add_(len(rows) * world_size())
        self._pushed += len(rows) * world_size()
        self.is_full = self._pushed >= len(self.rows)


@torch.no_grad()
def _perplexity(scores: Tensor) -> Tensor:
    """Number of prototypes over which the images of all ranks spread, each in its nearest: `exp` of the entropy.

    Not that of soft predictions: those of embeddings that are all one point still spread over most prototypes.
    """
    nearest = scores.argmax(1, keepdim=True)
    members = torch.zeros(scores.shape, device=scores.device).scatter_(1, nearest, 1.0)
    used = all_sum(members.mean(0)) / world_size()  # (K,), sums to 1
    perplexity: Tensor = (-(used * used.clamp(min=1e-12).log()).sum()).exp()
    return perplexity
