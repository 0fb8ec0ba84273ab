"""DeepCluster-v2: classification of crops into clusters of the last epoch's embeddings."""

from collections.abc import Sequence
from typing import Unpack

import torch
from torch import Tensor

from sslbolts.batch import ViewBatch
from sslbolts.checks import positive, whole
from sslbolts.distributed import gather, gather_ragged
from sslbolts.errors import UsageError
from sslbolts.losses import deepcluster_v2
from sslbolts.methods.base import LRScaling, NetworkArguments, SSLModule
from sslbolts.methods.clustering.cluster_memory import ClusterMemory
from sslbolts.methods.clustering.cluster_statistics import (
    INDICATORS,
    cluster_statistics,
    known_agreement,
    largest_cluster,
)
from sslbolts.methods.clustering.cosines import cosines, unit
from sslbolts.methods.training_features import training_features
from sslbolts.networks.backbones import BackboneLike
from sslbolts.networks.heads import mlp
from sslbolts.optim import LARC, OptimizerCallable
from sslbolts.readouts.kmeans import kmeans, shard
from sslbolts.training.resized import mean_of_same_image
from sslbolts.training.seeds import generator

__all__ = ["DeepClusterV2", "EmbeddingBank"]

UNSEEN = -100


class DeepClusterV2(SSLModule):
    r"""DeepCluster-v2: all crops are classified into the cluster that their image had in the last epoch.

    At the start of an epoch, spherical k-means groups the embeddings that the images had in the epoch before. Each of
    several heads has a clustering of its own, from other random rows and, in turn, from another of the two large crops.
    The centroids are the head's classifier for the epoch, and are not trained; the loss is
    :func:`sslbolts.losses.deepcluster_v2` on all crops. Images that the last epoch left out have no cluster.

    Before the first epoch there are the embeddings of one pass over all images, with the batch norms' own statistics of
    each batch. That pass sees one view of an image (under evaluation transforms, with a DataModule of sslbolts), so in
    the first epoch all heads cluster the same embeddings, though from other first centroids. The official pass runs the
    training loader, and so has another random crop for each bank.

    Embeddings, assignments and centroids are in the checkpoint, equal on all ranks; they take
    ``2 * N * D`` numbers on the device. A run that is resumed needs the same images in the same order. (The official
    code keeps each rank's own images on it, and so needs as many ranks to resume.)

    Args:
        backbone: see :class:`SSLModule`.
        hidden_dim: width of the projector's hidden layer.
        output_dim: width `D` of the embeddings.
        num_prototypes: clusters of each head.
        temperature: `τ`.
        num_banks: how many views, from the first on, are remembered: the large crops. Head `j` clusters bank
            ``j % num_banks``.
        iterations: of k-means.
        optimizer: LARC on all parameters, biases and norms included; the learning rate is SwAV's.
        lr_scaling: see :class:`SSLModule`.
        warmup_epochs: of a rise from 0; the official one starts at 1/16 of the peak.
        final_lr: learning rate at the end, over the peak.
        network: see :class:`NetworkArguments`.

    Raises:
        UsageError: for a value out of its range; when training starts, if it is resumed with other images.

    Source: Caron et al., Unsupervised Learning of Visual Features by Contrasting Cluster Assignments, NeurIPS 2020,
    arXiv:2006.09882; after Caron et al., Deep Clustering for Unsupervised Learning of Visual Features, ECCV 2018,
    arXiv:1807.05520.

    Example:
        >>> method = DeepClusterV2("resnet18", stem="cifar", num_prototypes=(1000, 1000))
        >>> [tuple(centroids.shape) for centroids in method.bank.centroids]
        [(1000, 128), (1000, 128)]
    """

    starts_at_identity = False
    num_views = None
    decay_vectors = True
    own_statistics_from = 512  # the paper's groups of devices
    indicators = (
        largest_cluster("a lower learning rate", "more prototypes", "a longer warm-up"),
        *INDICATORS,
    )

    def __init__(
        self,
        backbone: BackboneLike = "resnet50",
        *,
        hidden_dim: int = 2048,
        output_dim: int = 128,
        num_prototypes: Sequence[int] = (3000, 3000, 3000),
        temperature: float = 0.1,
        num_banks: int = 2,
        iterations: int = 10,
        optimizer: OptimizerCallable = lambda params: LARC(params, lr=0.3, weight_decay=1e-6),
        lr_scaling: LRScaling = "linear",
        warmup_epochs: float = 10.0,
        final_lr: float = 0.001,
        **network: Unpack[NetworkArguments],
    ) -> None:
        positive(temperature=temperature)
        whole(hidden_dim=hidden_dim, output_dim=output_dim, num_banks=num_banks, iterations=iterations)
        if not num_prototypes:
            raise UsageError("num_prototypes is empty: give one number per head.")
        for clusters in num_prototypes:
            whole(2, num_prototypes=clusters)
        super().__init__(backbone, optimizer, lr_scaling, warmup_epochs, final_lr, **network)
        self.temperature = temperature
        self.num_banks = num_banks
        self.iterations = iterations
        self.projector = mlp(self.num_features, hidden_dim, output_dim)
        self.bank = EmbeddingBank(0, output_dim, banks=num_banks, prototypes=num_prototypes)
        self._statistics: dict[str, Tensor] = {}  # of the epoch's clusters; logged in every step, for the monitors

    def training_step(self, batch: ViewBatch, batch_idx: int) -> Tensor:
        if len(batch.views) < self.num_banks:
            raise UsageError(f"a batch of {len(batch.views)} views: num_banks={self.num_banks} are needed.")
        z = unit(self.projector(self.embed(batch.views)))  # (V * B, D)
        targets = self.bank.assignments[:, batch.indices]  # (heads, B)
        scores = [cosines(z, centroids) for centroids in self.bank.centroids]  # heads times (V * B, K)
        loss = deepcluster_v2(scores, targets, temperature=self.temperature)
        crops = z.chunk(len(batch.views))[: self.num_banks]
        self.bank.stage(torch.stack(crops, dim=1), batch.indices)  # (B, banks, D)
        images = len(batch.targets)
        self.log("train/loss", loss, prog_bar=True, batch_size=images)
        self.log_dict(self._statistics, batch_size=images)
        return loss

    def on_train_start(self) -> None:
        if self.bank.are_of_this_epoch(self.trainer):
            self._statistics = self._describe() | known_agreement(self.trainer)

    def on_train_epoch_start(self) -> None:
        if self.bank.are_of_this_epoch(self.trainer):
            return
        if int(self.bank.epoch) < 0:
            self.bank.fill(training_features(self, self._embedding, batch_statistics=True))
        before = self.bank.assignments.clone()
        bar = self.trainer.progress_bar_callback is not None  # type: ignore[attr-defined]
        try:
            self.bank.cluster(self._seed, self.current_epoch, iterations=self.iterations, progress=bar)
        except UsageError as error:
            raise UsageError(f"num_prototypes does not fit the images of an epoch: {error}") from error
        self._statistics = self._describe(before)

    def _embedding(self, x: Tensor) -> Tensor:
        return unit(self.projector(self.backbone(x)))

    def _describe(self, before: Tensor | None = None) -> dict[str, Tensor]:
        return cluster_statistics(self.bank.assignments, [len(c) for c in self.bank.centroids], before)

    def setup(self, stage: str) -> None:
        if stage == "fit":
            self.bank.prepare(self.trainer)
        super().setup(stage)


class EmbeddingBank(ClusterMemory):
    """The embeddings of an epoch, and the clusters of those of the epoch before.

    Args:
        num_images: `N`; 0 until :meth:`resize`.
        dim: width `D` of an embedding.
        banks: how many embeddings of an image are kept.
        prototypes: clusters of each head.

    Attributes:
        rows: ``(banks, N, D)``, of length 1.
        seen: ``(N,)`` bool: which images this epoch has embedded.
        assignments: ``(heads, N)`` int64; -100 without a cluster.
        epoch: of which the assignments are; -1 before the first.

    Example:
        >>> bank = EmbeddingBank(3, 2, banks=1, prototypes=(2,))
        >>> bank.stage(torch.tensor([[[1.0, 0.0]], [[0.0, 1.0]]]), torch.tensor([2, 0]))
        >>> bank.commit()
        >>> bank.cluster(0, 0, iterations=1)
        >>> bank.assignments.tolist()[0][1], bank.epoch.item()
        (-100, 0)
    """

    per_image = "seen"
    rows: Tensor
    seen: Tensor
    assignments: Tensor

    def __init__(self, num_images: int, dim: int, *, banks: int, prototypes: Sequence[int]) -> None:
        super().__init__()
        self.heads = len(prototypes)
        self.register_buffer("rows", torch.zeros(banks, 0, dim))
        self.register_buffer("seen", torch.zeros(0, dtype=torch.bool))
        self.register_buffer("assignments", torch.zeros(self.heads, 0, dtype=torch.int64))
        self.register_buffer("epoch", torch.tensor(-1))
        for head, clusters in enumerate(prototypes):
            self.register_buffer(f"centroids_{head}", torch.zeros(clusters, dim))
        self.resize(num_images)

    @property
    def centroids(self) -> list[Tensor]:
        """``(K, D)`` of each head."""
        return [self.get_buffer(f"centroids_{head}") for head in range(self.heads)]

    def resize(self, num_images: int) -> None:
        banks, _, dim = self.rows.shape
        self.rows = self.rows.new_zeros(banks, num_images, dim)
        self.seen = self.seen.new_zeros(num_images)
        self.assignments = self.assignments.new_full((self.heads, num_images), UNSEEN)
        self.epoch.fill_(-1)

    def fill(self, embeddings: Tensor) -> None:
        """Takes embeddings ``(N, D)`` of all images into every bank."""
        self.rows.copy_(embeddings.expand_as(self.rows))
        self.seen.fill_(True)

    def update(self, embeddings: Tensor, indices: Tensor) -> None:
        embeddings, indices = gather(embeddings).to(self.rows.dtype), gather(indices)
        self.rows.index_copy_(1, indices, mean_of_same_image(embeddings, indices).transpose(0, 1))
        self.seen.index_fill_(0, indices, True)

    def cluster(self, seed: int, epoch: int, *, iterations: int, progress: bool = False) -> None:
        """Clusters what was embedded, for every head, and forgets which images were: the next epoch begins.

        Args:
            seed: of the run; with the epoch and the head it decides from which rows k-means starts.
            epoch: that begins.
            iterations: of k-means.
            progress: show a bar if it takes more than two seconds.
        """
        known = self.seen.nonzero().flatten()
        for head, centroids in enumerate(self.centroids):
            found = kmeans(
                shard(self.rows[head % len(self.rows), known]),
                len(centroids),
                iterations=iterations,
                generator=generator(seed, epoch, head),
                spherical=True,
                empty="keep",
                progress=progress,
            )
            centroids.copy_(found.centroids)
            self.assignments[head].fill_(UNSEEN)
            self.assignments[head, known] = gather_ragged(found.assignments)
        self.seen.fill_(False)
        self.epoch.fill_(epoch)
