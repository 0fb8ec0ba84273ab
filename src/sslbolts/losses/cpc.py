"""InfoNCE over a grid of patches: a row's context predicts the patches some rows below."""

import torch.nn.functional as F
from torch import Tensor

from sslbolts.distributed import gather, own_rows
from sslbolts.errors import UsageError
from sslbolts.losses.precision import full_precision

__all__ = ["cpc"]


@full_precision
def cpc(prediction: Tensor, target: Tensor, offset: int, *, scale: float = 0.1) -> Tensor:
    r"""Cross entropy of finding a patch among all patches of the global batch, from the context some rows above it.

    .. math:: -\frac{1}{|P|} \sum_{(b, r, c) \in P}
              \log \frac{e^{s_{brc}(b, r + k, c)}}{\sum_{b'r'c'} e^{s_{brc}(b', r', c')}},
              \qquad s_{brc}(b', r', c') = \sigma \langle p_{brc}, t_{b'r'c'} \rangle

    where `P` are the positions that have a row `k` below them. Negatives are all other patches, of the same image too.
    Each rank predicts for its own images among the patches of all ranks, with gradient through the gather.

    Args:
        prediction: ``(B, H, W, D)``, linear in the context of each position.
        target: ``(B, H, W, D)``, linear in the features of each patch.
        offset: `k`, rows from a context to what it predicts, in [1, H - 1].
        scale: `σ` > 0, on the predictions; ``emb_scale`` in the paper's listing.

    Returns:
        Scalar in float32 (float64 for float64 inputs); about ``log(N H W)`` for `N` images where nothing is learned.

    Raises:
        UsageError: if the shapes differ, or no row is ``offset`` below another.

    Source: Hénaff et al., Data-Efficient Image Recognition with Contrastive Predictive Coding, ICML 2020,
    arXiv:1905.09272; van den Oord et al., arXiv:1807.03748, equation 4.

    Example:
        >>> import torch
        >>> prediction, target = torch.zeros(2, 4, 3, 8), torch.randn(2, 4, 3, 8)
        >>> round(cpc(prediction, target, 1).exp().item())  # guessing among 2 x 4 x 3 patches
        24
    """
    if prediction.shape != target.shape or prediction.dim() != 4:
        raise UsageError(
            f"cpc takes predictions and targets of one shape (B, H, W, D), got {tuple(prediction.shape)} and "
            f"{tuple(target.shape)}."
        )
    images, rows, columns, _ = prediction.shape
    if not 1 <= offset < rows:
        raise UsageError(
            f"offset={offset}: a grid of {rows} rows has contexts from 1 to {rows - 1} rows above a patch."
        )
    candidates = gather(target).flatten(0, 2)  # (N * H * W, D)
    logits = scale * prediction[:, :-offset].flatten(0, 2) @ candidates.T
    places = own_rows(target.flatten(0, 2)).view(images, rows, columns)
    own = places[:, offset:].flatten()
    return F.cross_entropy(logits, own)
