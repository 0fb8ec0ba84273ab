"""The meaning of logged values for a method's health, and the indicators that several methods share."""

from dataclasses import dataclass, field

__all__ = ["Indicator", "accuracy_over_chance", "loss_of_chance", "perplexity_ratio", "spread"]


@dataclass(frozen=True)
class Indicator:
    """A value that a method logs, and its range in healthy training: ``CollapseMonitor`` watches and explains it.

    Attributes:
        metric: name under which the method logs it, e.g. ``"train/matching_accuracy"``.
        meaning: what it means when the value is on the wrong side.
        below: the value is bad below this; None for no lower bound.
        above: the value is bad above this; None for no upper bound.
        fixes: what usually helps.

    Example:
        >>> Indicator("train/loss", meaning="the loss is that of guessing", above=6.2).is_bad(6.3)
        True
    """

    metric: str
    meaning: str
    below: float | None = None
    above: float | None = None
    fixes: tuple[str, ...] = field(default=())

    def is_bad(self, value: float) -> bool:
        """True where ``value`` is on the wrong side of a bound."""
        return (self.below is not None and value < self.below) or (self.above is not None and value > self.above)


def accuracy_over_chance(event: str, *fixes: str, of: str = "embeddings") -> Indicator:
    """``train/accuracy_over_chance``, which :meth:`sslbolts.SSLModule.log_matching` logs: 1 is guessing.

    Args:
        event: what a right answer is, e.g. "a prediction finds its key".
        fixes: what usually helps.
        of: what is all equal when the method has collapsed.

    Example:
        >>> accuracy_over_chance("a query finds its key").meaning
        'a query finds its key no more often than by chance: nothing is learned, or all embeddings are equal'
    """
    meaning = f"{event} no more often than by chance: nothing is learned, or all {of} are equal"
    return Indicator("train/accuracy_over_chance", meaning, below=2.0, fixes=fixes)


def loss_of_chance(guess: str, *fixes: str, of: str = "embeddings") -> Indicator:
    """``train/loss_of_chance``: the loss as a part of that of guessing among all candidates.

    Args:
        guess: what guessing is, e.g. "guessing among all other embeddings of the batch".
        fixes: what usually helps.
        of: what is all equal when the method has collapsed.
    """
    meaning = f"the loss is that of {guess}: nothing is learned, or all {of} are equal"
    return Indicator("train/loss_of_chance", meaning, above=0.98, fixes=fixes)


def spread(*fixes: str, below: float) -> Indicator:
    """``train/spread``, the embeddings' :func:`~sslbolts.readouts.normalized_std` times the root of their width.

    Args:
        fixes: what usually helps.
        below: evenly spread embeddings have 1, a single point has 0; this is where it is bad.
    """
    meaning = "the embeddings of all images are nearly one point (evenly spread ones would have 1): collapse"
    return Indicator("train/spread", meaning, below=below, fixes=fixes)


def perplexity_ratio(*fixes: str) -> Indicator:
    """``train/perplexity_ratio``: how many words a batch uses, over how many an image uses.

    Args:
        fixes: what usually helps.
    """
    meaning = "all images have nearly the same bag of words (a batch uses no more words than an image): collapse"
    return Indicator("train/perplexity_ratio", meaning, below=1.5, fixes=fixes)
