"""The random choices of word2vec as functions of what was drawn: words that stay, their windows, and the noise."""

from typing import Literal

import torch
from torch import Tensor

__all__ = ["drawn_words", "keep_probability", "noise_distribution", "thinned", "windows"]


def keep_probability(counts: Tensor, threshold: float, *, form: Literal["program", "paper"] = "program") -> Tensor:
    """The probability that an occurrence of each word stays, by its share `f` of all words.

    `min(1, √(t/f) + t/f)` in the published program, `min(1, √(t/f))` in the paper.

    Args:
        counts: how often each word occurs, ``(V,)``, sentence ends included.
        threshold: `t`; 0 keeps everything.
        form: which of the two.

    Source: Mikolov et al., arXiv:1310.4546, section 2.3, and their program.

    Example:
        >>> keep_probability(torch.tensor([90.0, 9.0, 1.0]), 0.01)
        tensor([0.1165, 0.4444, 1.0000])
    """
    if threshold == 0:
        return torch.ones_like(counts)
    ratio = threshold * counts.sum() / counts
    return (ratio.sqrt() + (ratio if form == "program" else 0)).clamp(max=1)


def noise_distribution(counts: Tensor, power: float = 0.75) -> Tensor:
    """The probability ``(V,)`` of each word as a negative: its count to the ``power``, normalized.

    Example:
        >>> noise_distribution(torch.tensor([16.0, 1.0]))
        tensor([0.8889, 0.1111])
    """
    weights = counts**power
    return weights / weights.sum()


def drawn_words(uniform: Tensor, spare: Tensor, probability: Tensor) -> Tensor:
    """Negatives from numbers in [0, 1): words of the noise distribution, any but the sentence end in its place.

    Args:
        uniform: one number for each negative.
        spare: another one, for draws of word 0.
        probability: of each word, ``(V,)``.
    """
    last = len(probability) - 1
    drawn = torch.searchsorted(probability.cumsum(0), uniform.to(probability.dtype), right=True).clamp(max=last)
    return torch.where(drawn == 0, (1 + (spare * last).long()).clamp(max=last), drawn)


def thinned(ids: Tensor, keep: Tensor) -> tuple[Tensor, Tensor]:
    """The words that stay, moved together, so that windows reach further; and the sentence of each.

    Args:
        ids: words in their order, ``(B, L)``: 0 is the end of a sentence, -1 no word.
        keep: whether a word stays, ``(B, L)`` bool.

    Returns:
        words ``(B, L)``, -1 behind the last; and the number of each one's sentence ``(B, L)``.

    Example:
        >>> keep = torch.tensor([[True, False, True, True]])
        >>> thinned(torch.tensor([[5, 6, 0, 7]]), keep)
        (tensor([[ 5,  7, -1, -1]]), tensor([[0, 1, 0, 1]]))
    """
    keep = keep & (ids > 0)
    order = keep.logical_not().to(torch.uint8).argsort(dim=1, stable=True)
    sentences = (ids == 0).cumsum(1).gather(1, order)
    return torch.where(keep, ids, -1).gather(1, order), sentences


def windows(words: Tensor, sentences: Tensor, radius: Tensor, widest: int) -> Tensor:
    """The words around each word, in its sentence and no further away than its radius.

    Args:
        words: ``(B, L)``, -1 for none.
        sentences: number of each one's sentence, ``(B, L)``.
        radius: of each one's window, 1 to ``widest``, ``(B, L)``.
        widest: the widest radius `W`.

    Returns:
        ``(B, L, 2 W)``, from left to right; -1 for none.

    Example:
        >>> words = torch.tensor([[4, 5, 6]])
        >>> windows(words, torch.zeros_like(words), torch.tensor([[2, 1, 2]]), 2)
        tensor([[[-1, -1,  5,  6],
                 [-1,  4,  6, -1],
                 [ 4,  5, -1, -1]]])
    """
    length, device = words.shape[1], words.device
    steps = torch.arange(1, widest + 1, device=device)
    steps = torch.cat([-steps.flip(0), steps])  # (2W,)
    places = torch.arange(length, device=device)[:, None] + steps  # (L, 2W)
    inside = (places >= 0) & (places < length)
    places = places.clamp(0, length - 1)
    near = inside & (steps.abs() <= radius[..., None])  # (B, L, 2W)
    together = (sentences[:, places] == sentences[..., None]) & (words[..., None] > 0)
    return torch.where(near & together, words[:, places], -1)
