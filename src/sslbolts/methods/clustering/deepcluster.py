"""DeepCluster: deep clustering for unsupervised learning of visual features."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sslbolts.batch import ViewBatch
from sslbolts.distributed import gather_ragged
from sslbolts.errors import UsageError
from sslbolts.health import Indicator
from sslbolts.losses.clustering import balanced_cross_entropy
from sslbolts.methods.base import SSLModule
from sslbolts.methods.clustering.cluster_statistics import INDICATORS, describe_clusters
from sslbolts.methods.training_features import number_of_training_images, training_features
from sslbolts.networks.alexnet import Sobel
from sslbolts.networks.backbones import BackboneLike
from sslbolts.optim import OptimizerCallable
from sslbolts.readouts.kmeans import kmeans, pca_whiten, shard
from sslbolts.training.memory import Memory
from sslbolts.training.seeds import generator

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
        warmup_epochs: none in the paper.
        recipe: what :class:`SSLModule` takes besides; the learning rate is constant, and ``final_lr`` stays 0.

    Source: Caron et al., Deep Clustering for Unsupervised Learning of Visual Features, ECCV 2018, arXiv:1807.05520.

    Example:
        >>> method = DeepCluster("resnet18", stem="cifar", sobel=True, num_clusters=100)
        >>> method(torch.randn(2, 3, 32, 32)).shape, method.classifier.out_features
        (torch.Size([2, 512]), 100)
    """

    num_views = 1
    indicators = (
        Indicator(
            metric="train/largest_cluster",
            above=0.5,
            meaning="more than half of the images are in one cluster",
            fixes=("a lower learning rate", "more clusters", "pca_dim, which whitens"),
        ),
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
        warmup_epochs: float = 0.0,
        **recipe: Any,
    ) -> None:
        if num_clusters < 2 or iterations < 1:
            raise UsageError(f"num_clusters={num_clusters}, iterations={iterations}: give two clusters and one round.")
        if recipe.get("final_lr", 0.0) != 0.0:
            raise UsageError("final_lr has no effect here: the learning rate is constant after the warm-up.")
        if sobel and isinstance(backbone, str):
            if recipe.get("in_chans", 3) not in (2, 3):
                raise UsageError(
                    f"sobel=True makes two channels of three, but in_chans={recipe['in_chans']}: leave it out."
                )
            recipe["in_chans"] = 2  # of the backbone
        super().__init__(backbone, optimizer=optimizer, warmup_epochs=warmup_epochs, **recipe)
        if pca_dim is not None and not 1 <= pca_dim <= self.num_features:
            raise UsageError(
                f"pca_dim={pca_dim}: the backbone has {self.num_features} features; give as many or fewer, or None."
            )
        self.pca_dim = pca_dim
        self.iterations = iterations
        self.sobel = Sobel() if sobel else None
        self.classifier = nn.Linear(self.num_features, num_clusters)
        self.pseudo_labels = PseudoLabels(0, num_clusters)
        self._drawn_evenly = False  # else the loss makes up for the sizes of clusters
        self._readings: dict[str, Tensor] = {}  # of the epoch's clusters; logged in every step, for the monitors

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
        for name, value in self._readings.items():
            self.log(name, value, batch_size=len(x))
        return loss

    def on_train_start(self) -> None:
        if self._in_the_middle:
            self._readings = self._describe()
            self._draw_evenly()

    def on_train_epoch_start(self) -> None:
        if self._in_the_middle:
            return
        before = self.pseudo_labels.labels.clone()
        self._cluster(training_features(self))
        self._renew_classifier()
        self._readings = self._describe(before)
        self._draw_evenly()

    @property
    def _in_the_middle(self) -> bool:
        """Whether a run is resumed in this epoch; another fit of the same module begins without a step."""
        return int(self.pseudo_labels.epoch) == self.current_epoch and self.trainer.global_step > 0

    def _draw_evenly(self) -> None:
        """Have the loader draw images uniformly over clusters, if it can."""
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
            generator=generator(self._seed, self.current_epoch, 0),
            progress=self.trainer.progress_bar_callback is not None,  # type: ignore[attr-defined]
        )
        self.pseudo_labels.take(gather_ragged(found.assignments), found.sizes, self.current_epoch)

    @torch.no_grad()
    def _renew_classifier(self) -> None:
        """New weights for new clusters, the same on all ranks; what the optimizer remembers of the old ones goes."""
        drawn = torch.empty(self.classifier.weight.shape)
        drawn.normal_(0, 0.01, generator=generator(self._seed, self.current_epoch, 1))
        self.classifier.weight.copy_(drawn)
        self.classifier.bias.zero_()
        for optimizer in self.trainer.optimizers:
            for parameter in self.classifier.parameters():
                optimizer.state.pop(parameter, None)

    def _describe(self, before: Tensor | None = None) -> dict[str, Tensor]:
        labels, clusters = self.pseudo_labels.labels, self.classifier.out_features
        return describe_clusters(labels[None], [clusters], None if before is None else before[None])

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
            self.pseudo_labels.prepare(number_of_training_images(self.trainer))
        super().setup(stage)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        labels = checkpoint.get("state_dict", {}).get("pseudo_labels.labels")
        if labels is not None and len(self.pseudo_labels.labels) == 0:  # this module does not know its images yet
            self.pseudo_labels.prepare(len(labels))
        super().on_load_checkpoint(checkpoint)


class PseudoLabels(Memory):
    """The clusters of all images, which change once per epoch.

    Args:
        num_images: `N`; 0 until :meth:`prepare`.
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

    labels: Tensor
    sizes: Tensor
    epoch: Tensor

    def __init__(self, num_images: int, num_clusters: int) -> None:
        super().__init__()
        self.register_buffer("labels", torch.full((num_images,), -1))
        self.register_buffer("sizes", torch.zeros(num_clusters, dtype=torch.int64))
        self.register_buffer("epoch", torch.tensor(-1))

    def prepare(self, num_images: int) -> None:
        """Be ready for so many images.

        Raises:
            UsageError: if there are labels, of another number of images.
        """
        if len(self.labels) not in (0, num_images):
            raise UsageError(
                f"there are {num_images:,} training images, but the clusters are of {len(self.labels):,}: a run goes "
                "on only with the images that it began with."
            )
        if len(self.labels) == 0:
            self.labels = self.labels.new_full((num_images,), -1)

    def take(self, labels: Tensor, sizes: Tensor, epoch: int) -> None:
        """The clusters of an epoch."""
        self.labels.copy_(labels)
        self.sizes.copy_(sizes)
        self.epoch.fill_(epoch)

    def weights(self, dtype: torch.dtype = torch.float32) -> Tensor:
        """``(K,)``: what an image of each cluster weighs, so that all clusters that have images weigh the same."""
        used = (self.sizes > 0).sum()
        return torch.where(self.sizes > 0, len(self.labels) / (used * self.sizes.clamp(min=1)).to(dtype), 0.0)
