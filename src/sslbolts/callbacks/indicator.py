"""What a logged value says about a method's health."""

from dataclasses import dataclass, field

__all__ = ["Indicator"]


@dataclass(frozen=True)
class Indicator:
    """A method's own sign of illness, which ``CollapseMonitor`` watches and explains.

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
        """Whether ``value`` is on the wrong side of a bound."""
        return (self.below is not None and value < self.below) or (self.above is not None and value > self.above)
