"""Contrastive losses: two views of one image agree, other images disagree."""

import torch
import torch.nn.functional as F
from torch import Tensor

from sslbolts.distributed import gather, rank
from sslbolts.errors import UsageError
from sslbolts.losses.precision import full_precision

__all__ = ["matching_accuracy", "nt_xent"]


@full_precision
def nt_xent(z1: Tensor, z2: Tensor, temperature: float = 0.1, *, normalize: bool = True) -> Tensor:
    r"""Normalized temperature-scaled cross entropy over all other embeddings of the global batch.

    .. math:: \frac{1}{2N} \sum_i \Big[ -s_{ip} / \tau + \log \sum_{k \ne i} e^{s_{ik} / \tau} \Big]

    where `i` runs over both views of all `N` images, `p` is the other view of the same image, and `s` is the cosine.
    Each rank takes its own rows as queries and the rows of all ranks as keys, with gradient through the gather: the
    gradient that DDP averages is the one of a single process on the whole batch. The similarity to itself is masked,
    not subtracted, so that it has no gradient. The official code returns the sum of the two directions: twice this.

    Args:
        z1: ``(B, D)`` embeddings of the first view.
        z2: ``(B, D)`` embeddings of the second view, rows matching those of ``z1``.
        temperature: `τ` > 0.
        normalize: L2-normalize the embeddings first; without, `s` is the dot product.

    Returns:
        Scalar in float32 (float64 for float64 embeddings); ``log(2N - 1)`` when all embeddings are equal.

    Raises:
        UsageError: if the shapes differ or the temperature is not positive.

    Source: Chen et al., A Simple Framework for Contrastive Learning of Visual Representations, ICML 2020,
    arXiv:2002.05709, equation 1.

    Example:
        >>> z = torch.eye(4)
        >>> nt_xent(z, z, temperature=0.1) < nt_xent(z, z.roll(1, dims=0), temperature=0.1)
        tensor(True)
        >>> round(nt_xent(torch.ones(4, 8), torch.ones(4, 8)).exp().item())  # collapsed: 2N - 1
        7
    """
    if z1.shape != z2.shape or z1.dim() != 2:
        raise UsageError(
            f"nt_xent takes two embeddings of one shape (B, D), got {tuple(z1.shape)} and {tuple(z2.shape)}."
        )
    if temperature <= 0:
        raise UsageError(f"temperature={temperature}: it divides the similarities and must be positive.")
    if normalize:
        z1, z2 = F.normalize(z1, dim=1), F.normalize(z2, dim=1)
    local = len(z1)
    k1, k2 = gather(z1), gather(z2)  # (N, D)
    total = len(k1)
    own = torch.arange(local, device=z1.device) + rank() * local  # where this rank's images stand in the global batch
    itself = torch.cat([own, own + total])
    partner = torch.cat([own + total, own])

    logits = torch.cat([z1, z2]) @ torch.cat([k1, k2]).T / temperature  # (2B, 2N)
    logits = logits.scatter(1, itself[:, None], -torch.inf)
    return F.cross_entropy(logits, partner)


@torch.no_grad()
@full_precision  # in half precision neighbours tie, and ties count as failures
def matching_accuracy(z1: Tensor, z2: Tensor) -> Tensor:
    """Share of images whose first view is more similar (cosine) to their own second view than to any other's.

    An indicator, not a loss: it stays at chance, 1/B, when nothing is learned or the embeddings have collapsed.

    Args:
        z1: ``(B, D)``.
        z2: ``(B, D)``.

    Returns:
        Scalar float32 in [0, 1], on the device of ``z1``; over this rank's images only.

    Example:
        >>> matching_accuracy(torch.eye(3), torch.eye(3)).item()
        1.0
    """
    similarity = F.normalize(z1, dim=1) @ F.normalize(z2, dim=1).T
    itself = similarity.diagonal().unsqueeze(1)
    # Ties count as failures: equal embeddings match nothing.
    return ((similarity >= itself).sum(1) == 1).float().mean()
