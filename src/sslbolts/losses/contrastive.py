"""Contrastive losses of two views: each image's views agree, all other images of the global batch are negatives."""

from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from sslbolts.checks import one_of
from sslbolts.distributed import gather, own_rows
from sslbolts.errors import UsageError
from sslbolts.losses.in_chunks import cross_entropy_in_chunks
from sslbolts.losses.precision import full_precision
from sslbolts.losses.shapes import one_shape

__all__ = ["Negatives", "margin_triplet", "matching_accuracy", "nt_logistic", "nt_xent"]

Negatives = Literal["mean", "sum", "semi_hard"]
"""Negatives of an anchor: the mean over all, their sum, or one alone, the nearest that is farther than the positive."""


@full_precision
def nt_xent(
    z1: Tensor,
    z2: Tensor,
    temperature: float = 0.1,
    *,
    normalize: bool = True,
    semi_hard: bool = False,
    chunk_size: int | None = None,
) -> Tensor:
    r"""Normalized temperature-scaled cross entropy over all other embeddings of the global batch.

    .. math:: \frac{1}{2N} \sum_i \Big[ -s_{ip} / \tau + \log \sum_{k \ne i} e^{s_{ik} / \tau} \Big]

    where `i` runs over both views of all `N` images, `p` is the other view of the same image, and `s` is the cosine.
    Each rank takes its own rows as queries and the rows of all ranks as keys, with gradient through the gather: the
    gradient that DDP averages is the one of a single process on the whole batch. The similarity to itself is masked,
    not subtracted, so that it has no gradient. The official code returns the sum of the two directions: twice this.

    Similarities are computed a chunk of rows at a time, and their gradient with them, so that memory grows with the
    batch and not with its square: 32,768 images of width 128 take less than 1 GiB.

    Args:
        z1: ``(B, D)`` embeddings of the first view.
        z2: ``(B, D)`` embeddings of the second view, rows matching those of ``z1``.
        temperature: `τ` > 0.
        normalize: L2-normalize the embeddings first; without, `s` is the dot product.
        semi_hard: of the negatives keep one per anchor, the most similar with `s_ik < s_ip`; the loss is then
            `log(1 + exp((s_ik - s_ip) / τ))`, or 0 where there is none. The paper has it for its other losses only.
        chunk_size: anchors whose similarities are in memory at once; None takes as many as make 2^24 similarities, all
            of them up to 2,048 images. It does not change the result.

    Returns:
        Scalar in float32 (float64 for float64 embeddings); ``log(2N - 1)`` when all embeddings are equal.

    Raises:
        UsageError: if the shapes differ, ``chunk_size`` is not positive, or it meets ``semi_hard``, which needs all
            similarities.

    Source: Chen et al., A Simple Framework for Contrastive Learning of Visual Representations, ICML 2020,
    arXiv:2002.05709, equation 1.

    Example:
        >>> z = torch.eye(4)
        >>> nt_xent(z, z, temperature=0.1) < nt_xent(z, z.roll(1, dims=0), temperature=0.1)
        tensor(True)
        >>> round(nt_xent(torch.ones(4, 8), torch.ones(4, 8)).exp().item())  # collapsed: 2N - 1
        7
    """
    one_shape("nt_xent", z1=z1, z2=z2)
    if chunk_size is not None and (semi_hard or chunk_size < 1):
        raise UsageError(
            f"chunk_size={chunk_size}, semi_hard={semi_hard}: a chunk has at least one anchor, and semi-hard negatives "
            "are not computed in chunks. Leave one of them out."
        )
    if normalize:
        z1, z2 = F.normalize(z1, dim=1), F.normalize(z2, dim=1)
    anchors, candidates, itself, partner = _anchors_and_candidates(z1, z2)
    if semi_hard:
        s, positive, negative = _similarities(anchors, candidates, itself, partner)
        hardest, exists = _semi_hard(s, positive, negative)
        return F.softplus((hardest - positive) / temperature).where(exists, 0).mean()
    total = cross_entropy_in_chunks(anchors / temperature, candidates, partner, itself, chunk_size=chunk_size)
    return total / len(anchors)


@full_precision
def nt_logistic(z1: Tensor, z2: Tensor, temperature: float = 0.1, *, negatives: Negatives = "mean") -> Tensor:
    r"""Logistic loss on cosines: the other view of an image is positive, all other embeddings are negative.

    .. math:: \frac{1}{2N} \sum_i \Big[ \log(1 + e^{-s_{ip} / \tau}) + \sum_k w_k \log(1 + e^{s_{ik} / \tau}) \Big]

    The paper does not say how an anchor's negatives are weighted. Here they count as much as the positive, `w_k` is one
    over their number, unless their sum is asked for (`w_k = 1`), or one semi-hard negative: the most similar of those
    that are less similar than the positive, and none where there is no such. Ranks share a batch as in
    :func:`nt_xent`.

    Args:
        z1: ``(B, D)`` embeddings of the first view; normalized here.
        z2: ``(B, D)`` embeddings of the second view.
        temperature: `τ` > 0.
        negatives: "mean", "sum" or "semi_hard".

    Returns:
        Scalar.

    Raises:
        UsageError: if the shapes differ or ``negatives`` is unknown.

    Source: Chen et al., A Simple Framework for Contrastive Learning of Visual Representations, ICML 2020,
    arXiv:2002.05709, table 2 (NT-Logistic).

    Example:
        >>> z = torch.eye(4)  # cosine 1 with the other view, 0 with all other images
        >>> round(nt_logistic(z, z, temperature=1.0).item(), 4)  # log(1 + 1/e) + log 2
        1.0064
    """
    one_shape("nt_logistic", z1=z1, z2=z2)
    one_of(get_args(Negatives), negatives=negatives)
    s, positive, negative = _cosines(z1, z2)
    attraction = F.softplus(-positive / temperature)
    if negatives == "semi_hard":
        hardest, exists = _semi_hard(s, positive, negative)
        repulsion = F.softplus(hardest / temperature).where(exists, 0)
    else:
        repulsion = _aggregate(F.softplus(s / temperature), negative, negatives)
    return (attraction + repulsion).mean()


@full_precision
def margin_triplet(z1: Tensor, z2: Tensor, margin: float = 0.5, *, negatives: Negatives = "mean") -> Tensor:
    r"""Hinge on cosines: the other view of an image is more similar than every other embedding, by a margin.

    .. math:: \frac{1}{2N} \sum_i \sum_k w_k \max(0, s_{ik} - s_{ip} + m)

    The paper does not say how an anchor's negatives are weighted: see :func:`nt_logistic`. A semi-hard negative lies
    inside the margin, `s_ip - m < s_ik < s_ip`. Ranks share a batch as in :func:`nt_xent`.

    Args:
        z1: ``(B, D)`` embeddings of the first view; normalized here.
        z2: ``(B, D)`` embeddings of the second view.
        margin: `m` > 0, in cosine.
        negatives: "mean", "sum" or "semi_hard".

    Returns:
        Scalar >= 0; ``margin`` when all embeddings are equal, but 0 for semi-hard negatives.

    Raises:
        UsageError: if the shapes differ or ``negatives`` is unknown.

    Source: Chen et al., A Simple Framework for Contrastive Learning of Visual Representations, ICML 2020,
    arXiv:2002.05709, table 2 (margin triplet); semi-hard negatives: Schroff et al., FaceNet, CVPR 2015,
    arXiv:1503.03832.

    Example:
        >>> z = torch.eye(4)  # cosine 1 with the other view, 0 with all other images
        >>> margin_triplet(z, z, margin=0.5).item(), margin_triplet(z, z, margin=1.5).item()
        (0.0, 0.5)
    """
    one_shape("margin_triplet", z1=z1, z2=z2)
    one_of(get_args(Negatives), negatives=negatives)
    s, positive, negative = _cosines(z1, z2)
    if negatives == "semi_hard":
        hardest, exists = _semi_hard(s, positive, negative & (s > positive - margin))
        return F.relu(hardest - positive + margin).where(exists, 0).mean()
    return _aggregate(F.relu(s - positive + margin), negative, negatives).mean()


@torch.no_grad()
@full_precision  # in half precision neighbors tie, and ties count as failures
def matching_accuracy(z1: Tensor, z2: Tensor, others: Tensor | None = None) -> Tensor:
    """Share of images whose first view is more similar (cosine) to their own second view than to any other's.

    An indicator, not a loss: it stays near chance, 1/B or 1/(K + 1), when nothing is learned, and is 0 when all
    embeddings are equal.

    Args:
        z1: ``(B, D)``.
        z2: ``(B, D)``.
        others: ``(K, D)`` embeddings to compare with in place of the second views of other images, e.g. a queue's.

    Returns:
        Scalar float32 in [0, 1], on the device of ``z1``; over this rank's images only.

    Raises:
        UsageError: if the shapes differ.

    Example:
        >>> matching_accuracy(torch.eye(3), torch.eye(3)).item()
        1.0
    """
    one_shape("matching_accuracy", z1=z1, z2=z2)
    z1, z2 = F.normalize(z1, dim=1), F.normalize(z2, dim=1)
    if others is None:
        similarity = z1 @ z2.T
        itself = similarity.diagonal().unsqueeze(1)
        # Ties count as failures: equal embeddings match nothing.
        return ((similarity >= itself).sum(1) == 1).float().mean()
    nearest = (z1 @ F.normalize(others, dim=1).T).amax(1)
    return ((z1 * z2).sum(1) > nearest).float().mean()


def _anchors_and_candidates(z1: Tensor, z2: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """This rank's rows ``(2B, D)``, those of all ranks ``(2N, D)``, and where in them each anchor and partner is."""
    k1, k2 = gather(z1), gather(z2)  # (N, D)
    own = own_rows(z1)
    itself, partner = torch.cat([own, own + len(k1)]), torch.cat([own + len(k1), own])
    return torch.cat([z1, z2]), torch.cat([k1, k2]), itself, partner


def _similarities(
    anchors: Tensor, candidates: Tensor, itself: Tensor, partner: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """All similarities ``(2B, 2N)``, the positives' ``(2B, 1)``, and which of all are negatives."""
    s = anchors @ candidates.T
    negative = torch.ones_like(s, dtype=torch.bool).scatter(1, torch.stack([itself, partner], 1), False)
    return s, s.gather(1, partner[:, None]), negative


def _cosines(z1: Tensor, z2: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    return _similarities(*_anchors_and_candidates(F.normalize(z1, dim=1), F.normalize(z2, dim=1)))


def _semi_hard(s: Tensor, positive: Tensor, allowed: Tensor) -> tuple[Tensor, Tensor]:
    """The most similar of the allowed that is less similar than the positive ``(2B, 1)``, and whether there is one."""
    allowed = allowed & (s < positive)
    hardest = s.masked_fill(~allowed, -torch.inf).max(1, keepdim=True).values
    exists = allowed.any(1, keepdim=True)
    return hardest.where(exists, 0), exists


def _aggregate(terms: Tensor, negative: Tensor, how: Negatives) -> Tensor:
    total = terms.masked_fill(~negative, 0).sum(1, keepdim=True)
    return total if how == "sum" else total / max(terms.shape[1] - 2, 1)  # all but itself and the positive
