"""Words beside their nearest words, as a table."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sslbolts.errors import UsageError
from sslbolts.pictures.style import INK, MUTED, new_figure, plain

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["draw_nearest_words"]

_LETTER, _LINE = 0.095, 0.3  # inches
_LONGEST = 18  # letters of a word that are shown


def draw_nearest_words(
    words: Sequence[str], nearest: Sequence[Sequence[tuple[str, float]]], *, title: str = "Nearest words"
) -> "Figure":
    """One row per word: the word, then those whose vectors are nearest, each above its cosine.

    The darker, the nearer.

    Args:
        words: the words.
        nearest: of each, pairs of a word and a cosine, the nearest first.
        title: above the table.

    Raises:
        UsageError: if there are no words, or not as many lists.

    Example:
        >>> figure = draw_nearest_words(["cat"], [[("dog", 0.9), ("cats", 0.7)]])
        >>> [text.get_text() for text in figure.axes[0].texts]
        ['cat', 'dog', '0.90', 'cats', '0.70']
    """
    if not words or len(words) != len(nearest):
        raise UsageError(f"{len(words)} words and {len(nearest)} lists of their nearest: there must be one for each.")
    columns = 1 + max(map(len, nearest))
    shown = [word for row in nearest for word, _ in row] + list(words)
    cell = _LETTER * min(_LONGEST, max(map(len, shown))) + 0.25
    width, height = max(cell * columns, 3.5), 1.5 * _LINE * len(words) + 0.55
    figure = new_figure(width, height)
    axes = figure.add_subplot()
    axes.set_xlim(0, columns)
    axes.set_ylim(len(words), 0)
    axes.set_axis_off()
    for row, (word, found) in enumerate(zip(words, nearest)):
        axes.text(0.05, row + 0.5, _short(word), va="center", color=INK, fontsize=10, fontweight="bold")
        for column, (other, cosine) in enumerate(found, start=1):
            shade = str(round(0.62 - 0.5 * min(max(cosine, 0.0), 1.0), 2))  # a gray
            axes.text(column + 0.05, row + 0.4, _short(other), va="center", color=shade, fontsize=10)
            axes.text(column + 0.05, row + 0.8, f"{cosine:.2f}", va="center", color=MUTED, fontsize=7)
        if row:
            axes.axhline(row, color="#e5e5e5", linewidth=0.8)
    figure.suptitle(plain(title), x=0.02, ha="left", fontsize=12, color=INK, fontweight="bold")
    return figure


def _short(word: str) -> str:
    return plain(word if len(word) <= _LONGEST else f"{word[: _LONGEST - 1]}…")
