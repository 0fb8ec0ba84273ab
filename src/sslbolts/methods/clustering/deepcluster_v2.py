"""DeepCluster-v2: classification of crops into clusters of the last epoch's embeddings."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from sslbolts.batch import ViewBatch
from sslbolts.distributed import gather, gather_ragged
from sslbolts.errors import UsageError
from sslbolts.health import Indicator
from sslbolts.losses import deepcluster_v2
from sslbolts.losses.precision import full_precision
from sslbolts.methods.base import SSLModule
from sslbolts.methods.clustering.cluster_statistics import INDICATORS, describe_clusters
from sslbolts.methods.training_features import number_of_training_images, training_features
from sslbolts.networks.backbones import BackboneLike
from sslbolts.networks.heads import mlp
from sslbolts.optim import LARC, OptimizerCallable
from sslbolts.readouts.kmeans import kmeans, shard
from sslbolts.training.memory import Memory
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
        final_lr: learning rate at the end, over the peak.
        recipe: what :class:`SSLModule` takes besides. The official warm-up starts at 1/16 of the peak, this one at 0.

    Source: Caron et al., Unsupervised Learning of Visual Features by Contrasting Cluster Assignments, NeurIPS 2020,
    arXiv:2006.09882; after Caron et al., Deep Clustering for Unsupervised Learning of Visual Features, ECCV 2018,
    arXiv:1807.05520.

    Example:
        >>> method = DeepClusterV2("resnet18", stem="cifar", num_prototypes=(1000, 1000))
        >>> [tuple(centroids.shape) for centroids in method.bank.centroids]
        [(1000, 128), (1000, 128)]
    """

    num_views = None
    decay_vectors = True
    own_statistics_from = 512  # the paper's groups of devices
    indicators = (
        Indicator(
            metric="train/largest_cluster",
            above=0.5,
            meaning="more than half of the images are in one cluster",
            fixes=("a lower learning rate", "more prototypes", "a longer warm-up"),
        ),
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
        final_lr: float = 0.001,
        **recipe: Any,
    ) -> None:
        if temperature <= 0:
            raise UsageError(f"temperature={temperature}: it divides the scores and must be positive.")
        if not num_prototypes or min(num_prototypes) < 2:
            raise UsageError(f"num_prototypes={tuple(num_prototypes)}: one number per head, each at least 2.")
        if num_banks < 1 or iterations < 1:
            raise UsageError(f"num_banks={num_banks}, iterations={iterations}: both are at least 1.")
        super().__init__(backbone, optimizer=optimizer, final_lr=final_lr, **recipe)
        self.temperature = temperature
        self.num_banks = num_banks
        self.iterations = iterations
        self.projector = mlp(self.num_features, hidden_dim, output_dim)
        self.bank = EmbeddingBank(0, output_dim, banks=num_banks, prototypes=num_prototypes)
        self._readings: dict[str, Tensor] = {}  # of the epoch's clusters; logged in every step, for the monitors

    def training_step(self, batch: ViewBatch, batch_idx: int) -> Tensor:
        if len(batch.views) < self.num_banks:
            raise UsageError(f"a batch of {len(batch.views)} views: num_banks={self.num_banks} are needed.")
        z = _unit(self.projector(self.embed(batch.views)))  # (V * B, D)
        targets = self.bank.assignments[:, batch.indices]  # (heads, B)
        scores = [_cosines(z, centroids) for centroids in self.bank.centroids]  # heads times (V * B, K)
        loss = deepcluster_v2(scores, targets, temperature=self.temperature)
        crops = z.chunk(len(batch.views))[: self.num_banks]
        self.bank.stage(torch.stack(crops, dim=1), batch.indices)  # (B, banks, D)
        images = len(batch.targets)
        self.log("train/loss", loss, prog_bar=True, batch_size=images)
        for name, value in self._readings.items():
            self.log(name, value, batch_size=images)
        return loss

    def on_train_start(self) -> None:
        if self._in_the_middle:
            self._readings = self._describe()

    def on_train_epoch_start(self) -> None:
        if self._in_the_middle:
            return
        if int(self.bank.epoch) < 0:
            self.bank.fill(training_features(self, self._embedding, batch_statistics=True))
        before = self.bank.assignments.clone()
        try:
            self.bank.cluster(self._seed, self.current_epoch, iterations=self.iterations, progress=self._shows_progress)
        except UsageError as error:
            raise UsageError(f"num_prototypes does not fit the images of an epoch: {error}") from error
        self._readings = self._describe(before)

    @property
    def _in_the_middle(self) -> bool:
        """Whether a run is resumed in this epoch; another fit of the same module begins without a step."""
        return int(self.bank.epoch) == self.current_epoch and self.trainer.global_step > 0

    def _embedding(self, x: Tensor) -> Tensor:
        return _unit(self.projector(self.backbone(x)))

    @property
    def _shows_progress(self) -> bool:
        return self.trainer.progress_bar_callback is not None  # type: ignore[attr-defined]

    def _describe(self, before: Tensor | None = None) -> dict[str, Tensor]:
        return describe_clusters(self.bank.assignments, [len(c) for c in self.bank.centroids], before)

    def setup(self, stage: str) -> None:
        if stage == "fit" and self.bank.num_images != (images := number_of_training_images(self.trainer)):
            if self.bank.num_images:
                raise UsageError(
                    f"there are {images:,} training images, but the clusters are of {self.bank.num_images:,}: a run "
                    "goes on only with the images that it began with."
                )
            self.bank.resize(images)
        super().setup(stage)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        assignments = checkpoint.get("state_dict", {}).get("bank.assignments")
        if assignments is not None and self.bank.num_images == 0:  # this module does not know its images yet
            self.bank.resize(assignments.shape[1])
        super().on_load_checkpoint(checkpoint)


class EmbeddingBank(Memory):
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

    rows: Tensor
    seen: Tensor
    assignments: Tensor
    epoch: Tensor

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
    def num_images(self) -> int:
        return len(self.seen)

    @property
    def centroids(self) -> list[Tensor]:
        """Of each head ``(K, D)``."""
        return [self.get_buffer(f"centroids_{head}") for head in range(self.heads)]

    def resize(self, num_images: int) -> None:
        """Start over, for so many images."""
        banks, _, dim = self.rows.shape
        self.rows = self.rows.new_zeros(banks, num_images, dim)
        self.seen = self.seen.new_zeros(num_images)
        self.assignments = self.assignments.new_full((self.heads, num_images), UNSEEN)
        self.epoch.fill_(-1)

    def fill(self, embeddings: Tensor) -> None:
        """Takes ``(N, D)`` embeddings of all images into every bank."""
        self.rows.copy_(embeddings.expand_as(self.rows))
        self.seen.fill_(True)

    def update(self, embeddings: Tensor, indices: Tensor) -> None:
        embeddings, indices = gather(embeddings).to(self.rows.dtype), gather(indices)
        # An image that came twice writes one and the same row twice, so that all ranks end up with the same.
        again = (indices[:, None] == indices).to(embeddings.dtype)
        mean = (again @ embeddings.flatten(1) / again.sum(1, keepdim=True)).view_as(embeddings)
        self.rows.index_copy_(1, indices, mean.transpose(0, 1))
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


@full_precision
def _unit(z: Tensor) -> Tensor:
    return F.normalize(z, dim=1)


@full_precision
def _cosines(z: Tensor, centroids: Tensor) -> Tensor:
    return z @ centroids.T
