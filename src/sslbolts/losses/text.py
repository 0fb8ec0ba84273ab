"""Losses of methods on text: words against drawn words, and masked words against the whole vocabulary."""

from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from sslbolts.checks import one_of
from sslbolts.distributed import all_sum, world_size
from sslbolts.errors import UsageError
from sslbolts.losses.precision import full_precision

__all__ = ["Update", "compared_words", "masked_tokens", "negative_sampling"]

Update = Literal["gradient", "published"]
"""The gradient of the loss, or the step of the published program of word2vec."""


@full_precision
def negative_sampling(
    contexts: Tensor, outputs: Tensor, words: Tensor, present: Tensor, *, update: Update = "gradient", lr: float = 0.0
) -> Tensor:
    """The loss of word2vec, summed over groups: `-log σ(h·u_t) - Σ_n log σ(-h·u_n)`, `h` the mean of the context rows.

    A skip-gram pair is a group of one context word. Negatives equal to the target are left out; repeated ones count as
    often as they come.

    With ``update="published"`` the value is the same, and the gradient is the step of the published program by its
    learning rate: each context word gets the whole error of `h`, where the derivative of the mean has a part of it; and
    output rows move one after the other, so that a repeated negative sees its row as moved. Groups of one batch
    do not see each other's steps.

    Args:
        contexts: input rows of the context words, ``(N, C, D)``.
        outputs: output rows of the target and of `K` negatives, ``(N, 1 + K, D)``.
        words: ids of target and negatives, ``(N, 1 + K)``.
        present: whether there is a context word, ``(N, C)`` bool; a group without any does not count.
        update: what the gradient is.
        lr: learning rate of the step, for ``"published"``.

    Raises:
        UsageError: for an unknown update, or shapes that do not belong together.

    Source: Mikolov et al., Distributed Representations of Words and Phrases and their Compositionality, NeurIPS 2013,
    arXiv:1310.4546, equation 4.

    Example:
        >>> rows, words = torch.zeros(1, 3, 2), torch.tensor([[5, 7, 5]])
        >>> negative_sampling(rows[:, :1], rows, words, torch.ones(1, 1, dtype=torch.bool))  # 2 log 2
        tensor(1.3863)
    """
    one_of(get_args(Update), update=update)
    if contexts.shape[:2] != present.shape or outputs.shape[:2] != words.shape or len(contexts) != len(outputs):
        raise UsageError(
            f"contexts {tuple(contexts.shape)} and present {tuple(present.shape)}, outputs {tuple(outputs.shape)} and "
            f"words {tuple(words.shape)}: they are (N, C, D), (N, C), (N, 1 + K, D) and (N, 1 + K)."
        )
    there = present[..., None].to(contexts.dtype)  # (N, C, 1)
    hidden = (contexts * there).sum(1) / there.sum(1).clamp(min=1)  # (N, D)
    counts = compared_words(words, present)  # (N, 1 + K)
    scores = (outputs @ hidden[..., None])[..., 0]  # (N, 1 + K)
    right = torch.cat([scores[:, :1], -scores[:, 1:]], dim=1)
    loss = -(F.logsigmoid(right) * counts).sum()
    if update == "gradient":
        return loss
    slopes, error = _published_step(hidden.detach(), outputs.detach(), words, counts, lr)
    step = (contexts * there * error[:, None]).sum() + (outputs * slopes[..., None] * hidden.detach()[:, None]).sum()
    return loss.detach() - (step - step.detach())


def compared_words(words: Tensor, present: Tensor) -> Tensor:
    """Which of target and negatives ``(N, 1 + K)`` count.

    Those of groups with a context, but for negatives that are the target.
    """
    target, negatives = words[:, :1], words[:, 1:]
    return torch.cat([torch.ones_like(target, dtype=torch.bool), negatives != target], dim=1) & present.any(1)[:, None]


@torch.no_grad()
def _published_step(hidden: Tensor, outputs: Tensor, words: Tensor, counts: Tensor, lr: float) -> tuple[Tensor, Tensor]:
    """The program's steps, by its learning rate: of each output row in units of `h` ``(N, 1 + K)``, and of `h`."""
    slopes: list[Tensor] = []
    error = torch.zeros_like(hidden)
    for k in range(words.shape[1]):
        moved = torch.zeros_like(hidden[:, 0])  # how far this row has moved already, in units of h
        for earlier, slope in enumerate(slopes):
            moved = moved + slope * (words[:, earlier] == words[:, k])
        row = outputs[:, k] + lr * moved[:, None] * hidden
        wrong = float(k == 0) - (hidden * row).sum(1).sigmoid()
        slopes.append(wrong * counts[:, k])
        error = error + slopes[-1][:, None] * row
    return torch.stack(slopes, dim=1), error


@full_precision
def masked_tokens(logits: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """Cross-entropy of the masked words of all ranks: `Σ w CE / (Σ w + 1e-5)`.

    Args:
        logits: ``(..., V)``.
        labels: the words that were there, ``(...)`` int64.
        weights: 1 where there is something to predict, 0 for places that are left over, ``(...)``.

    Raises:
        UsageError: for shapes that do not belong together.

    Source: Devlin et al., BERT: Pre-training of Deep Bidirectional Transformers for Language Understanding, NAACL 2019,
    arXiv:1810.04805; the small number is the official code's.

    Example:
        >>> masked_tokens(torch.zeros(2, 4), torch.tensor([3, 0]), torch.tensor([1.0, 0.0]))  # log 4
        tensor(1.3863)
    """
    if logits.shape[:-1] != labels.shape or labels.shape != weights.shape:
        raise UsageError(
            f"logits {tuple(logits.shape)}, labels {tuple(labels.shape)} and weights {tuple(weights.shape)}: they are "
            "(..., V), (...) and (...)."
        )
    weights = weights.to(logits.dtype)
    each = F.cross_entropy(logits.flatten(0, -2), labels.flatten(), reduction="none")
    total: Tensor = all_sum(weights.sum())
    return (each * weights.flatten()).sum() * world_size() / (total + 1e-5)
