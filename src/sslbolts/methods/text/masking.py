"""BERT's masks: which words of a text are predicted, and what stands in their places."""

from typing import NamedTuple

import torch
from torch import Tensor

from sslbolts.training.shared_draws import integers, uniform

__all__ = ["MaskedText", "masked_text", "number_of_predictions", "random_masks"]


class MaskedText(NamedTuple):
    """Texts with some of their words hidden.

    Attributes:
        ids: ``(B, L)``, what the network sees.
        positions: ``(B, P)`` of the words to predict, from left to right.
        labels: ``(B, P)``, the words that were there.
        weights: ``(B, P)`` bool, False where a text has fewer words to predict; those come last.
    """

    ids: Tensor
    positions: Tensor
    labels: Tensor
    weights: Tensor


def number_of_predictions(length: int, *, probability: float = 0.15, most: int = 20) -> int:
    """How many words of a text are predicted: ``probability`` of its length, rounded half to even; at least one.

    Args:
        length: in tokens, [CLS] and [SEP] included.
        probability: share of the tokens.
        most: more than so many are never predicted.

    Example:
        >>> [number_of_predictions(length) for length in (4, 10, 30, 50, 128, 512)]
        [1, 2, 4, 8, 19, 20]
    """
    return min(most, max(1, round(probability * length)))


def masked_text(
    ids: Tensor,
    order: Tensor,
    counts: Tensor,
    *,
    kinds: Tensor,
    coins: Tensor,
    replacements: Tensor,
    mask_id: int,
) -> MaskedText:
    """Hide words as drawn: of ten, eight become [MASK], one stays, and one becomes any word.

    Args:
        ids: ``(B, L)``.
        order: positions in the order of the draw, ``(B, P)``; of each text the first ``counts`` are predicted.
        counts: ``(B,)``.
        kinds: numbers in [0, 1) for the ``order``, ``(B, P)``: below 0.8 a word becomes [MASK].
        coins: numbers in [0, 1), ``(B, P)``, for the others: below 0.5 the word stays.
        replacements: ``(B, P)``, the words that come in its place.
        mask_id: [MASK].

    Source: Devlin et al., BERT, NAACL 2019, arXiv:1810.04805, section 3.1, and the official code.

    Example:
        >>> draws = {"kinds": torch.tensor([[0.1, 0.9]]), "coins": torch.tensor([[0.1, 0.9]])}
        >>> order, others = torch.tensor([[2, 1]]), torch.tensor([[7, 8]])
        >>> text = torch.tensor([[1, 5, 6, 2]])
        >>> found = masked_text(text, order, torch.tensor([2]), **draws, replacements=others, mask_id=4)
        >>> found.ids.tolist(), found.positions.tolist(), found.labels.tolist()
        ([[1, 8, 4, 2]], [[1, 2]], [[5, 6]])
    """
    weights = torch.arange(order.shape[1], device=ids.device) < counts[:, None]
    there = ids.gather(1, order)
    others = torch.where(coins < 0.5, there, replacements)
    shown = torch.where(kinds < 0.8, mask_id, others)
    hidden = ids.scatter(1, order, torch.where(weights, shown, there))
    behind = torch.where(weights, order, order + ids.shape[1])
    by_place = behind.argsort(dim=1)
    return MaskedText(hidden, order.gather(1, by_place), there.gather(1, by_place), weights)


def random_masks(
    ids: Tensor,
    candidates: Tensor,
    counts: Tensor,
    *,
    generator: torch.Generator,
    most: int,
    mask_id: int,
    num_words: int,
    parts: Tensor | None = None,
) -> MaskedText:
    """Masks drawn for the texts of this rank.

    Args:
        ids: ``(B, L)``.
        candidates: which positions may be predicted, ``(B, L)`` bool.
        counts: how many are, ``(B,)``; fewer where there are fewer candidates.
        generator: in the same state on all ranks, on the device of the texts.
        most: the largest of ``counts``, `P`.
        mask_id: [MASK].
        num_words: replacements are any of 0 to ``num_words - 1``: special ones, and the true one, are among them.
        parts: whether a token goes on with the word before, ``(B, L)`` bool: then words are hidden whole, in random
            order, and one that would exceed ``counts`` is passed over.

    Example:
        >>> ids = torch.arange(10, 20)[None]
        >>> draw = torch.Generator().manual_seed(0)
        >>> some = {"most": 3, "mask_id": 1, "num_words": 20}
        >>> found = random_masks(ids, ids > 10, torch.tensor([2]), generator=draw, **some)
        >>> found.weights.tolist(), 10 in found.labels[0, :2].tolist()
        ([[True, True, False]], False)
    """
    most = min(most, ids.shape[1])
    noise = uniform(*ids.shape, generator=generator)
    kinds, coins = uniform(len(ids), most, 2, generator=generator).unbind(2)
    replacements = integers(len(ids), most, below=num_words, generator=generator)
    if parts is None:
        order = torch.where(candidates, noise, 2.0).argsort(dim=1)
        counts = torch.minimum(counts, candidates.sum(1))
    else:
        order, counts = _whole_words(noise, candidates, counts, parts)
    order = order[:, :most]
    return masked_text(ids, order, counts, kinds=kinds, coins=coins, replacements=replacements, mask_id=mask_id)


def _whole_words(noise: Tensor, candidates: Tensor, counts: Tensor, parts: Tensor) -> tuple[Tensor, Tensor]:
    """Positions with those of the chosen words first, and how many they are."""
    words = (candidates & ~parts).cumsum(1) * candidates  # (B, L), from 1 on; 0 for what is no candidate
    words = torch.where(candidates, words.clamp(min=1), 0)
    length = words.shape[1]
    sizes = torch.zeros(len(words), length + 1, dtype=torch.int64, device=words.device)
    sizes = sizes.scatter_add(1, words, torch.ones_like(words))[:, 1:]  # of word 1, 2, ...
    order = torch.where(sizes > 0, noise, 2.0).argsort(dim=1)  # of words
    taken = torch.zeros_like(counts)
    chosen = torch.zeros_like(sizes, dtype=torch.bool)
    for turn in range(length):
        word = order[:, turn, None]
        size = sizes.gather(1, word)[:, 0]
        fits = (size > 0) & (taken + size <= counts)
        chosen = chosen.scatter(1, word, fits[:, None])
        taken = taken + size * fits
    hidden = candidates & chosen.gather(1, (words - 1).clamp(min=0))
    return torch.where(hidden, noise, 2.0).argsort(dim=1), taken
