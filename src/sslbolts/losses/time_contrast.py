"""Losses on frames of videos: near in time, or at one time in two views, is near each other."""

import torch
import torch.nn.functional as F
from torch import Tensor

from sslbolts import checks
from sslbolts.distributed import gather, own_rows
from sslbolts.errors import UsageError
from sslbolts.losses.metric_learning import semi_hard_mean
from sslbolts.losses.precision import full_precision
from sslbolts.losses.shapes import one_shape

__all__ = ["n_pairs", "pair_triplet", "time_contrastive"]


@full_precision
def time_contrastive(
    z: Tensor,
    times: Tensor,
    sequences: Tensor | None = None,
    *,
    positive_radius: int = 6,
    negative_radius: int = 12,
    margin: float = 0.2,
) -> Tensor:
    r"""Triplet loss on frames: those within a few frames of an anchor are nearer to it than those beyond some more.

    The mean over pairs of one sequence with :math:`0 < |t_a - t_p| \le r_+` of `max(0, D(a, p) - D(a, n) + m)`, with
    the squared Euclidean distance `D` and one semi-hard negative as in :func:`~sslbolts.losses.semi_hard_triplet`.
    Negatives are frames with :math:`|t_a - t_n| > r_-` and those of other sequences; frames in between are neither. An
    anchor without a negative is left out. (In the official code its pairs count as `D(a, p) + m`.)

    The rows of all ranks are positives and negatives, as in :func:`~sslbolts.losses.semi_hard_triplet`.

    Args:
        z: ``(B, D)``, taken as they are; normalize the rows first.
        times: ``(B,)`` whole numbers, the frame's place in its sequence.
        sequences: ``(B,)`` whole numbers, equal for frames of one sequence on all ranks; None is a single one.
        positive_radius: :math:`r_+`, frames, 1 or more.
        negative_radius: :math:`r_-`, frames, at least ``positive_radius``.
        margin: `m` > 0.

    Returns:
        Scalar >= 0; ``margin`` when all embeddings are equal, 0 when there is no pair.

    Raises:
        UsageError: if the shapes do not fit or a number is out of its range.

    Source: Sermanet et al., Time-Contrastive Networks: Self-Supervised Learning from Video, ICRA 2018,
    arXiv:1704.06888, and its official code, which has the semi-hard negatives.

    Example:
        >>> z = torch.tensor([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0]])
        >>> round(time_contrastive(z, torch.tensor([0, 1, 9]), positive_radius=1, negative_radius=4).item(), 4)
        0.0
        >>> round(time_contrastive(z, torch.tensor([0, 9, 1]), positive_radius=1, negative_radius=4).item(), 4)
        1.6
    """
    sequences = torch.zeros_like(times) if sequences is None else sequences
    if z.dim() != 2 or not times.shape == sequences.shape == z.shape[:1]:
        raise UsageError(
            f"time_contrastive takes embeddings (B, D), times and sequences (B,), got {tuple(z.shape)}, "
            f"{tuple(times.shape)} and {tuple(sequences.shape)}."
        )
    checks.whole(positive_radius=positive_radius)
    checks.positive(margin=margin)
    if negative_radius < positive_radius:
        raise UsageError(
            f"negative_radius={negative_radius} is less than positive_radius={positive_radius}: no frame can be both "
            "positive and negative."
        )
    apart = (times[:, None] - gather(times)).abs()  # (B, N)
    same = sequences[:, None] == gather(sequences)
    return semi_hard_mean(z, same & (apart <= positive_radius), ~same | (apart > negative_radius), margin)


@full_precision
def n_pairs(anchor: Tensor, positive: Tensor, regularization: float = 0.002) -> Tensor:
    r"""Cross-entropy of the dot products of an anchor with all positives, of which its own is the right one.

    .. math:: \frac{1}{B} \sum_i -\log \frac{e^{a_i \cdot p_i}}{\sum_j e^{a_i \cdot p_j}}
              + \frac{\lambda}{4} \Big( \frac{1}{B} \sum_i |a_i|^2 + \frac{1}{B} \sum_i |p_i|^2 \Big)

    Positives are those of all ranks; anchors those of this one, as in :func:`~sslbolts.losses.semi_hard_triplet`.

    Args:
        anchor: ``(B, D)``, not normalized: the regularizer keeps them short.
        positive: ``(B, D)``; row `i` belongs to row `i` of ``anchor``, whatever else the batch holds.
        regularization: :math:`\lambda` >= 0. (The factor 1/4 is that of TensorFlow's function, quoted from memory.)

    Returns:
        Scalar; `log N` plus the regularizer when all `N` embeddings are equal.

    Raises:
        UsageError: if the shapes differ, or the weight is negative.

    Source: Sohn, Improved Deep Metric Learning with Multi-class N-pair Loss Objective, NeurIPS 2016; of pairs of views
    in Sermanet et al., ICRA 2018, arXiv:1704.06888.

    Example:
        >>> round(n_pairs(torch.zeros(4, 2), torch.zeros(4, 2)).item(), 4)  # log 4
        1.3863
    """
    one_shape("n_pairs", anchor=anchor, positive=positive)
    checks.at_least(0, regularization=regularization)
    entropy = F.cross_entropy(anchor @ gather(positive).T, own_rows(anchor))
    return entropy + regularization / 4 * (anchor.square().sum(1).mean() + positive.square().sum(1).mean())


@full_precision
def pair_triplet(
    anchor: Tensor, positive: Tensor, *, negatives: int = 4, margin: float = 0.5, draws: Tensor | None = None
) -> Tensor:
    r"""Triplet loss with the cosine, on pairs of frames and some negatives out of the other pairs of the global batch.

    The mean of `max(0, D(a, p) - D(a, n) + m)`, `D` = 1 - cos, over the anchors of this rank and ``negatives`` frames
    for each: the nearest ones, or random ones.

    Args:
        anchor: ``(B, D)``.
        positive: ``(B, D)``; row `i` belongs to row `i` of ``anchor``. Both are negatives of the other anchors.
        negatives: of each anchor; all of them where there are fewer.
        margin: `m` > 0.
        draws: ``(B, 2 N)`` random numbers for the frames of all ranks, anchors before positives; the greatest are
            taken. None takes the hardest: those nearest to the anchor.

    Returns:
        Scalar >= 0; ``margin`` when all embeddings are equal.

    Raises:
        UsageError: if the shapes do not fit, a number is out of its range, or there is only one pair.

    Source: Wang and Gupta, Unsupervised Learning of Visual Representations using Videos, ICCV 2015, arXiv:1505.00687,
    who take the sum.

    Example:
        >>> a, p = torch.eye(3), torch.eye(3)
        >>> pair_triplet(a, p).item(), pair_triplet(a, p, margin=1.5).item()
        (0.0, 0.5)
    """
    one_shape("pair_triplet", anchor=anchor, positive=positive)
    checks.whole(negatives=negatives)
    checks.positive(margin=margin)
    anchor, positive = F.normalize(anchor, dim=1), F.normalize(positive, dim=1)
    everything = torch.cat((gather(anchor), gather(positive)))  # (2 N, D)
    pairs = len(everything) // 2
    if pairs < 2:
        raise UsageError("pair_triplet needs two pairs or more: the frames of the others are the negatives.")
    if draws is not None and draws.shape != (len(anchor), 2 * pairs):
        raise UsageError(
            f"draws must be {(len(anchor), 2 * pairs)}, one for each frame of all ranks, got {draws.shape}."
        )
    similarity = anchor @ everything.T  # (B, 2 N)
    own_pair = torch.arange(2 * pairs, device=anchor.device) % pairs == own_rows(anchor)[:, None]
    ranked = (similarity.detach() if draws is None else draws).masked_fill(own_pair, -torch.inf)
    chosen = ranked.topk(min(negatives, 2 * (pairs - 1)), dim=1).indices
    nearness = (anchor * positive).sum(1, keepdim=True)
    return F.relu(similarity.gather(1, chosen) - nearness + margin).mean()
