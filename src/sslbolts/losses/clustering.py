"""Losses whose targets are clusters: codes that are balanced over the batch, or assignments of k-means."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from sslbolts.distributed import all_sum, gather, world_size
from sslbolts.errors import UsageError
from sslbolts.losses.precision import full_precision

__all__ = ["balanced_cross_entropy", "deepcluster_v2", "sinkhorn", "swapped_prediction"]

_LEAST_EXPONENT = -60.0  # exp(-87) is float32's least normal number, and sums of 10^7 entries divide what is left


@torch.no_grad()
@full_precision
def sinkhorn(scores: Tensor, *, epsilon: float = 0.05, iterations: int = 3) -> Tensor:
    r"""Codes of a batch under which all prototypes are used alike: the Sinkhorn-Knopp iteration.

    Starting from `exp(scores / ε)`, the columns (prototypes) are scaled to sum `1/K`, then the rows (images) to sum
    `1/B`, and so on; the rows come last. At the end every row is multiplied by `B` and sums to 1.

    Sums go over the rows of all ranks, which makes the codes those of one process on the whole batch. It is computed in
    float32: `exp(1 / 0.05)` is beyond half precision.

    Args:
        scores: ``(B, K)`` similarities of this rank's images and the prototypes; at least one row.
        epsilon: `ε` > 0; the smaller, the harder the codes.
        iterations: rounds, >= 1.

    Returns:
        ``(B, K)`` codes, without gradient; rows sum to 1.

    Raises:
        UsageError: if the scores are no matrix.

    Source: Caron et al., Unsupervised Learning of Visual Features by Contrasting Cluster Assignments, NeurIPS 2020,
    arXiv:2006.09882; Cuturi, Sinkhorn Distances, NeurIPS 2013, arXiv:1306.0895.

    Example:
        >>> codes = sinkhorn(torch.tensor([[0.3, 0.1], [0.3, 0.0]]))  # both prefer the first prototype
        >>> codes.argmax(1).tolist()
        [1, 0]
    """
    if scores.dim() != 2:
        raise UsageError(f"sinkhorn takes scores of shape (B, K), got {tuple(scores.shape)}.")
    images = all_sum(scores.new_full((), len(scores)))  # made on the device: new_tensor would copy, and wait
    # The largest exponent is 0 on all ranks, which changes no code: the first thing that happens is a division.
    most = gather(scores.max().reshape(1)).max()
    exponents = (scores - most) / epsilon
    # A row that is far from all prototypes, beyond what exp can tell from 0, keeps its preferences.
    exponents = exponents + (_LEAST_EXPONENT - exponents.amax(1, keepdim=True)).clamp(0, 1e30)
    codes = exponents.exp()
    codes = codes / all_sum(codes.sum())
    tiny = torch.finfo(codes.dtype).tiny  # a prototype that is infinitely far from everything stays unused
    for _ in range(iterations):
        codes = codes / (all_sum(codes.sum(0)) * codes.shape[1]).clamp(min=tiny)
        codes = codes / (codes.sum(1, keepdim=True) * images).clamp(min=tiny)
    balanced: Tensor = codes * images
    return balanced


@full_precision
def _cross_entropies(scores: Tensor, codes: Tensor, temperature: float) -> Tensor:
    return -(codes * F.log_softmax(scores / temperature, dim=1)).sum(1).mean()


def swapped_prediction(scores: Sequence[Tensor], codes: Sequence[Tensor], *, temperature: float = 0.1) -> Tensor:
    r"""Every view predicts the codes of the others.

    .. math:: \frac{1}{A} \sum_{a=1}^{A} \frac{1}{V - 1} \sum_{v \ne a} \frac{1}{B} \sum_n
              -q^a_n \cdot \log \mathrm{softmax}(s^v_n / \tau)

    Codes are of the first `A` views (the large crops); all `V` views predict them.

    Args:
        scores: `V` tensors ``(B, K)``: similarities of each view and the prototypes.
        codes: `A` tensors ``(B, K)``, of the first views; see :func:`sinkhorn`. No gradient flows into them.
        temperature: `τ` > 0.

    Returns:
        Scalar in float32 (float64 for float64 scores); ``log(K)`` where nothing is predicted.

    Raises:
        UsageError: if there are fewer than two views, or more codes than views, or shapes differ.

    Source: Caron et al., Unsupervised Learning of Visual Features by Contrasting Cluster Assignments, NeurIPS 2020,
    arXiv:2006.09882, equations 1 and 2.

    Example:
        >>> scores = [torch.eye(3), torch.eye(3)]
        >>> round(swapped_prediction(scores, [sinkhorn(s) for s in scores], temperature=0.1).item(), 3)
        0.0
    """
    if len(scores) < 2 or not 1 <= len(codes) <= len(scores):
        raise UsageError(f"{len(scores)} views and codes of {len(codes)}: give two views or more, and codes of some.")
    if any(part.shape != scores[0].shape for part in (*scores, *codes)):
        shapes = [tuple(part.shape) for part in (*scores, *codes)]
        raise UsageError(f"scores and codes must have one shape (B, K), got {shapes}.")
    terms = [
        _cross_entropies(prediction, code.detach(), temperature)
        for view, code in enumerate(codes)
        for other, prediction in enumerate(scores)
        if other != view
    ]
    return torch.stack(terms).mean()


@full_precision
def _known_cross_entropy(scores: Tensor, targets: Tensor, temperature: float) -> Tensor:
    total = F.cross_entropy(scores / temperature, targets, ignore_index=-100, reduction="sum")
    known = all_sum((targets != -100).sum())  # the mean is over the known ones of all ranks, whichever rank has them
    mean: Tensor = total * world_size() / known.clamp(min=1)
    return mean


def deepcluster_v2(scores: Sequence[Tensor], targets: Tensor, *, temperature: float = 0.1) -> Tensor:
    r"""Classification of every crop into the cluster of its image, by each head with a clustering of its own.

    .. math:: \frac{1}{H} \sum_h \frac{1}{|\{n: y^h_n \ge 0\}|} \sum_{n: y^h_n \ge 0}
              -\log \mathrm{softmax}(s^h_n / \tau)_{y^h_n}

    Args:
        scores: of each of `H` heads ``(V * B, K_h)``, crop after crop.
        targets: ``(H, B)`` int64: the cluster of each image; -100 for images that have none.
        temperature: `τ` > 0.

    Returns:
        Scalar in float32 (float64 for float64 scores); 0 if no image has a cluster.

    Raises:
        UsageError: if the rows of scores are no multiple of the images.

    Source: Caron et al., Unsupervised Learning of Visual Features by Contrasting Cluster Assignments, NeurIPS 2020,
    arXiv:2006.09882 (DeepCluster-v2, appendix), after Deep Clustering, ECCV 2018, arXiv:1807.05520.

    Example:
        >>> crops = torch.eye(3).repeat(2, 1)  # two crops of three images
        >>> round(deepcluster_v2([crops], torch.tensor([[0, 1, -100]])).item(), 4)
        0.0001
    """
    if targets.dim() != 2 or len(scores) != len(targets) or any(len(s) % targets.shape[1] for s in scores):
        raise UsageError(
            f"{len(scores)} heads with scores of {[len(s) for s in scores]} rows do not go with targets of shape "
            f"{tuple(targets.shape)}: one row per head is needed, and scores crop after crop."
        )
    heads = [_known_cross_entropy(s, t.repeat(len(s) // len(t)), temperature) for s, t in zip(scores, targets)]
    return torch.stack(heads).mean()


@full_precision
def balanced_cross_entropy(logits: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    r"""Cross entropy in which images weigh as their class does: `Σ_n w_{y_n} CE_n / Σ_n w_{y_n}`, over all ranks.

    With the inverse of each cluster's size it is DeepCluster's, in which all clusters count alike.

    Args:
        logits: ``(B, K)``.
        labels: ``(B,)`` int64.
        weights: ``(K,)``, not negative.

    Returns:
        Scalar; the mean over ranks is the loss of the global batch.

    Source: Caron et al., Deep Clustering for Unsupervised Learning of Visual Features, ECCV 2018, arXiv:1807.05520,
    section 3.3.

    Example:
        >>> logits, labels = torch.zeros(3, 2), torch.tensor([0, 0, 1])
        >>> round(balanced_cross_entropy(logits, labels, torch.tensor([0.5, 1.0])).item(), 4)
        0.6931
    """
    own = weights[labels]
    total = (own * F.cross_entropy(logits, labels, reduction="none")).sum()
    mean: Tensor = total * world_size() / all_sum(own.sum()).clamp(min=torch.finfo(own.dtype).tiny)
    return mean
