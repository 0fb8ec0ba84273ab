"""Schedules as pure functions of the optimizer step, which a resumed run continues without any state."""

import math
from collections.abc import Sequence

from sslbolts.checks import positive

__all__ = ["cosine", "hold_and_decay", "linear_decay", "sigmoid_ramp", "warmup_cosine", "warmup_steps"]


def cosine(step: int, *, total: int, start: float, end: float) -> float:
    """Half a cosine from ``start`` at step 0 to ``end`` at step ``total``, and ``end`` from then on.

    The momentum of an EMA teacher: ``cosine(step, total=T, start=0.996, end=1.0)``.

    Args:
        step: optimizer steps done, >= 0.
        total: optimizer steps of the run, > 0.
        start: value at the beginning.
        end: value at the end.

    Source: Grill et al., Bootstrap Your Own Latent, NeurIPS 2020, arXiv:2006.07733, section 3.3.

    Example:
        >>> [round(cosine(step, total=4, start=0.99, end=1.0), 4) for step in range(5)]
        [0.99, 0.9915, 0.995, 0.9985, 1.0]
    """
    positive(total=total)
    progress = min(max(step / total, 0.0), 1.0)
    return end - (end - start) * (math.cos(math.pi * progress) + 1) / 2


def hold_and_decay(epoch: int, *, hold: int, length: int, final: float) -> float:
    """Factor on the learning rate: 1, then less by the same factor in every epoch, `final^((e - hold + 1) / length)`.

    The first epoch that decays is below 1 already, and the last of ``hold + length`` has ``final``.

    Args:
        epoch: epochs done, >= 0.
        hold: epochs at 1.
        length: epochs of the decay, > 0.
        final: factor in the last epoch, > 0.

    Source: Donahue et al., Adversarial Feature Learning, ICLR 2017, arXiv:1605.09782 (the official code).

    Example:
        >>> [round(hold_and_decay(epoch, hold=2, length=2, final=0.01), 3) for epoch in range(4)]
        [1.0, 1.0, 0.1, 0.01]
    """
    positive(length=length, final=final)
    return 1.0 if epoch < hold else float(final ** ((epoch - hold + 1) / length))


def linear_decay(step: int, *, total: int, warmup: int = 0, floor: float = 0.0) -> float:
    """Factor on the learning rate: `1 - t/T` of the whole run, not below ``floor``; before that, a linear rise from 0.

    The rise leads to 1 and the decay begins at step 0, so the factor falls by `warmup/T` where they meet, as in BERT.

    Args:
        step: optimizer steps done, >= 0.
        total: optimizer steps of the run, > 0.
        warmup: steps of the linear rise, >= 0.
        floor: the least factor after the rise, in [0, 1] (word2vec: 1e-4).

    Source: the programs of Mikolov et al., arXiv:1301.3781, and Devlin et al., BERT, arXiv:1810.04805.

    Example:
        >>> [round(linear_decay(step, total=5, warmup=2, floor=0.3), 3) for step in range(6)]
        [0.0, 0.5, 0.6, 0.4, 0.3, 0.3]
    """
    positive(total=total)
    return step / warmup if step < warmup else max(1 - step / total, floor)


def sigmoid_ramp(step: int, *, length: int) -> float:
    """Rise from ``exp(-5)`` at step 0 to 1 at step ``length``, `exp(-5 (1 - t)^2)`, and 1 from then on.

    Args:
        step: optimizer steps done, >= 0.
        length: optimizer steps of the rise, >= 0.

    Source: Laine and Aila, Temporal Ensembling for Semi-Supervised Learning, ICLR 2017, arXiv:1610.02242.

    Example:
        >>> [round(sigmoid_ramp(step, length=4), 3) for step in range(6)]
        [0.007, 0.06, 0.287, 0.732, 1.0, 1.0]
    """
    remaining = max(1 - step / length, 0.0) if length > 0 else 0.0
    return math.exp(-5 * remaining**2)


def warmup_cosine(step: int, *, total: int, warmup: int = 0, floor: float = 0.0) -> float:
    """Factor on the peak learning rate: linear from 0 at step 0 to 1, then half a cosine down to ``floor``.

    Args:
        step: optimizer steps done, >= 0.
        total: optimizer steps of the run, > 0.
        warmup: steps of the linear rise, >= 0.
        floor: factor at the end, in [0, 1] (Barlow Twins and VICReg: 0.001).

    Returns:
        A factor in [0, 1].

    Source: Loshchilov and Hutter, SGDR, ICLR 2017, arXiv:1608.03983; warm-up of Goyal et al., arXiv:1706.02677.

    Example:
        >>> [round(warmup_cosine(step, total=6, warmup=2), 3) for step in range(7)]
        [0.0, 0.5, 1.0, 0.854, 0.5, 0.146, 0.0]
    """
    if step < warmup:
        return step / warmup
    return cosine(step - warmup, total=max(total - warmup, 1), start=1.0, end=floor)


def warmup_steps(
    step: int, *, total: int, warmup: int = 0, milestones: Sequence[float] = (0.6, 0.8), factor: float = 0.1
) -> float:
    """Factor on the peak learning rate: linear from 0 at step 0 to 1, then times ``factor`` at every milestone.

    Args:
        step: optimizer steps done, >= 0.
        total: optimizer steps of the run, > 0.
        warmup: steps of the linear rise, >= 0.
        milestones: parts of the run in (0, 1): epochs 120 and 160 of 200 are 0.6 and 0.8.
        factor: of each milestone.

    Returns:
        A factor in [0, 1].

    Example:
        >>> [round(warmup_steps(step, total=10, warmup=2), 3) for step in range(10)]
        [0.0, 0.5, 1.0, 1.0, 1.0, 1.0, 0.1, 0.1, 0.01, 0.01]
    """
    positive(total=total)
    if step < warmup:
        return step / warmup
    passed = sum(step >= round(milestone * total) for milestone in milestones)
    return float(factor**passed)
