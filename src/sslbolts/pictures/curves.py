"""Curves of a run: the loss, and how good the features are beside what they must beat."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from sslbolts.errors import UsageError
from sslbolts.pictures.style import COLORS, INK, MUTED, new_figure, plain, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["draw_curves", "label_ends"]

Series = Sequence[tuple[float, float]]


def draw_curves(
    loss: Series, accuracies: Mapping[str, Series], baselines: Mapping[str, float], *, title: str = ""
) -> "Figure":
    """The loss on the left, accuracies of validation images with their baselines on the right, both over epochs.

    Args:
        loss: pairs (epoch, loss).
        accuracies: label -> pairs (epoch, accuracy in [0, 1]).
        baselines: label -> accuracy in [0, 1], drawn as a dashed level.
        title: above both.

    Raises:
        UsageError: if there is nothing to draw.

    Example:
        >>> figure = draw_curves([(1, 5.5), (2, 5.1)], {"kNN-20": [(1, 0.3), (2, 0.4)]}, {"raw pixels": 0.37})
        >>> len(figure.axes)
        2
    """
    if not loss and not any(accuracies.values()):
        raise UsageError("there is nothing to draw: no loss and no accuracy was logged.")
    figure = new_figure(10.5, 4.2)
    left, right = figure.subplots(1, 2, width_ratios=(2, 3))
    left.plot(*zip(*loss), color=COLORS[0], linewidth=1.2)
    tidy(left, title="Training loss", xlabel="epoch", ylabel="loss")
    # A label stands at the right end of its line, so that no legend has to be matched by color.
    ends: list[tuple[float, str, str]] = []
    for color, (label, series) in zip(COLORS, accuracies.items()):
        epochs, values = zip(*series)
        right.plot(epochs, [100 * value for value in values], color=color, linewidth=2, marker="o", markersize=3.5)
        ends.append((100 * values[-1], f"{label}  {100 * values[-1]:.1f}", color))
    for label, value in baselines.items():
        right.axhline(100 * value, color=MUTED, linewidth=1.2, linestyle=(0, (5, 3)))
        ends.append((100 * value, f"{label}  {100 * value:.1f}", MUTED))
    tidy(right, title="Validation accuracy", xlabel="epoch", ylabel="accuracy (%)")
    for axes in (left, right):
        axes.xaxis.get_major_locator().set_params(integer=True)
    label_ends(right, ends)
    if title:
        figure.suptitle(plain(title), x=0.01, ha="left", fontsize=12, color=INK)
    return figure


def label_ends(axes: "Axes", ends: list[tuple[float, str, str]]) -> None:
    """Write labels beside the right edge, moved apart where their values are close.

    Args:
        axes: with everything drawn.
        ends: triples (value, label, color).
    """
    low, high = axes.get_ylim()
    gap = (high - low) / 18
    previous = -float("inf")
    for value, label, color in sorted(ends):
        previous = max(value, previous + gap)
        axes.annotate(
            plain(label),
            (1.01, previous),
            xycoords=("axes fraction", "data"),
            color=color,
            va="center",
            fontsize=9,
            annotation_clip=False,
        )
