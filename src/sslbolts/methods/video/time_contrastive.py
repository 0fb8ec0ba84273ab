"""TimeContrastive: time-contrastive networks, self-supervised learning from video."""

import math
from typing import Any, Literal, Unpack, get_args

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.optim import Adam

from sslbolts.batch import ViewBatch
from sslbolts.checks import at_least, below_one, one_of, positive, whole
from sslbolts.distributed import world_size
from sslbolts.errors import UsageError
from sslbolts.health import loss_of_chance
from sslbolts.losses import matching_accuracy, n_pairs, pair_triplet, time_contrastive
from sslbolts.methods.base import LRScaling, NetworkArguments, SSLModule
from sslbolts.networks.backbones import BackboneLike
from sslbolts.networks.first_layers import freeze_behind, maps_until
from sslbolts.networks.frame_embedder import frame_embedder, spatial_embedder
from sslbolts.optim import OptimizerCallable
from sslbolts.training.frame_places import FramePlaces, frame_places
from sslbolts.training.shared_draws import uniform

__all__ = ["TimeContrastive"]

FrameLoss = Literal["single_view", "n_pairs", "pair_triplet"]
"""Semi-hard triplets of frames near and far in time; softmax over pairs; cosine triplets of pairs, negatives mined."""


class TimeContrastive(SSLModule):
    """TimeContrastive: frames of a video near in time are embedded near each other, frames farther off in time are not.

    With ``loss="single_view"`` a batch is a window of frames, and sequence and time of each say what belongs together;
    the DataModule's dataset tells them (``frame_places``). With the other two a batch has pairs of frames, of two views
    of one moment (the paper's multi-view form, "n_pairs") or of two moments ("pair_triplet", Wang and Gupta): such as
    ``pairs="views"`` and ``pairs="times"`` of ``VideoFramesDataModule`` give them. Any two views of an image will do.

    The embedder stands on the backbone's pooled features, or, as in the paper, on the maps of an inner ``layer``: then
    two convolutions and a spatial softmax come first, the layers behind are neither run nor trained, and the features
    that are evaluated are that layer's, averaged (``OnlineLinearProbe`` is told so: ``features="backbone.Mixed_5d"``).
    The paper has ``backbone="inception_v3"``, ``layer="Mixed_5d"``, ``hidden_dim=2048``, and a trunk that was trained
    on ImageNet and frozen.

    Args:
        loss: see above; "single_view" takes one view, the others two.
        positive_radius: of "single_view", frames within which one belongs to another.
        negative_radius: of "single_view", frames beyond which one does not; those in between say nothing.
        margin: of the triplets; None is 0.2 for "single_view" and 0.5 for "pair_triplet".
        regularization: of "n_pairs", the weight of the embeddings' squared length.
        hard_negatives: of "pair_triplet", negatives of each anchor.
        hard_from_epoch: of "pair_triplet", epoch from which they are the hardest; before, they are random.
        layer: layer of the backbone on whose maps the embedder stands; None takes pooled features.
        hidden_dim: width of the embedder's hidden layer.
        output_dim: width of the embedding.
        dropout: of the embedder's input and its hidden units; 0.2 in the paper's multi-view form.
        optimizer: Adam with lr 1e-3, or 1e-4 in the multi-view form, and L2 of 1e-6.
        backbone, lr_scaling, warmup_epochs, final_lr, network: see :class:`SSLModule`. The learning rate is constant.

    Raises:
        UsageError: for a value out of its range, or a layer that the backbone does not have; when training starts, if
            the frames of "single_view" have no time.

    Source: Sermanet et al., Time-Contrastive Networks: Self-Supervised Learning from Video, ICRA 2018,
    arXiv:1704.06888; "pair_triplet": Wang and Gupta, Unsupervised Learning of Visual Representations using Videos,
    ICCV 2015, arXiv:1505.00687, with weight decay 5e-4.

    Example:
        >>> method = TimeContrastive("resnet18", loss="n_pairs")
        >>> frames = [torch.rand(4, 3, 64, 64)] * 2
        >>> method.embed_frames(frames[0]).shape, method.num_views
        (torch.Size([4, 32]), 2)
    """

    num_views = 1
    embedding = "embedder"
    starts_at_identity = True
    indicators = (
        loss_of_chance("equal embeddings of all frames", "a smaller learning rate", "greater radii", "more frames"),
    )

    def __init__(
        self,
        backbone: BackboneLike = "resnet50",
        *,
        loss: FrameLoss = "single_view",
        positive_radius: int = 6,
        negative_radius: int = 12,
        margin: float | None = None,
        regularization: float = 0.002,
        hard_negatives: int = 4,
        hard_from_epoch: int = 10,
        layer: str | None = None,
        hidden_dim: int = 2048,
        output_dim: int = 32,
        dropout: float = 0.0,
        optimizer: OptimizerCallable = lambda params: Adam(params, lr=1e-3, weight_decay=1e-6),
        lr_scaling: LRScaling = "none",
        warmup_epochs: float = 0.0,
        final_lr: float = 1.0,
        **network: Unpack[NetworkArguments],
    ) -> None:
        one_of(get_args(FrameLoss), loss=loss)
        whole(positive_radius=positive_radius, negative_radius=negative_radius, hard_negatives=hard_negatives)
        whole(0, hard_from_epoch=hard_from_epoch)
        whole(hidden_dim=hidden_dim, output_dim=output_dim)
        positive(margin=margin)
        at_least(0, regularization=regularization)
        below_one(dropout=dropout)
        if negative_radius < positive_radius:
            raise UsageError(f"negative_radius={negative_radius} must be at least positive_radius={positive_radius}.")
        if layer is not None and network.get("compile_backbone"):
            raise UsageError(
                f"compile_backbone=True compiles the whole network, and layer={layer!r} is run alone: leave one out."
            )
        super().__init__(backbone, optimizer, lr_scaling, warmup_epochs, final_lr, **network)
        self.loss = loss
        self.num_views = 1 if loss == "single_view" else 2  # type: ignore[misc]  # of this one
        self.radii = {"positive_radius": positive_radius, "negative_radius": negative_radius}
        self.margin = margin if margin is not None else 0.2 if loss == "single_view" else 0.5
        self.regularization = regularization
        self.hard_negatives = hard_negatives
        self.hard_from_epoch = hard_from_epoch
        self.layer = layer
        if layer is None:
            self.embedder = frame_embedder(self.num_features, hidden_dim, output_dim, dropout=dropout)
        else:
            self.num_features = freeze_behind(self.backbone, layer, network.get("in_chans", 3))
            self.embedder = spatial_embedder(self.num_features, hidden_dim, output_dim, dropout=dropout)
        self._places: FramePlaces | None = None

    def training_step(self, batch: ViewBatch, batch_idx: int) -> Tensor:
        z = self.embed_frames(torch.cat(batch.views))  # (V * B, D)
        pairs = len(batch.indices)
        if self.loss == "single_view":
            loss, of_equal = self.of_windows(z, batch.indices), self.margin
        else:
            anchor, positive = z.chunk(2)  # (B, D)
            self.log_matching(matching_accuracy(anchor.detach(), positive.detach()), of=pairs, batch_size=pairs)
            if self.loss == "n_pairs":
                loss, of_equal = n_pairs(anchor, positive, self.regularization), math.log(max(2, pairs * world_size()))
            else:
                loss, of_equal = self.of_triplets(anchor, positive, batch_idx), self.margin
        self.log("train/loss", loss, prog_bar=True, batch_size=pairs)
        self.log("train/loss_of_chance", loss.detach() / of_equal, batch_size=pairs)
        return loss

    def of_windows(self, z: Tensor, rows: Tensor) -> Tensor:
        """Loss of frames ``(B, D)`` by their rows ``(B,)`` of the dataset."""
        assert self._places is not None
        sequences, times = self._places.sequences[rows], self._places.times[rows]
        z = F.normalize(z, dim=1)
        self.log_neighbors(z.detach(), sequences, times)
        return time_contrastive(z, times, sequences, **self.radii, margin=self.margin)

    def of_triplets(self, anchor: Tensor, positive: Tensor, batch_idx: int) -> Tensor:
        """Loss of pairs ``(B, D)``, with random negatives at first."""
        draws = None
        if self.epochs_done < self.hard_from_epoch:
            drawn = self.generator(batch_idx, device=anchor.device)
            draws = uniform(len(anchor), 2 * len(anchor) * world_size(), generator=drawn)
        return pair_triplet(anchor, positive, negatives=self.hard_negatives, margin=self.margin, draws=draws)

    def embed_frames(self, frames: Tensor) -> Tensor:
        """Embeddings ``(B, output_dim)`` of frames ``(B, C, H, W)``, not normalized."""
        inputs = self.backbone(frames) if self.layer is None else maps_until(self.backbone, self.layer, frames)
        embeddings: Tensor = self.embedder(inputs)
        return embeddings

    def forward(self, x: Tensor) -> Tensor:
        """Features ``(B, num_features)`` of images ``(B, C, H, W)``: the backbone's, or those of ``layer``."""
        if self.layer is None:
            return super().forward(x)
        return maps_until(self.backbone, self.layer, x).mean((2, 3))

    def log_neighbors(self, z: Tensor, sequences: Tensor, times: Tensor) -> None:
        """Logs how often the nearest of a batch's other frames is one within ``positive_radius``, also over chance."""
        near = (times[:, None] - times).abs() <= self.radii["positive_radius"]
        near = (near & (sequences[:, None] == sequences)).fill_diagonal_(False)  # (B, B)
        nearest = (z @ z.T).fill_diagonal_(-2).argmax(1, keepdim=True)
        found = near.gather(1, nearest).float().mean()
        self.log("train/nearest_in_time", found, batch_size=len(z))
        chance = near.float().sum() / max(1, len(z) * (len(z) - 1))  # of any other frame
        self.log("train/accuracy_over_chance", found / chance.clamp(min=1e-6), batch_size=len(z))

    def on_train_start(self) -> None:
        super().on_train_start()
        if self.loss == "single_view":
            self._places = frame_places(self.trainer.train_dataloader).to(self.device)

    def on_train_end(self) -> None:
        super().on_train_end()
        self._places = None

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        super().on_train_batch_start(batch, batch_idx)
        if batch_idx > 0 or self.epochs_done > 0:
            return
        if self._places is None:
            if len(batch.indices) * world_size() < 2:
                raise UsageError("a batch of one pair has no negatives: give a batch_size of 2 or more.")
            return
        sequences, times = (of[batch.indices] for of in self._places)
        reach = int(times.max() - times.min())
        alone = world_size() == 1 and bool((sequences == sequences[0]).all())
        if alone and reach <= self.radii["negative_radius"]:
            raise UsageError(
                f"the batch is one window of {reach + 1} frames, and none is more than negative_radius="
                f"{self.radii['negative_radius']} from another: give a greater batch_size or a smaller negative_radius."
            )
