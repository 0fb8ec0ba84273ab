"""Counting: a representation by learning to count."""

from typing import Any, Unpack

import torch
from torch import Tensor, nn
from torch.optim import Adam

from sslbolts.batch import ViewBatch
from sslbolts.checks import at_least, positive, whole
from sslbolts.distributed import gather, rank, world_size
from sslbolts.errors import UsageError
from sslbolts.health import Indicator
from sslbolts.losses.counting import counting, counting_distances
from sslbolts.methods.base import LRScaling
from sslbolts.methods.pretext.base import PretextArguments, PretextModule, Shown
from sslbolts.networks.backbones import BackboneLike
from sslbolts.optim import OptimizerCallable
from sslbolts.training.shared_draws import integers, uniform
from sslbolts.transforms.halving import FILTERS, halved

__all__ = ["Counting"]

COLOR_SHIFT = 0.1


class Counting(PretextModule):
    """Counting: what is counted in an image, at half its size, is the sum of what is counted in its four quarters.

    A network and a linear layer with ReLU give each patch a vector of counts. That all are zero would do, so the
    counts of another image must differ from that sum by a margin. The other image is the one before in the batch of
    all ranks. Each image is halved by a filter drawn for it, and the colors of each patch are shifted on their own, so
    that neither the traces of one filter nor colors tell that patches belong together; and most images are gray, which
    the views do (``grayscale_p`` of the recipe "counting").

    Args:
        num_counts: width of the counts.
        margin: squared distance that the counts of another image keep.
        color_shift: the largest shift of a patch's channel, in the units of the normalized images; 0 for none.
        optimizer: Adam, lr 1e-4: of a public implementation, since there is no official code.
        feature_layer: layer of the backbone that is evaluated; the paper's best is the third convolution of AlexNet,
            ``"features.7"`` of torchvision's.
        backbone, lr_scaling, warmup_epochs, final_lr, network: see :class:`SSLModule`.

    Raises:
        UsageError: for a value out of its range; when training starts, for a single image, or images of an odd size.

    Source: Noroozi et al., Representation Learning by Learning to Count, ICCV 2017, arXiv:1708.06734.

    Example:
        >>> method = Counting("torchvision/resnet18", num_counts=100)
        >>> method.counts(torch.rand(2, 5, 3, 32, 32)).shape
        torch.Size([2, 5, 100])
    """

    starts_at_identity = True
    embedding = "head"
    indicators = (
        Indicator(
            metric="train/zero_units",
            above=0.9,
            meaning="most units count nothing in any patch of a batch",
            fixes=("a smaller learning rate", "a larger margin", "fewer num_counts"),
        ),
        Indicator(
            metric="train/mean_count",
            below=1e-3,
            meaning="the counts vanish, which satisfies all but the margin",
            fixes=("a smaller learning rate", "a larger margin"),
        ),
        Indicator(
            metric="train/active_hinges",
            above=0.95,
            meaning="the counts of other images are as near as the image's own",
            fixes=("a larger learning rate", "a larger batch"),
        ),
    )

    def __init__(
        self,
        backbone: BackboneLike = "torchvision/alexnet",
        *,
        num_counts: int = 1000,
        margin: float = 10.0,
        color_shift: float = COLOR_SHIFT,
        optimizer: OptimizerCallable = lambda params: Adam(params, lr=1e-4),
        lr_scaling: LRScaling = "none",
        warmup_epochs: float = 0.0,
        final_lr: float = 0.0,
        **network: Unpack[PretextArguments],
    ) -> None:
        whole(num_counts=num_counts)
        positive(margin=margin)
        at_least(0, color_shift=color_shift)
        super().__init__(backbone, optimizer, lr_scaling, warmup_epochs, final_lr, **network)
        self.margin = margin
        self.color_shift = color_shift
        self.head = nn.Sequential(nn.Linear(self.num_features, num_counts), nn.ReLU())

    def training_step(self, batch: ViewBatch, batch_idx: int) -> Tensor:
        images = batch.views[0]
        generator = self.generator(batch_idx, device=images.device)
        filters = integers(len(images), below=len(FILTERS), generator=generator)
        shifts = uniform(len(images), 5, images.shape[1], generator=generator) * 2 - 1  # (B, 5, C)
        counts = self.counts(whole_and_tiles(images, filters, shifts * self.color_shift))  # (B, 5, K)
        phi_dx, phi_tiles = counts[:, 0], counts[:, 1:]
        first = rank() * len(images)
        phi_dy = gather(phi_dx).roll(1, 0)[first : first + len(images)]
        loss = counting(phi_dx, phi_tiles, phi_dy, self.margin)
        self.log("train/loss", loss, prog_bar=True, batch_size=len(images))
        self.log_counts(counts.detach(), phi_dy.detach())
        return loss

    def counts(self, patches: Tensor) -> Tensor:
        """Counts ``(B, P, K)`` of patches ``(B, P, C, h, w)``."""
        found: Tensor = self.head(self.backbone(patches.flatten(0, 1)))
        return found.view(*patches.shape[:2], -1)

    def log_counts(self, counts: Tensor, phi_dy: Tensor) -> None:
        """Logs whether there is anything to count, and how often tiles are nearest to the image that they are of."""
        phi_dx, phi_tiles = counts[:, 0].float(), counts[:, 1:].float()
        images = len(phi_dx)
        _, other = counting_distances(phi_dx, phi_tiles, phi_dy.float())
        self.log("train/mean_count", counts.float().mean(), batch_size=images)
        self.log("train/zero_units", (counts.flatten(0, 1) == 0).all(0).float().mean(), batch_size=images)
        self.log("train/active_hinges", (other.sum(1) < self.margin).float().mean(), batch_size=images)
        nearest = torch.cdist(phi_tiles.sum(1), phi_dx).argmin(1)
        right = (nearest == torch.arange(images, device=nearest.device)).float().mean()
        self.log_matching(right, of=images, batch_size=images)

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        super().on_train_batch_start(batch, batch_idx)
        images = batch.views[0]
        if any(side % 2 for side in images.shape[2:]):
            raise UsageError(
                f"Counting halves its images, and these have {tuple(images.shape[2:])} pixels: give the DataModule an "
                "even image_size."
            )
        if len(images) * world_size() == 1:
            raise UsageError("Counting compares an image with another one of its batch: batch_size=1 has none.")

    @classmethod
    def examples(cls, images: Tensor, generator: torch.Generator) -> list[Shown]:
        """The halved image and its quarters, which are shown to the network one by one."""
        filters = torch.randint(len(FILTERS), (len(images),), generator=generator)
        shifts = torch.rand(len(images), 5, images.shape[1], generator=generator) * 2 - 1
        columns = whole_and_tiles(images, filters.to(images.device), (shifts * COLOR_SHIFT).to(images))
        names = [[f"all, {FILTERS[number]}" for number in filters.tolist()]]
        names += [[f"part {number}"] * len(images) for number in range(1, 5)]
        return [Shown(column.clamp(0, 1), labels) for column, labels in zip(columns.unbind(1), names)]


def whole_and_tiles(images: Tensor, filters: Tensor, shifts: Tensor) -> Tensor:
    """Each image at half its size, and its four quarters, row after row.

    Args:
        images: ``(B, C, H, W)``.
        filters: ``(B,)``, numbers of :data:`~sslbolts.transforms.halving.FILTERS`.
        shifts: ``(B, 5, C)``, added to the channels of each patch.

    Returns:
        ``(B, 5, C, H / 2, W / 2)``.
    """
    batch, channels, height, width = images.shape
    cut = images.reshape(batch, channels, 2, height // 2, 2, width // 2)
    tiles = cut.permute(0, 2, 4, 1, 3, 5).flatten(1, 2)  # (B, 4, C, H / 2, W / 2)
    return torch.cat([halved(images, filters)[:, None], tiles], 1) + shifts[..., None, None]
