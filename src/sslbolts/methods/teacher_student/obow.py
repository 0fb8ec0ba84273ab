"""OBoW: online bag-of-visual-words generation."""

from collections.abc import Sequence
from itertools import groupby
from typing import Unpack

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import SGD

from sslbolts._lightning import Callback
from sslbolts.batch import ViewBatch
from sslbolts.callbacks.ema import EMATeacher
from sslbolts.checks import fraction, positive, whole
from sslbolts.distributed import all_sum, world_size
from sslbolts.errors import UsageError
from sslbolts.health import perplexity_ratio
from sslbolts.losses import bag_of_words
from sslbolts.losses.bag_of_words import soft_bags, word_distances
from sslbolts.losses.precision import full_precision
from sslbolts.methods.base import LRScaling, NetworkArguments, SSLModule
from sslbolts.methods.teacher_student.visual_words import log_perplexities, without_border
from sslbolts.networks.backbones import BackboneLike
from sslbolts.networks.heads import mlp
from sslbolts.networks.taps import feature_maps, last_stages, map_widths
from sslbolts.networks.teacher import Teacher
from sslbolts.optim import OptimizerCallable
from sslbolts.training.memory import FeatureQueue
from sslbolts.training.shared_draws import uniform

__all__ = ["OBoW", "Vocabulary", "WordGenerator"]

_GRID = 3  # patches per side
_POOL = 3  # pixels per side of what becomes one word


class Vocabulary(FeatureQueue):
    r"""The visual words of one level: a queue of the teacher's features, and how far features are from their word.

    The official code moves the mean distance `µ` before a batch is assigned to words with it. Here it moves, like the
    queue, once per optimizer step, and a batch uses the value that it will have then, :meth:`distance_with`: the
    assignment is the official one. Batches that accumulate gradients each use the value that they alone would lead to.

    Args:
        length: number of words `K`.
        dim: their width `C`.
        momentum: of the mean distance, in [0, 1).

    Attributes:
        rows: the words, ``(K, C)``; at first the positive part of a normal distribution.
        mean_distance: `µ`, scalar, 0.5 at first.

    Example:
        >>> vocabulary = Vocabulary(8, 2)
        >>> nearest = torch.tensor(1.5)
        >>> round(vocabulary.distance_with(nearest).item(), 3)  # 0.99 * 0.5 + 0.01 * 1.5
        0.51
        >>> vocabulary.stage(torch.ones(4, 2), nearest[None])
        >>> vocabulary.commit()
        >>> round(vocabulary.mean_distance.item(), 3), vocabulary.rows[:4].sum().item()
        (0.51, 8.0)
    """

    mean_distance: Tensor

    def __init__(self, length: int, dim: int, momentum: float = 0.99) -> None:
        super().__init__(length, dim)
        self.momentum = momentum
        self.rows.copy_(torch.randn(length, dim).clamp_min(0))
        self.register_buffer("mean_distance", torch.tensor(0.5))

    def distance_with(self, nearest: Tensor) -> Tensor:
        """The mean distance after a batch whose features are ``nearest`` to their nearest words on average."""
        return self.momentum * self.mean_distance + (1 - self.momentum) * nearest

    def update(self, rows: Tensor, *nearest: Tensor) -> None:
        super().update(rows)
        self.mean_distance.copy_(self.distance_with(nearest[0].mean()))


class WordGenerator(nn.Module):
    """Makes the weights of a linear classifier over words out of the words themselves.

    Args:
        word_dim: width `C` of the words.
        feature_dim: width `D` of the features to be classified.
        kappa: norm of every weight vector; constant.

    Example:
        >>> round(WordGenerator(8, 4, kappa=5.0)(torch.randn(6, 8)).norm(dim=1)[0].item(), 4)
        5.0
    """

    def __init__(self, word_dim: int, feature_dim: int, kappa: float) -> None:
        super().__init__()
        self.mlp = mlp(word_dim, 2 * feature_dim, feature_dim, bias=False)
        self.kappa = nn.Parameter(torch.tensor(kappa), requires_grad=False)

    def forward(self, words: Tensor) -> Tensor:
        """Weights ``(K, D)`` of words ``(K, C)``."""
        return self.kappa * F.normalize(self.mlp(F.normalize(words, dim=1)), dim=1)


class OBoW(SSLModule):
    r"""OBoW: from small crops, a student predicts which visual words its teacher sees in the whole image.

    The words of two levels of the network are a queue of the teacher's features. The teacher's map, without its border
    of one pixel, is assigned softly to them, :func:`~sslbolts.losses.bag_of_words.soft_bags`. The weights with which
    the student tells words apart are generated from the same words, those from before the batch, so that the student
    keeps up with a vocabulary that changes in every step. Then one feature per image (averaged over 3 x 3 pixels of the
    map without its border, at a random place) enters the queue. Where less than that is left of a map, as of the last
    stage's on CIFAR (2 x 2), all of it is averaged.

    The first view goes to the teacher; the others to the student, where views of one size are one type of crop with
    batch-norm statistics of its own. From the last view patches are cut, another type. The loss is the mean over levels
    and the sum over types of the Kullback-Leibler divergence, as in the official code.

    ``Trainer(sync_batchnorm=True)`` synchronizes the batch norms of the weight generators too, which the official code
    does not. Since all ranks have the same words, loss and gradient are the same either way.

    Args:
        levels: names of the layers whose maps are turned into words, at least 3 x 3 pixels for the teacher; None is the
            last two stages of a ResNet, or of what timm calls stages.
        num_words: size `K` of each vocabulary.
        inverse_delta: sharpness of the assignment in units of the mean distance; 15 for a ResNet-50, 10 for a
            ResNet-18.
        kappa: norm of the generated weights; 5 in the version without small crops.
        num_patches: how many of the 3 x 3 overlapping patches of the last view are used; 0 if the last view is a crop
            like the others.
        patch_size: side of a patch, pixels; None is 3/8 of the last view, to a multiple of 4.
        patch_jitter: up to how many pixels each patch is off its place in the grid; None is a quarter of ``patch_size``
            (the official 24 of 96 pixels), 0 a grid that stands still.
        momentum: of the teacher at the beginning; it rises to 1.
        optimizer: SGD as in the paper, with decay on all parameters.
        backbone, lr_scaling, warmup_epochs, final_lr, network: see :class:`SSLModule`.

    Raises:
        UsageError: for a value out of its range, or a network whose levels are not known; when training, for maps of
            fewer than 3 x 3 pixels, patches that do not fit into the view, or a batch without views for the student.

    Source: Gidaris et al., OBoW: Online Bag-of-Visual-Words Generation for Self-Supervised Learning, CVPR 2021,
    arXiv:2012.11552.

    Example:
        >>> method = OBoW("resnet18", stem="cifar", num_words=2048, inverse_delta=10.0)
        >>> method.levels, [tuple(words.rows.shape) for words in method.vocabularies]
        (['layer3', 'layer4'], [(2048, 256), (2048, 512)])
    """

    starts_at_identity = False
    num_views = None
    decay_vectors = True
    indicators = (
        perplexity_ratio(
            "a smaller learning rate", "a larger inverse_delta", "more words", "a higher momentum of the teacher"
        ),
    )

    def __init__(
        self,
        backbone: BackboneLike = "resnet50",
        *,
        levels: Sequence[str] | None = None,
        num_words: int = 8192,
        inverse_delta: float = 15.0,
        kappa: float = 8.0,
        num_patches: int = 5,
        patch_size: int | None = None,
        patch_jitter: int | None = None,
        momentum: float = 0.99,
        optimizer: OptimizerCallable = lambda params: SGD(params, lr=0.03, momentum=0.9, weight_decay=1e-4),
        lr_scaling: LRScaling = "linear",
        warmup_epochs: float = 10.0,
        final_lr: float = 1e-3,
        **network: Unpack[NetworkArguments],
    ) -> None:
        positive(inverse_delta=inverse_delta, kappa=kappa)
        whole(num_words=num_words, patch_size=patch_size)
        whole(0, num_patches=num_patches, patch_jitter=patch_jitter)
        if num_patches > _GRID**2:
            raise UsageError(f"num_patches={num_patches}: there are {_GRID**2} patches; 0 for none.")
        fraction(momentum=momentum)
        super().__init__(backbone, optimizer, lr_scaling, warmup_epochs, final_lr, **network)
        self.levels = list(levels) if levels is not None else last_stages(self.backbone)
        self.inverse_delta = inverse_delta
        self.num_patches = num_patches
        self.patch_size = patch_size
        self.patch_jitter = patch_jitter
        self.momentum = momentum
        widths = map_widths(self.backbone, self.levels, network.get("in_chans", 3))
        self.vocabularies = nn.ModuleList(Vocabulary(num_words, width) for width in widths)
        self.generators = nn.ModuleList(WordGenerator(width, self.num_features, kappa) for width in widths)
        self.teacher = Teacher(self.backbone, nn.Identity())

    def training_step(self, batch: ViewBatch, batch_idx: int) -> Tensor:
        image, *crops = batch.views
        drawn = self.generator(batch_idx, device=image.device)
        bags = self._bags(image, drawn)  # per level (B, K)
        weights = [make(words.rows) for make, words in zip(self.generators, self.vocabularies)]  # per level (K, D)
        loss = image.new_zeros(())
        for views in self._crop_types(crops, drawn):
            features = self.backbone(torch.cat(views)).unflatten(0, (len(views), len(image)))  # (V, B, D)
            for weight, bag in zip(weights, bags):
                loss = loss + bag_of_words(_logits(features, weight), bag) / len(bags)
        self.log("train/loss", loss, prog_bar=True, batch_size=len(image))
        log_perplexities(self, bags)
        return loss

    @torch.no_grad()
    def _bags(self, images: Tensor, drawn: torch.Generator) -> list[Tensor]:
        """The teacher's bag of words per level, and what its vocabulary is to remember."""
        bags = []
        maps = feature_maps(self.teacher.backbone, self.levels, images)
        for level, features, words in zip(self.levels, maps, self.vocabularies, strict=True):
            assert isinstance(words, Vocabulary)
            inside = without_border(features, level)
            distances = word_distances(inside, words.rows)  # (B, L, K)
            nearest = all_sum(distances.amin(2).mean()) / world_size()
            bags.append(soft_bags(distances, self.inverse_delta / words.distance_with(nearest)))
            window = tuple(min(_POOL, side) for side in inside.shape[2:])
            around = F.avg_pool2d(inside, window, stride=1).flatten(2)  # (B, C, places), each with its neighbors
            place = (uniform(len(images), generator=drawn) * around.shape[2]).long()
            words.stage(around[torch.arange(len(images), device=images.device), :, place], nearest[None])
        return bags

    def _crop_types(self, crops: list[Tensor], drawn: torch.Generator) -> list[list[Tensor]]:
        """The student's views: those of equal size together, and the patches of the last."""
        if not crops:
            raise UsageError("OBoW takes a view for the teacher and at least one for the student: choose views=obow.")
        if not self.num_patches:
            return [list(run) for _, run in groupby(crops, key=lambda view: view.shape[-2:])]
        *crops, image = crops
        patches = self._patches(image, drawn)
        return [*(list(run) for _, run in groupby(crops, key=lambda view: view.shape[-2:])), list(patches)]

    def _patches(self, image: Tensor, drawn: torch.Generator) -> Tensor:
        """Patches of every image from different cells of the grid, ``(num_patches, B, C, size, size)``."""
        side = image.shape[-1]
        size = self.patch_size or max(4, round(side * 3 / 32) * 4)
        jitter = min(size // 4, max(side - size, 0)) if self.patch_jitter is None else self.patch_jitter
        if size + jitter > side:
            raise UsageError(
                f"patch_size={size} and patch_jitter={jitter}: the view that patches are cut from has {side} "
                "pixels, which must be as many as both together."
            )
        cells = uniform(len(image), _GRID**2, generator=drawn).argsort(1)[:, : self.num_patches]  # (B, num_patches)
        shifts = uniform(len(image), 2, self.num_patches, generator=drawn)
        corners = torch.stack([cells // _GRID, cells % _GRID], 1) * ((side - size - jitter) // (_GRID - 1))
        corners = corners + (shifts * (jitter + 1)).long()
        pixels = corners[..., None] + torch.arange(size, device=image.device)  # (B, 2, num_patches, size)
        rows, columns = pixels[:, 0, :, :, None], pixels[:, 1, :, None, :]
        images = torch.arange(len(image), device=image.device)[:, None, None, None]
        return image[images, :, rows, columns].permute(1, 0, 4, 2, 3)

    def configure_callbacks(self) -> list[Callback]:
        return [EMATeacher(self.momentum)]


@full_precision
def _logits(features: Tensor, weights: Tensor) -> Tensor:
    """Features are not normalized, so that half precision would leave the logits few digits."""
    return features @ weights.T
