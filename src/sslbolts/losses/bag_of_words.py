"""Bags of visual words: how often each word of a vocabulary occurs in an image, as a target."""

import torch
from torch import Tensor
from torch.nn import functional as F

from sslbolts.errors import UsageError
from sslbolts.losses.precision import full_precision

__all__ = ["bag_of_words", "hard_bags", "perplexities", "soft_bags", "word_distances"]


@torch.no_grad()
@full_precision
def word_distances(features: Tensor, words: Tensor) -> Tensor:
    """Squared euclidean distance of every location's feature to every word.

    Args:
        features: ``(B, C, H, W)``.
        words: ``(K, C)``.

    Returns:
        ``(B, H * W, K)``, without gradient.

    Raises:
        UsageError: if the shapes do not fit.

    Example:
        >>> word_distances(torch.zeros(1, 2, 1, 1), torch.tensor([[3.0, 4.0], [0.0, 1.0]])).tolist()
        [[[25.0, 1.0]]]
    """
    if features.dim() != 4 or words.dim() != 2 or features.shape[1] != words.shape[1]:
        raise UsageError(
            f"word_distances takes features (B, C, H, W) and words (K, C), got {tuple(features.shape)} and "
            f"{tuple(words.shape)}."
        )
    locations = features.flatten(2).mT  # (B, L, C)
    squares = locations.square().sum(2, keepdim=True) + words.square().sum(1)
    return (squares - 2 * locations @ words.T).clamp_min(0)


@torch.no_grad()
@full_precision
def soft_bags(distances: Tensor, sharpness: Tensor | float) -> Tensor:
    r"""OBoW's target: how strongly each word occurs at the location where it occurs most, summing to one.

    `softmax_k(-s d²)` at every location, the maximum over locations, divided by its sum over words.

    Args:
        distances: ``(B, L, K)`` squared distances of `L` locations to `K` words.
        sharpness: `s` > 0, one over the temperature; OBoW's is 15 over the mean distance to the nearest word.

    Returns:
        ``(B, K)``, each row sums to 1.

    Source: Gidaris et al., OBoW: Online Bag-of-Visual-Words Generation for Self-Supervised Learning, CVPR 2021,
    arXiv:2012.11552, section 3.2.

    Example:
        >>> soft_bags(torch.tensor([[[0.0, 9.0], [9.0, 0.0]]]), 100.0).tolist()  # each word occurs once
        [[0.5, 0.5]]
    """
    codes = (-sharpness * distances).softmax(2)
    return F.normalize(codes.amax(1), p=1, dim=1)


@torch.no_grad()
@full_precision
def hard_bags(distances: Tensor, *, binary: bool = False) -> Tensor:
    """BoWNet's target: the share of locations at which each word is the nearest.

    Args:
        distances: ``(B, L, K)`` squared distances of `L` locations to `K` words.
        binary: only whether a word occurs, not how often.

    Returns:
        ``(B, K)``, each row sums to 1.

    Source: Gidaris et al., Learning Representations by Predicting Bags of Visual Words, CVPR 2020, arXiv:2002.12247,
    equations 1 and 2.

    Example:
        >>> distances = torch.tensor([[[0.0, 9.0], [1.0, 9.0], [9.0, 0.0], [0.0, 1.0]]])
        >>> hard_bags(distances).tolist(), hard_bags(distances, binary=True).tolist()
        ([[0.75, 0.25]], [[0.5, 0.5]])
    """
    nearest = distances.argmin(2)  # (B, L)
    counts = distances.new_zeros(len(distances), distances.shape[2])
    counts.scatter_add_(1, nearest, torch.ones_like(nearest, dtype=counts.dtype))
    return F.normalize(counts.clamp_max(1) if binary else counts, p=1, dim=1)


@full_precision
def bag_of_words(logits: Tensor, bags: Tensor, *, divergence: bool = True) -> Tensor:
    r"""Distance of the predicted distribution over words from the bag of words.

    `mean KL(y ‖ softmax(logits))`, or the cross-entropy, which is larger by the entropy of `y` and has the same
    gradient. OBoW's paper writes the latter, its code the former; BoWNet's is the latter.

    Args:
        logits: ``(B, K)`` or ``(V, B, K)`` for `V` views of each image.
        bags: ``(B, K)`` targets, each row sums to 1; no gradient flows into them.
        divergence: Kullback-Leibler divergence, or cross-entropy.

    Returns:
        Scalar, >= 0, the mean over images and views.

    Raises:
        UsageError: if the shapes do not fit.

    Source: Gidaris et al., OBoW: Online Bag-of-Visual-Words Generation for Self-Supervised Learning, CVPR 2021,
    arXiv:2012.11552, equation 5.

    Example:
        >>> bags = torch.tensor([[0.5, 0.5, 0.0, 0.0]])
        >>> round(bag_of_words(torch.zeros(1, 4), bags).item(), 4)  # ln(4) - ln(2)
        0.6931
    """
    if logits.dim() not in (2, 3) or logits.shape[-2:] != bags.shape:
        raise UsageError(
            f"bag_of_words takes logits (B, K) or (V, B, K) and bags (B, K), got {tuple(logits.shape)} and "
            f"{tuple(bags.shape)}."
        )
    bags = bags.detach()
    cross_entropy = -(bags * F.log_softmax(logits, dim=-1)).sum(-1).mean()
    return cross_entropy - torch.special.entr(bags).sum(1).mean() if divergence else cross_entropy


@torch.no_grad()
@full_precision
def perplexities(bags: Tensor) -> Tensor:
    """Numbers of words that an image and the batch use: `exp` of the mean entropy, and of the mean's entropy.

    Equal numbers mean that all images have one bag. The second is at most the number of words.

    Args:
        bags: ``(B, K)``, each row sums to 1.

    Returns:
        ``(2,)``, perplexity of an image and of the batch.

    Example:
        >>> [round(perplexity, 3) for perplexity in perplexities(torch.eye(4)).tolist()]
        [1.0, 4.0]
    """
    image = torch.special.entr(bags).sum(1).mean()
    batch = torch.special.entr(bags.mean(0)).sum()
    return torch.stack([image, batch]).exp()
