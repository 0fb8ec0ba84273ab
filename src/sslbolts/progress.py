"""A progress bar for what takes longer than expected."""

from collections.abc import Iterable
from typing import TypeVar

from sslbolts.distributed import rank

__all__ = ["late_bar"]

T = TypeVar("T")
_PATIENCE = 2.0  # seconds without a bar


def late_bar(items: Iterable[T], description: str, *, shown: bool = True) -> Iterable[T]:
    """Walks through ``items``; a bar appears on rank 0 if it is not over after two seconds, and goes at the end.

    With ``TQDM_DISABLE=1`` in the environment there is none.

    Args:
        items: what is walked through.
        description: stands before the bar.
        shown: whether there may be a bar at all.

    Example:
        >>> list(late_bar(range(3), "Counting"))
        [0, 1, 2]
    """
    from tqdm import tqdm  # type: ignore[import-untyped]  # here, not at the top: most imports never need it

    if not shown or rank() > 0:
        return items
    bar: Iterable[T] = tqdm(items, desc=description, delay=_PATIENCE, leave=False)
    return bar
