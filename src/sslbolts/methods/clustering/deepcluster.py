"""DeepCluster: deep clustering for unsupervised learning of visual features."""

from typing import Any, Unpack

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sslbolts.batch import ViewBatch
from sslbolts.checks import whole
from sslbolts.distributed import gather_ragged
from sslbolts.errors import UsageError
from sslbolts.losses.clustering import balanced_cross_entropy
from sslbolts.methods.base import LRScaling, NetworkArguments, SSLModule
from sslbolts.methods.clustering.cluster_memory import ClusterMemory
from sslbolts.methods.clustering.cluster_statistics import (
    INDICATORS,
    cluster_statistics,
    known_agreement,
    largest_cluster,
)
from sslbolts.methods.training_features import training_features
from sslbolts.networks.alexnet import Sobel
from sslbolts.networks.backbones import BackboneLike
from sslbolts.optim import OptimizerCallable
from sslbolts.readouts.kmeans import kmeans, shard
from sslbolts.readouts.pca_whitening import pca_whiten

__all__ = ["DeepCluster", "PseudoLabels"]


class DeepCluster(SSLModule):
    """DeepCluster: cluster the features of all images, learn to tell the clusters apart, and again in every epoch.

    At the start of an epoch the features of all training images (in eval mode, under evaluation transforms) are reduced
    by PCA, whitened, scaled to length 1 and grouped by k-means, in which a cluster that lost its images takes half of
    the largest one's. The clusters are the labels of the epoch; the layer that predicts them is new. A cluster that has
    no images all the same (some images being equal) is no class of the epoch.

    Every cluster counts alike, whatever its size: images are drawn uniformly over clusters, by the training loader of a
    DataModule of sslbolts (or any other with a method ``draw_evenly_over(labels) -> bool``). From other loaders each
    image comes once per epoch, and its loss is weighed by the inverse of its cluster's size, which the paper names as
    equivalent (section 3.3).

    Labels are in the checkpoint, equal on all ranks. The features of all images are on the device while they are
    clustered: ``N * num_features`` numbers. A run that is resumed needs the same images in the same order.

    Args:
        backbone: see :class:`SSLModule`; the paper's is :class:`sslbolts.networks.alexnet.AlexNet`.
        num_clusters: `K`; ten times the number of classes suits ImageNet.
        pca_dim: width of the whitened features; None clusters the features as they are, scaled to length 1.
        iterations: of k-means.
        sobel: feed the backbone two channels of edges instead of colors (the paper's AlexNet and VGG).
        optimizer: SGD as in the paper; the new layer has no momentum where the optimizer has one.
        lr_scaling: see :class:`SSLModule`.
        warmup_epochs: none in the paper; the learning rate is constant after it.
        network: see :class:`NetworkArguments`.

    Raises:
        UsageError: for a value out of its range; when training starts, if it is resumed with other images.

    Source: Caron et al., Deep Clustering for Unsupervised Learning of Visual Features, ECCV 2018, arXiv:1807.05520.

    Example:
        >>> method = DeepCluster("resnet18", stem="cifar", sobel=True, num_clusters=100)
        >>> method(torch.randn(2, 3, 32, 32)).shape, method.classifier.out_features
        (torch.Size([2, 512]), 100)
    """

    starts_at_identity = True
    num_views = 1
    indicators = (
        largest_cluster("a lower learning rate", "more clusters", "pca_dim, which whitens"),
        *INDICATORS,
    )

    def __init__(
        self,
        backbone: BackboneLike = "resnet50",
        *,
        num_clusters: int = 10000,
        pca_dim: int | None = 256,
        iterations: int = 20,
        sobel: bool = False,
        optimizer: OptimizerCallable = lambda params: torch.optim.SGD(params, lr=0.05, momentum=0.9, weight_decay=1e-5),
        lr_scaling: LRScaling = "linear",
        warmup_epochs: float = 0.0,
        **network: Unpack[NetworkArguments],
    ) -> None:
        whole(2, num_clusters=num_clusters)
        whole(pca_dim=pca_dim, iterations=iterations)
        if network.get("final_lr") or network.get("milestones"):
            raise UsageError("final_lr and milestones have no effect: the learning rate is constant after the warm-up.")
        if sobel and isinstance(backbone, str):
            if network.get("in_chans", 3) not in (2, 3):
                raise UsageError(
                    f"sobel=True makes two channels of three, but in_chans={network['in_chans']}: leave it out."
                )
            network["in_chans"] = 2  # of the backbone
        super().__init__(backbone, optimizer, lr_scaling, warmup_epochs, **network)
        if pca_dim is not None and pca_dim > self.num_features:
            raise UsageError(
                f"pca_dim={pca_dim}: the backbone has {self.num_features} features; give as many or fewer, or None."
            )
        self.pca_dim = pca_dim
        self.iterations = iterations
        self.sobel = Sobel() if sobel else None
        self.classifier = nn.Linear(self.num_features, num_clusters)
        self.pseudo_labels = PseudoLabels(0, num_clusters)
        self._drawn_evenly = False  # else the loss makes up for the sizes of clusters
        self._statistics: dict[str, Tensor] = {}  # of the epoch's clusters; logged in every step, for the monitors

    def forward(self, x: Tensor) -> Tensor:
        """Features ``(B, num_features)`` of images ``(B, C, H, W)``."""
        features: Tensor = self.backbone(x if self.sobel is None else self.sobel(x))
        return features

    def training_step(self, batch: ViewBatch, batch_idx: int) -> Tensor:
        (x,) = batch.views
        logits = self.classifier(self(x).relu())  # (B, K)
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        logits = logits.masked_fill(self.pseudo_labels.sizes == 0, -torch.inf)  # as if there were no such class
        labels = self.pseudo_labels.labels[batch.indices]
        if self._drawn_evenly:
            loss = F.cross_entropy(logits, labels)
        else:
            loss = balanced_cross_entropy(logits, labels, self.pseudo_labels.weights(logits.dtype))
        self.log("train/loss", loss, prog_bar=True, batch_size=len(x))
        self.log_dict(self._statistics, batch_size=len(x))
        return loss

    def on_train_start(self) -> None:
        if self.pseudo_labels.are_of_this_epoch(self.trainer):
            self._begin_epoch()
            self._statistics |= known_agreement(self.trainer)

    def on_train_epoch_start(self) -> None:
        if self.pseudo_labels.are_of_this_epoch(self.trainer):
            return
        before = self.pseudo_labels.labels.clone()
        self._cluster(training_features(self))
        self._renew_classifier()
        self._begin_epoch(before[None])

    def _begin_epoch(self, before: Tensor | None = None) -> None:
        """Describe the clusters, and have the loader draw images uniformly over them, if it can."""
        labels, clusters = self.pseudo_labels.labels, self.classifier.out_features
        self._statistics = cluster_statistics(labels[None], [clusters], before)
        ask = getattr(self.trainer.train_dataloader, "draw_evenly_over", None)
        self._drawn_evenly = ask is not None and bool(ask(self.pseudo_labels.labels))

    def _cluster(self, features: Tensor) -> None:
        mine = shard(features)
        if self.pca_dim is not None:
            mine = pca_whiten(mine, self.pca_dim)(mine)
        found = kmeans(
            F.normalize(mine, dim=1),
            self.classifier.out_features,
            iterations=self.iterations,
            generator=self.generator(0),
            progress=self.trainer.progress_bar_callback is not None,  # type: ignore[attr-defined]
        )
        self.pseudo_labels.take(gather_ragged(found.assignments), found.sizes, self.current_epoch)

    @torch.no_grad()
    def _renew_classifier(self) -> None:
        """New weights for new clusters, the same on all ranks; what the optimizer remembers of the old ones goes."""
        drawn = torch.empty(self.classifier.weight.shape)
        drawn.normal_(0, 0.01, generator=self.generator(1))
        self.classifier.weight.copy_(drawn)
        self.classifier.bias.zero_()
        for optimizer in self.trainer.optimizers:
            for parameter in self.classifier.parameters():
                optimizer.state.pop(parameter, None)

    def parameter_groups(self) -> list[dict[str, Any]]:
        """The backbone, and the classifier without momentum; all are decayed."""
        backbone = [p for p in self.backbone.parameters() if p.requires_grad]
        return [{"params": backbone}, {"params": list(self.classifier.parameters()), "momentum": 0.0}]

    def lr_factor(self, step: int, *, total: int, warmup: int) -> float:
        """Constant after the warm-up."""
        return min(1.0, step / warmup) if warmup else 1.0

    def input_module(self) -> nn.Module:
        return self.backbone if self.sobel is None else self.sobel

    def setup(self, stage: str) -> None:
        if stage == "fit":
            self.pseudo_labels.prepare(self.trainer)
        super().setup(stage)


class PseudoLabels(ClusterMemory):
    """The clusters of all images, which change once per epoch.

    Args:
        num_images: `N`; 0 until :meth:`resize`.
        num_clusters: `K`.

    Attributes:
        labels: ``(N,)`` int64; -1 before the first epoch.
        sizes: ``(K,)`` int64.
        epoch: of which the labels are; -1 before the first.

    Example:
        >>> pseudo = PseudoLabels(3, 4)
        >>> pseudo.take(torch.tensor([0, 2, 2]), torch.tensor([1, 0, 2, 0]), epoch=0)
        >>> pseudo.weights().tolist()  # images of either cluster weigh as much together; on average an image weighs 1
        [1.5, 0.0, 0.75, 0.0]
    """

    per_image = "labels"
    labels: Tensor
    sizes: Tensor

    def __init__(self, num_images: int, num_clusters: int) -> None:
        super().__init__()
        self.register_buffer("labels", torch.full((num_images,), -1))
        self.register_buffer("sizes", torch.zeros(num_clusters, dtype=torch.int64))
        self.register_buffer("epoch", torch.tensor(-1))

    def resize(self, num_images: int) -> None:
        self.labels = self.labels.new_full((num_images,), -1)
        self.sizes.zero_()
        self.epoch.fill_(-1)

    def take(self, labels: Tensor, sizes: Tensor, epoch: int) -> None:
        """Hold the clusters of an epoch."""
        self.labels.copy_(labels)
        self.sizes.copy_(sizes)
        self.epoch.fill_(epoch)

    def weights(self, dtype: torch.dtype = torch.float32) -> Tensor:
        """``(K,)``: weight of an image of each cluster, so that all clusters that have images weigh the same."""
        used = (self.sizes > 0).sum()
        return torch.where(self.sizes > 0, len(self.labels) / (used * self.sizes.clamp(min=1)).to(dtype), 0.0)
