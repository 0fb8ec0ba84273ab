"""The classes that are confused with each other, as a matrix."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from torch import Tensor

from sslbolts.errors import UsageError
from sslbolts.pictures.style import INK, MUTED, new_figure, plain

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["draw_confusion"]

_MOST_NUMBERS = 25  # classes up to which every cell says its number
_MOST_NAMES = 60  # classes up to which every row has its name


def draw_confusion(
    matrix: Tensor, *, class_names: Sequence[str] | None = None, title: str = "Which classes are taken for which"
) -> "Figure":
    """One row per class: how its images are predicted, in percent of them; darker is more, the diagonal is right.

    Classes without an image have an empty row. The colors are one hue from white to dark blue, which tells more from
    less in gray and to color-blind readers too.

    Args:
        matrix: ``(C, C)`` counts, rows the true classes, columns the predicted ones.
        class_names: name of each class; None numbers them.
        title: above the picture.

    Raises:
        UsageError: if the matrix is not square, or the names are not as many.

    Example:
        >>> import torch
        >>> figure = draw_confusion(torch.tensor([[9, 1], [2, 8]]), class_names=["cat", "dog"])
        >>> [text.get_text() for text in figure.axes[0].texts][:4]
        ['90', '10', '20', '80']
    """
    classes = len(matrix)
    if matrix.dim() != 2 or matrix.shape[1] != classes or classes == 0:
        raise UsageError(f"a confusion matrix is square, (C, C), got {tuple(matrix.shape)}.")
    names = [str(label) for label in range(classes)] if class_names is None else list(class_names)
    if len(names) != classes:
        raise UsageError(f"class_names has {len(names)} names for {classes} classes: give one for each.")
    counts = matrix.cpu().double()
    images = counts.sum(1)
    percent = 100 * counts / images[:, None]  # NaN, drawn as nothing, where a class has no image
    longest = max(map(len, names)) if classes <= _MOST_NAMES else 0
    side = 0.5 * classes if classes <= _MOST_NUMBERS else min(0.2 * classes, 10.0)
    side = max(side, 2.6)
    figure = new_figure(side + 0.09 * longest + 1.9, side + 0.06 * longest + 1.5)
    axes = figure.add_subplot()
    shown = axes.imshow(percent.numpy(), cmap="Blues", vmin=0, vmax=100, interpolation="nearest")
    if classes <= _MOST_NUMBERS:
        for row, values in enumerate(percent.tolist()):
            for column, value in enumerate(values):
                if value > 0.5:  # what rounds to 0 stays empty: the eye finds the others
                    color = "white" if value > 55 else INK
                    weight = "bold" if row == column else "normal"
                    axes.text(column, row, f"{value:.0f}", ha="center", va="center", color=color, weight=weight, size=9)
    every = range(classes) if classes <= _MOST_NAMES else range(0, classes, -(-classes // 10))
    labels = [plain(names[label]) for label in every] if classes <= _MOST_NAMES else [str(label) for label in every]
    size = 9 if classes <= _MOST_NUMBERS else 7
    steep = longest > 2 or classes > _MOST_NUMBERS
    turned: dict[str, Any] = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"} if steep else {}
    axes.set_xticks(list(every), labels, fontsize=size, **turned)
    axes.set_yticks(list(every), labels, fontsize=size)
    axes.tick_params(colors=INK, length=0)
    axes.set_xlabel("predicted class", color=MUTED)
    axes.set_ylabel("true class", color=MUTED)
    right = 100 * float(counts.diagonal().sum() / counts.sum().clamp(min=1))
    per_class = percent.diagonal().nanmean().item()
    figure.suptitle(plain(title), x=0.02, ha="left", fontsize=12, color=INK, fontweight="bold")
    said = f"{right:.1f} % of {int(counts.sum()):,} images are right; mean over the classes {per_class:.1f} %"
    axes.set_title(said, loc="left", fontsize=9, color=MUTED)
    for spine in axes.spines.values():
        spine.set_color("#bbbbbb")
    bar = figure.colorbar(shown, ax=axes, shrink=0.8, pad=0.02)
    bar.set_label("% of the true class's images", color=MUTED)
    bar.outline.set_edgecolor("#bbbbbb")  # type: ignore[operator]
    bar.ax.tick_params(colors=MUTED)
    return figure
