"""Losses of momentum contrast: the student's queries against the teacher's keys."""

import torch
import torch.nn.functional as F
from torch import Tensor

from sslbolts.distributed import gather, own_rows
from sslbolts.errors import UsageError
from sslbolts.losses.precision import full_precision
from sslbolts.losses.shapes import one_shape

__all__ = ["info_nce", "moco_v3_contrastive"]


@full_precision
def info_nce(
    query: Tensor, key: Tensor, negatives: Tensor, temperature: float = 0.2, *, normalize: bool = True
) -> Tensor:
    r"""Cross entropy of finding the own key among `K` negatives.

    .. math:: \frac{1}{B} \sum_i \Big[ -q_i \cdot k_i / \tau
              + \log \Big( e^{q_i \cdot k_i / \tau} + \sum_{n=1}^K e^{q_i \cdot n_n / \tau} \Big) \Big]

    Queries and keys are L2-normalized, only queries receive a gradient, and the other keys of the batch are no
    candidates: all as in MoCo's code. Nothing is gathered, since the negatives are the same on all ranks.

    Args:
        query: ``(B, D)``.
        key: ``(B, D)``, rows matching those of ``query``.
        negatives: ``(K, D)`` of unit length, a queue of former keys.
        temperature: `τ` > 0.
        normalize: L2-normalize queries and keys first.

    Returns:
        Scalar; about ``log(K + 1)`` when nothing is learned.

    Raises:
        UsageError: if the shapes do not fit.

    Source: He et al., Momentum Contrast for Unsupervised Visual Representation Learning, CVPR 2020,
    arXiv:1911.05722, equation 1.

    Example:
        >>> query, key, negatives = torch.eye(4)[:1], torch.eye(4)[:1], torch.eye(4)[1:]
        >>> round(info_nce(query, key, negatives, temperature=1.0).item(), 4)  # log(1 + 3/e)
        0.7437
    """
    one_shape("info_nce", query=query, key=key)
    if negatives.dim() != 2 or negatives.shape[1] != query.shape[1]:
        raise UsageError(
            f"info_nce takes negatives (K, {query.shape[1]}) for queries {tuple(query.shape)}, got "
            f"{tuple(negatives.shape)}."
        )
    if normalize:
        query, key = F.normalize(query, dim=1), F.normalize(key, dim=1)
    positive = (query * key.detach()).sum(1, keepdim=True)
    logits = torch.cat([positive, query @ negatives.detach().T], 1) / temperature  # (B, 1 + K)
    return (logits.logsumexp(1) - logits[:, 0]).mean()


@full_precision
def moco_v3_contrastive(query: Tensor, key: Tensor, temperature: float = 1.0) -> Tensor:
    r"""Cross entropy of finding the own key among the keys of the global batch, times `2τ`.

    .. math:: \frac{2 \tau}{B} \sum_i \Big[ -q_i \cdot k_i / \tau + \log \sum_j e^{q_i \cdot k_j / \tau} \Big]

    The factor makes the gradient's size independent of the temperature. Both are L2-normalized; keys of all ranks are
    gathered and receive no gradient, so nothing more crosses ranks. MoCo v3's loss is the sum of this over both
    directions.

    Args:
        query: ``(B, D)`` predictions of the student.
        key: ``(B, D)`` embeddings of the teacher, of the other view.
        temperature: `τ` > 0.

    Returns:
        Scalar; ``2 * τ * log N`` when nothing is learned.

    Raises:
        UsageError: if the shapes differ.

    Source: Chen et al., An Empirical Study of Training Self-Supervised Vision Transformers, ICCV 2021,
    arXiv:2104.02057, equation 1 and algorithm 1.

    Example:
        >>> round(moco_v3_contrastive(torch.ones(4, 8), torch.ones(4, 8), temperature=0.5).exp().item())  # collapsed: N
        4
    """
    one_shape("moco_v3_contrastive", query=query, key=key)
    query, key = F.normalize(query, dim=1), F.normalize(key, dim=1)
    logits = query @ gather(key.detach()).T / temperature  # (B, N)
    return 2 * temperature * F.cross_entropy(logits, own_rows(query))
