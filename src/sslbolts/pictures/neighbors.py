"""Query images beside their nearest neighbors, by learned features and by raw pixels."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from sslbolts.errors import UsageError
from sslbolts.pictures.style import COLORS, INK, head, image_grid, plain, sheet_of, show_image

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["choose_queries", "draw_neighbors", "nearest", "nearest_beside_pixels"]

_RIGHT, _WRONG = COLORS[0], COLORS[5]
_LEGEND = "Solid blue frame: the query's class. Dashed frame: another class, named below."
_GAP = 0.22  # width of the gap before a group of columns, in images
_ROWS_AT_ONCE = 8192


def nearest(
    queries: Tensor, bank: Tensor, k: int, *, mean: Tensor | float = 0.0, itself: Tensor | None = None
) -> Tensor:
    """The rows of a bank that are most similar to each query, by the cosine; features that are not finite come last.

    Args:
        queries: ``(Q, D)``.
        bank: ``(N, D)``, of any type of number.
        k: how many, in [1, N].
        mean: ``(D,)``, taken from both.
        itself: ``(Q,)`` the row of the bank that is the query itself, which is left out; -1 where it is not there.

    Returns:
        ``(Q, k)`` int64 on the CPU, nearest first; of equals, any.

    Example:
        >>> nearest(torch.tensor([[1.0, 0.1]]), torch.tensor([[0.0, 2.0], [5.0, 0.0], [1.0, 1.0]]), 2).tolist()
        [[1, 2]]
        >>> bank = torch.tensor([[0.0, 2.0], [5.0, 0.0], [1.0, 1.0]])
        >>> nearest(bank[:2], bank, 1, itself=torch.arange(2)).tolist()
        [[2], [2]]
    """
    of = F.normalize(queries.to(bank.device).float() - mean, dim=1)
    parts = [of @ F.normalize(part.float() - mean, dim=1).T for part in torch.split(bank, _ROWS_AT_ONCE)]
    similarity = torch.cat(parts, 1).nan_to_num(nan=-2.0)  # topk takes NaN for the largest
    if itself is not None:
        there = (itself >= 0).nonzero().flatten()
        similarity[there.to(bank.device), itself[there].to(bank.device)] = -3.0
    return similarity.topk(k).indices.cpu()


def nearest_beside_pixels(
    name: str,
    queries: Tensor,
    bank: Tensor,
    k: int,
    *,
    query_pixels: Tensor,
    bank_pixels: Tensor,
    itself: Tensor | None = None,
) -> dict[str, Tensor]:
    """The rows of a bank nearest to each query by a network's features and, to compare, by the images' raw pixels.

    Args:
        name: of the network.
        queries: its features ``(Q, D)``.
        bank: its features ``(N, D)``.
        k: how many; as many as there are, if the bank has fewer.
        query_pixels: ``(Q, P)``, see :func:`~sslbolts.networks.raw_pixels.raw_pixels`.
        bank_pixels: ``(N, P)``.
        itself: ``(Q,)`` the row of the bank that is the query itself, which is left out; -1 where it is not there.

    Returns:
        Of both kinds of features ``(Q, min(k, N))``, as :func:`draw_neighbors` takes them.

    Example:
        >>> bank, pixels = torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([[9.0, 2.0], [3.0, 8.0]])
        >>> nearest_beside_pixels("SimCLR", bank[:1], bank, 1, query_pixels=pixels[1:], bank_pixels=pixels)
        {'SimCLR': tensor([[0]]), 'raw pixels': tensor([[1]])}
    """
    k = min(k, len(bank) - int(itself is not None and bool((itself >= 0).any())))
    mean = bank_pixels.float().mean(0)  # with their mean image, all images are similar to each other
    return {
        name: nearest(queries, bank, k, itself=itself),
        "raw pixels": nearest(query_pixels, bank_pixels, k, mean=mean, itself=itself),
    }


def choose_queries(targets: Tensor, count: int) -> Tensor:
    """Positions of images to show, of different classes as far as there are, in the order of their classes.

    Args:
        targets: ``(N,)`` labels; those of -1 count as one more class. Where there is no other, positions are at equal
            distances.
        count: how many; fewer where there are fewer images.

    Example:
        >>> choose_queries(torch.tensor([2, 2, 0, 2, 1, 0]), 4).tolist()
        [2, 5, 4, 0]
        >>> choose_queries(torch.full((9,), -1), 3).tolist()
        [0, 3, 6]
    """
    if len(targets) > count and bool((targets < 0).all()):
        return torch.arange(count) * len(targets) // count
    by_class = torch.argsort(targets, stable=True)
    _, sizes = torch.unique(targets, return_counts=True)
    turn = torch.cat([torch.arange(size) for size in sizes.tolist()]) if len(targets) else by_class
    chosen: Tensor = by_class[turn.argsort(stable=True)[:count].sort().values]
    return chosen


def draw_neighbors(
    queries: Tensor,
    query_targets: Tensor,
    bank: Tensor,
    bank_targets: Tensor,
    neighbors: Mapping[str, Tensor],
    *,
    class_names: Sequence[str] | None = None,
    title: str = "Nearest neighbors",
    color_channels: Sequence[int] | None = None,
    stretch: bool = False,
) -> "Figure":
    """One row per query: the image, then its nearest images of the bank by each of several features.

    A neighbor of the query's class has a solid blue frame, one of another class a dashed vermilion frame and the name
    of its class below.

    Args:
        queries: ``(Q, C, H, W)`` uint8.
        query_targets: ``(Q,)`` labels; images of label -1 have no frame and no name.
        bank: ``(N, C, H, W)`` uint8.
        bank_targets: ``(N,)`` labels.
        neighbors: name of the features -> ``(Q, k)`` rows of the bank, nearest first.
        class_names: name of each label.
        title: above the sheet.
        color_channels, stretch: see :func:`~sslbolts.pictures.style.sheet_of`.

    Raises:
        UsageError: if the tensors do not fit together.

    Example:
        >>> images = torch.zeros(4, 3, 8, 8, dtype=torch.uint8)
        >>> labels = torch.tensor([0, 0, 1, 1])
        >>> figure = draw_neighbors(images[:1], labels[:1], images, labels, {"SimCLR": torch.tensor([[1, 2]])})
        >>> len(figure.axes)
        3
    """
    wrong = {name: tuple(rows.shape) for name, rows in neighbors.items() if len(rows) != len(queries)}
    if wrong or not neighbors or len(queries) != len(query_targets) or len(bank) != len(bank_targets):
        raise UsageError(
            f"neighbors of {len(queries)} queries must be (queries, k) rows for at least one kind of features, with a "
            f"label for every image; got {wrong or {name: tuple(rows.shape) for name, rows in neighbors.items()}}."
        )
    names = class_names or [str(label) for label in range(int(max(query_targets.max(), bank_targets.max())) + 1)]
    labeled = bool((query_targets >= 0).any() and (bank_targets >= 0).any())
    widths = [1.0] + [width for rows in neighbors.values() for width in (_GAP, *[1.0] * rows.shape[1])]
    (queries, bank), words = sheet_of(queries, bank, color_channels=color_channels, stretch=stretch)
    note = " ".join(filter(None, [_LEGEND if labeled else "", words]))
    figure, grid = image_grid(len(queries), widths, title=title, note=note, label_height=0.2)
    for row, target in enumerate(query_targets.tolist()):
        axes = figure.add_subplot(grid[row, 0])
        _show(axes, queries[row], names[target] if target >= 0 else "", frame=None)
        if row == 0:
            head(axes, "query")
        column = 1
        for name, rows in neighbors.items():
            column += 1  # the gap
            for place, index in enumerate(rows[row].tolist()):
                axes = figure.add_subplot(grid[row, column + place])
                label = int(bank_targets[index])
                right = label == target if min(label, target) >= 0 else None
                _show(axes, bank[index], names[label] if right is False else "", frame=right)
                if row == 0 and place == 0:
                    head(axes, name, _agreement(query_targets, bank_targets[rows]) if labeled else "")
            column += rows.shape[1]
    return figure


def _agreement(query_targets: Tensor, targets: Tensor) -> str:
    """The share of neighbors ``(Q, k)`` that are of their query's class, among those with labels, in words."""
    known = (targets >= 0) & (query_targets[:, None] >= 0)
    share = (targets == query_targets[:, None])[known].float().mean().item()
    return f"{100 * share:.0f} % of these neighbors are of the query's class"


def _show(axes: "Axes", image: Tensor, label: str, *, frame: bool | None) -> None:
    """An image with a label below; ``frame`` says whether it is right, None for no frame."""
    show_image(axes, image)
    axes.set_axis_on()
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_xlabel(plain(label), fontsize=7.5, color=INK if frame is None else _WRONG, labelpad=3)
    for spine in axes.spines.values():
        spine.set_visible(frame is not None)
        spine.set(color=_RIGHT if frame else _WRONG, linewidth=2.4)
        if frame is False:
            spine.set(linestyle=(0, (2.2, 1.4)), capstyle="butt")
