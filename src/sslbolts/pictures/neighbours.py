"""Query images beside their nearest neighbours, by learned features and by raw pixels."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from sslbolts.errors import UsageError
from sslbolts.pictures.style import COLORS, INK, MUTED, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["draw_neighbours"]

_RIGHT, _WRONG = COLORS[0], COLORS[5]


def draw_neighbours(
    queries: Tensor,
    query_targets: Tensor,
    bank: Tensor,
    bank_targets: Tensor,
    neighbours: Mapping[str, Tensor],
    *,
    class_names: Sequence[str] | None = None,
    title: str = "Nearest neighbours",
) -> "Figure":
    """One row per query: the image, then its nearest images of the bank by each of several features.

    A neighbour of the query's class has a solid blue frame, one of another class a dashed vermilion frame and the name
    of its class below.

    Args:
        queries: ``(Q, C, H, W)`` uint8, C of 1 or 3.
        query_targets: ``(Q,)`` labels.
        bank: ``(N, C, H, W)`` uint8.
        bank_targets: ``(N,)`` labels.
        neighbours: name of the features -> ``(Q, k)`` rows of the bank, nearest first.
        class_names: name of each label.
        title: above the sheet.

    Raises:
        UsageError: if the tensors do not fit together.

    Example:
        >>> images = torch.zeros(4, 3, 8, 8, dtype=torch.uint8)
        >>> labels = torch.tensor([0, 0, 1, 1])
        >>> figure = draw_neighbours(images[:1], labels[:1], images, labels, {"SimCLR": torch.tensor([[1, 2]])})
        >>> len(figure.axes)
        4
    """
    wrong = {name: tuple(rows.shape) for name, rows in neighbours.items() if len(rows) != len(queries)}
    if wrong or not neighbours or len(queries) != len(query_targets) or len(bank) != len(bank_targets):
        raise UsageError(
            f"neighbours of {len(queries)} queries must be (queries, k) rows for at least one kind of features, with a "
            f"label for every image; got {wrong or {name: tuple(rows.shape) for name, rows in neighbours.items()}}."
        )
    k = [rows.shape[1] for rows in neighbours.values()]
    widths = [1.0] + [w for n in k for w in (0.25, *[1.0] * n)]  # a narrow gap before each group
    figure = new_figure(0.78 * sum(widths) + 0.2, 0.95 * len(queries) + 0.9)
    grid = figure.add_gridspec(len(queries), len(widths), width_ratios=widths)
    names = class_names or [str(label) for label in range(int(max(query_targets.max(), bank_targets.max())) + 1)]
    for row, target in enumerate(query_targets.tolist()):
        axes = figure.add_subplot(grid[row, 0])
        _show(axes, queries[row], names[target], color=None, label_color=INK)
        if row == 0:
            axes.set_title("query", fontsize=9, color=INK, loc="left")
        column = 1
        for name, rows in neighbours.items():
            column += 1
            for place, index in enumerate(rows[row].tolist()):
                axes = figure.add_subplot(grid[row, column])
                label = int(bank_targets[index])
                right = label == target
                text = "" if right else names[label]
                _show(axes, bank[index], text, color=_RIGHT if right else _WRONG, label_color=_WRONG)
                if row == 0 and place == 0:
                    agree = (bank_targets[rows] == query_targets[:, None]).float().mean().item()
                    axes.set_title(
                        f"{name}: {100 * agree:.0f} % of the query's class", fontsize=9, color=INK, loc="left"
                    )
                column += 1
    figure.suptitle(title, x=0.01, ha="left", fontsize=12, color=INK, fontweight="bold")
    figure.supxlabel(
        "solid blue: the query's class; dashed red: another class, named below",
        fontsize=8,
        color=MUTED,
        x=0.01,
        ha="left",
    )
    return figure


def _show(axes: "Axes", image: Tensor, label: str, *, color: str | None, label_color: str) -> None:
    axes.imshow(_pixels(image), cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_xlabel(label, fontsize=7.5, color=label_color, labelpad=1.5)
    for spine in axes.spines.values():
        spine.set_visible(color is not None)
        if color is not None:
            spine.set(color=color, linewidth=2.2, linestyle="-" if color == _RIGHT else (0, (2, 1)))


def _pixels(image: Tensor) -> Any:
    image = image.to(torch.uint8).cpu()
    return (image[0] if len(image) == 1 else image.permute(1, 2, 0)).numpy()
