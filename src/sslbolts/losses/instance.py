"""Losses of instance discrimination: every training image is a class of its own, its memory the class weight."""

import torch
import torch.nn.functional as F
from torch import Tensor

from sslbolts.errors import UsageError
from sslbolts.losses.precision import full_precision

__all__ = ["instance_nce", "instance_softmax"]

_EPSILON = 1e-7  # of the published code


@full_precision
def instance_nce(v: Tensor, entries: Tensor, *, temperature: float, normalizer: Tensor, num_images: int) -> Tensor:
    r"""Noise-contrastive estimation of the softmax over all images, from `m` drawn ones.

    .. math:: -\frac{1}{B} \sum_i \Big[ \log \frac{P_{i0}}{P_{i0} + m/n + \epsilon}
              + \sum_{j=1}^m \log \frac{m/n}{P_{ij} + m/n + \epsilon} \Big]

    with `P_ij = exp(v_i · f_ij / τ) / Z`, the memory entry `f_i0` of the image itself and the drawn `f_i1 ... f_im`.
    Nothing is gathered: images are independent of each other given the memory.

    Args:
        v: ``(B, D)`` embeddings of unit length.
        entries: ``(B, 1 + m, D)`` of the memory: the image's own first, then `m` drawn uniformly, which may contain it.
        temperature: `τ` > 0.
        normalizer: `Z`, scalar; see :func:`~sslbolts.methods.contrastive.instance_discrimination.InstanceBank`.
        num_images: `n`, rows of the memory.

    Returns:
        Scalar.

    Raises:
        UsageError: if the shapes do not fit.

    Source: Wu et al., Unsupervised Feature Learning via Non-Parametric Instance Discrimination, CVPR 2018,
    arXiv:1805.01978, equations 7 and 8, with the constant of the published code.

    Example:
        >>> v, entries = torch.tensor([[1.0, 0.0]]), torch.tensor([[[1.0, 0.0], [0.0, 1.0]]])
        >>> loss = instance_nce(v, entries, temperature=1.0, normalizer=torch.tensor(2 * (1 + torch.e)), num_images=2)
        >>> round(loss.item(), 4)
        1.1002
    """
    if v.dim() != 2 or entries.dim() != 3 or (entries.shape[0], entries.shape[2]) != tuple(v.shape):
        raise UsageError(
            "instance_nce takes embeddings (B, D) and memory entries (B, 1 + m, D), got "
            f"{tuple(v.shape)} and {tuple(entries.shape)}."
        )
    noise = (entries.shape[1] - 1) / num_images  # m Pn
    p = (torch.einsum("bd,bkd->bk", v, entries.detach()) / temperature).exp() / normalizer.detach()  # (B, 1 + m)
    of_data = p[:, 0].log() - (p[:, 0] + noise + _EPSILON).log()
    of_noise = noise / (p[:, 1:] + noise + _EPSILON)
    return -(of_data + of_noise.log().sum(1)).mean()


@full_precision
def instance_softmax(v: Tensor, memory: Tensor, indices: Tensor, *, temperature: float) -> Tensor:
    r"""Cross entropy of recognizing an image among all `n` in the memory.

    .. math:: \frac{1}{B} \sum_i \Big[ -v_i \cdot f_{y_i} / \tau + \log \sum_{j=1}^n e^{v_i \cdot f_j / \tau} \Big]

    Args:
        v: ``(B, D)`` embeddings of unit length.
        memory: ``(n, D)``; receives no gradient.
        indices: ``(B,)`` which row of the memory is each image's own.
        temperature: `τ` > 0.

    Returns:
        Scalar; ``log n`` when nothing is learned.

    Raises:
        UsageError: if the shapes do not fit.

    Source: Wu et al., Unsupervised Feature Learning via Non-Parametric Instance Discrimination, CVPR 2018,
    arXiv:1805.01978, equation 2.

    Example:
        >>> memory = torch.eye(4)
        >>> round(instance_softmax(memory[:1], memory, torch.tensor([0]), temperature=1.0).item(), 4)  # log(1 + 3/e)
        0.7437
    """
    if v.dim() != 2 or memory.dim() != 2 or memory.shape[1] != v.shape[1]:
        raise UsageError(
            f"instance_softmax takes embeddings (B, D) and a memory (n, D), got {tuple(v.shape)} and "
            f"{tuple(memory.shape)}."
        )
    return F.cross_entropy(v @ memory.detach().T / temperature, indices)
