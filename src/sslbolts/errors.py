"""The one exception for a user's mistake, and the nearest right name for a wrong one."""

from collections.abc import Iterable
from difflib import get_close_matches

__all__ = ["UsageError", "did_you_mean"]


class UsageError(ValueError):
    """What was asked for cannot work; the message says what was given, what is allowed and what to do.

    The command line prints it as one line, without a traceback.
    """


def did_you_mean(name: str, options: Iterable[str]) -> str:
    """The end of an error message that suggests the nearest of ``options``, or nothing if none is near.

    Args:
        name: what was given.
        options: what would have been right.

    Example:
        >>> did_you_mean("SimCRL", ["SimCLR", "BYOL"])
        ' Did you mean "SimCLR"?'
        >>> did_you_mean("xyz", ["SimCLR", "BYOL"])
        ''
    """
    by_lower = {option.lower(): option for option in options}
    near = get_close_matches(name.lower(), by_lower, n=1, cutoff=0.6)
    return f' Did you mean "{by_lower[near[0]]}"?' if near else ""
