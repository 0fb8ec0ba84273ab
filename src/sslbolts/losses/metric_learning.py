"""Losses on pairs and triplets of embeddings: similar ones near each other, others at least a margin farther."""

from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from sslbolts import checks
from sslbolts.distributed import all_sum, gather, own_rows, world_size
from sslbolts.errors import UsageError
from sslbolts.losses.precision import full_precision
from sslbolts.losses.shapes import one_shape

__all__ = ["batch_hard_triplet", "pairwise_contrastive", "semi_hard_mean", "semi_hard_triplet", "triplet"]

Distance = Literal["squared", "euclidean", "cosine"]
"""`|a - b|²`, `|a - b|` or `1 - cos(a, b)`."""


@full_precision
def triplet(
    anchor: Tensor, positive: Tensor, negative: Tensor, margin: float = 1.0, *, distance: Distance = "squared"
) -> Tensor:
    r"""Hinge on the difference of two distances, `mean max(0, D(a, p) - D(a, n) + m)`.

    Args:
        anchor: ``(B, D)``.
        positive: ``(B, D)``.
        negative: ``(B, D)``.
        margin: `m` > 0.
        distance: "squared" Euclidean (FaceNet), "euclidean" (torch's ``TripletMarginLoss``), or "cosine", 1 - cos, with
            margin 0.5 for patches of videos.

    Returns:
        Scalar >= 0; ``margin`` when all embeddings are equal.

    Raises:
        UsageError: if the shapes differ, the margin is not positive or the distance is unknown.

    Source: Schroff et al., FaceNet, CVPR 2015, arXiv:1503.03832; with the cosine Wang and Gupta, Unsupervised Learning
    of Visual Representations using Videos, ICCV 2015, arXiv:1505.00687, who take the sum.

    Example:
        >>> a, p, n = torch.tensor([[0.0]]), torch.tensor([[1.0]]), torch.tensor([[3.0]])
        >>> triplet(a, p, n, margin=9.0).item(), triplet(a, p, n, margin=9.0, distance="euclidean").item()
        (1.0, 7.0)
    """
    one_shape("triplet", anchor=anchor, positive=positive, negative=negative)
    checks.positive(margin=margin)
    checks.one_of(get_args(Distance), distance=distance)
    return F.relu(_distance(anchor, positive, distance) - _distance(anchor, negative, distance) + margin).mean()


@full_precision
def semi_hard_triplet(z: Tensor, labels: Tensor, margin: float = 0.5) -> Tensor:
    r"""Triplet loss on all positive pairs of the global batch, each with one semi-hard negative.

    The mean over ordered pairs of one label of `max(0, D(a, p) - D(a, n) + m)`, with the squared Euclidean distance `D`
    and the nearest negative that is farther than the positive, or the farthest negative where none is.

    Each rank takes its own rows as anchors and the rows of all ranks as positives and negatives, with gradient through
    the gather: the gradient that DDP averages is the one of a single process on the whole batch.

    Args:
        z: ``(B, D)``, taken as they are; normalize them first (FaceNet), per sample. The code of Kolesnikov et al.
            normalizes over the batch instead, ``F.normalize(z, dim=0)``.
        labels: ``(B,)``, equal for embeddings that belong together; every label must leave negatives.
        margin: `m` > 0.

    Returns:
        Scalar >= 0; 0 when there is no pair.

    Raises:
        UsageError: if the shapes do not fit or the margin is not positive.

    Source: Schroff et al., FaceNet, CVPR 2015, arXiv:1503.03832, section 3.2; Kolesnikov et al., Revisiting
    Self-Supervised Visual Representation Learning, CVPR 2019, arXiv:1901.09005.

    Example:
        >>> z, labels = torch.tensor([[0.0], [1.0], [1.5], [3.0]]), torch.tensor([0, 0, 1, 1])
        >>> round(semi_hard_triplet(z, labels, margin=2.0).item(), 4)
        0.75
    """
    checks.positive(margin=margin)
    same = _same_label("semi_hard_triplet", z, labels)  # (B, N)
    return semi_hard_mean(z, same, ~same, margin)


def semi_hard_mean(z: Tensor, positive: Tensor, negative: Tensor, margin: float) -> Tensor:
    """The loss of :func:`semi_hard_triplet` where each row says which of all rows are its positives and negatives.

    Args:
        z: ``(B, D)`` of this rank, in double or single precision.
        positive: ``(B, N)`` bool, for the `N` rows of all ranks; a row is never its own.
        negative: ``(B, N)`` bool. An anchor without one counts for nothing.
        margin: `m` > 0.
    """
    all_z = gather(z)
    distances = z.square().sum(1, keepdim=True) + all_z.square().sum(1) - 2 * z @ all_z.T
    pairs = positive.scatter(1, own_rows(z)[:, None], False) & negative.any(1, keepdim=True)
    terms = F.relu(distances - _semi_hard_distances(distances, negative) + margin)
    number = all_sum(pairs.sum())  # of pairs on all ranks, whose mean DDP takes
    mean: Tensor = terms.masked_fill(~pairs, 0).sum() * world_size() / number.clamp(min=1)
    return mean


@full_precision
def batch_hard_triplet(z: Tensor, labels: Tensor) -> Tensor:
    r"""Triplet loss with a soft margin on the hardest positive and the hardest negative of each embedding.

    .. math:: \mathrm{mean}_a \log \big(1 + \exp(\max_p D(a, p) - \min_n D(a, n))\big)

    with the Euclidean distance `D`. Each rank takes its own rows as anchors, and the rows of all ranks as positives and
    negatives, with gradient through the gather.

    Args:
        z: ``(B, D)``, taken as they are; normalize them first, per sample.
        labels: ``(B,)``, equal for embeddings that belong together; every label has two or more, and leaves negatives.

    Returns:
        Scalar > 0; ln 2 when all embeddings are equal.

    Raises:
        UsageError: if the shapes do not fit.

    Source: Hermans et al., In Defense of the Triplet Loss for Person Re-Identification, arXiv:1703.07737; Zhai et al.,
    S4L: Self-Supervised Semi-Supervised Learning, ICCV 2019, arXiv:1905.03670.

    Example:
        >>> z, labels = torch.tensor([[0.0], [1.0], [1.0], [2.0]]), torch.tensor([0, 0, 1, 1])
        >>> round(batch_hard_triplet(z, labels).item(), 4)  # the mean of ln(1 + e^0), and twice ln(1 + e^1)
        1.0032
    """
    same = _same_label("batch_hard_triplet", z, labels)  # (B, N)
    all_z = gather(z)
    squares = z.square().sum(1, keepdim=True) + all_z.square().sum(1) - 2 * z @ all_z.T  # (B, N)
    away = squares > 0
    distances = torch.where(away, squares, 1.0).sqrt() * away  # the root has no gradient at 0
    farthest = distances.masked_fill(~same, -torch.inf).amax(1)
    nearest = distances.masked_fill(same, torch.inf).amin(1)
    return F.softplus(farthest - nearest).mean()


@full_precision
def pairwise_contrastive(z1: Tensor, z2: Tensor, same: Tensor, margin: float = 1.0, *, squared: bool = False) -> Tensor:
    r"""Pairs that belong together are pulled together, others pushed a margin apart.

    .. math:: \mathrm{mean} \big[ y D + (1 - y) \max(0, m - D) \big], \quad D = |z_1 - z_2|

    Hadsell et al. have `D² / 2` and `max(0, m - D)² / 2` in place of both terms: ``squared=True``.

    Args:
        z1: ``(B, D)``.
        z2: ``(B, D)``.
        same: ``(B,)``, `y`: true or 1 where a pair belongs together. (The paper writes 0 for that.)
        margin: `m` > 0.
        squared: the form of Hadsell et al.

    Returns:
        Scalar >= 0.

    Raises:
        UsageError: if the shapes do not fit or the margin is not positive.

    Source: Hadsell et al., Dimensionality Reduction by Learning an Invariant Mapping, CVPR 2006.

    Example:
        >>> z1, z2, same = torch.tensor([[0.0], [0.0]]), torch.tensor([[3.0], [4.0]]), torch.tensor([1, 0])
        >>> pairwise_contrastive(z1, z2, same, margin=5.0).item()  # (3 + 1) / 2
        2.0
    """
    if z1.shape != z2.shape or z1.dim() != 2 or same.shape != z1.shape[:1]:
        raise UsageError(
            "pairwise_contrastive takes two embeddings of one shape (B, D) and same (B,), got "
            f"{tuple(z1.shape)}, {tuple(z2.shape)} and {tuple(same.shape)}."
        )
    checks.positive(margin=margin)
    distance = torch.linalg.vector_norm(z1 - z2, dim=1)
    gap = F.relu(margin - distance)
    if squared:
        distance, gap = distance.square() / 2, gap.square() / 2
    return torch.where(same.bool(), distance, gap).mean()


def _same_label(loss: str, z: Tensor, labels: Tensor) -> Tensor:
    """Which rows ``(B, N)`` of all ranks have an own row's label."""
    if z.dim() != 2 or labels.shape != z.shape[:1]:
        raise UsageError(
            f"{loss} takes embeddings (B, D) and labels (B,), got {tuple(z.shape)} and {tuple(labels.shape)}."
        )
    same: Tensor = labels[:, None] == gather(labels)
    return same


def _distance(a: Tensor, b: Tensor, kind: Distance) -> Tensor:
    if kind == "cosine":
        return 1 - F.cosine_similarity(a, b, dim=1)
    return (a - b).square().sum(1) if kind == "squared" else torch.linalg.vector_norm(a - b, dim=1)


def _semi_hard_distances(distances: Tensor, negative: Tensor) -> Tensor:
    """Of each pair ``(B, N)`` the distance of its semi-hard negative: the least above its own, or else the greatest.

    Sorted rows turn the search into one lookup per pair, in place of a comparison with every negative.
    """
    order = distances.masked_fill(~negative, torch.inf).sort(1).values  # negatives first, by distance
    count = negative.sum(1, keepdim=True)
    place = torch.searchsorted(order.detach(), distances.detach(), right=True)
    return order.gather(1, torch.minimum(place, count - 1).clamp(min=0))
