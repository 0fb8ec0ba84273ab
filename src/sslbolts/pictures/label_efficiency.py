"""Accuracy over the number of labels: frozen features beside training from scratch."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from sslbolts.errors import UsageError
from sslbolts.pictures.curves import label_ends
from sslbolts.pictures.style import COLORS, INK, new_figure, plain, tidy

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["draw_label_efficiency"]


def draw_label_efficiency(
    per_class: Sequence[int], accuracies: Mapping[str, Sequence[float]], *, title: str = ""
) -> "Figure":
    """One curve for each way to learn, over labels per class on a logarithmic axis.

    Args:
        per_class: numbers of labels per class.
        accuracies: label -> accuracy in [0, 1] at each of them.
        title: above the picture.

    Raises:
        UsageError: if there is nothing to draw, or a curve has another number of points.

    Example:
        >>> curves = {"self-supervised": [0.6, 0.7], "from scratch": [0.3, 0.7]}
        >>> draw_label_efficiency([20, 100], curves).axes[0].get_xscale()
        'log'
    """
    if not per_class or not accuracies:
        raise UsageError("there is nothing to draw: no number of labels, or no accuracy.")
    for label, values in accuracies.items():
        if len(values) != len(per_class):
            raise UsageError(f'"{label}" has {len(values)} accuracies, for {len(per_class)} numbers of labels.')
    figure = new_figure(6.8, 4.2)
    axes = figure.subplots()
    ends: list[tuple[float, str, str]] = []
    for color, (label, values) in zip(COLORS, accuracies.items()):
        axes.plot(per_class, [100 * value for value in values], color=color, linewidth=2, marker="o", markersize=4)
        ends.append((100 * values[-1], f"{label}  {100 * values[-1]:.1f}", color))
    axes.set_xscale("log")
    axes.set_xticks(list(per_class), labels=[f"{count:,}" for count in per_class])
    axes.set_xticks([], minor=True)
    tidy(axes, title="Accuracy over labels", xlabel="labels per class", ylabel="accuracy (%)")
    label_ends(axes, ends)
    if title:
        figure.suptitle(plain(title), x=0.01, ha="left", fontsize=12, color=INK)
    return figure
