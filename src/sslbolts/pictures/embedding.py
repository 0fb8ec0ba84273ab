"""Features of images as points in the plane, colored by class."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from sslbolts.errors import UsageError
from sslbolts.pictures.style import COLORS, INK, MUTED, new_figure, plain

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["draw_embedding"]

_MARKERS = ("o", "^", "s", "D")
_MOST_CLASSES = len(COLORS) * len(_MARKERS)
_NAMES = {"pca": "PCA", "tsne": "t-SNE", "umap": "UMAP"}
_MEANING = {
    "pca": ("first principal component", "second principal component"),
    "tsne": ("near points are neighbors; axes have no unit", ""),
    "umap": ("near points are neighbors; axes have no unit", ""),
}


def draw_embedding(
    planes: Mapping[str, Tensor],
    targets: Tensor,
    *,
    class_names: Sequence[str] | None = None,
    title: str = "Features in two dimensions",
) -> "Figure":
    """One panel for each projection; a class is one color and one marker in all of them, named in the legend.

    Args:
        planes: name of the projection -> ``(N, 2)`` points, as :func:`sslbolts.pictures.projections.project` gives.
        targets: ``(N,)`` labels; -1 is drawn in gray. Of more than 24 classes the most frequent are told apart.
        class_names: name of each label.
        title: above both.

    Raises:
        UsageError: if the tensors do not fit together.

    Example:
        >>> figure = draw_embedding({"pca": torch.rand(6, 2)}, torch.tensor([0, 0, 1, 1, 2, -1]))
        >>> len(figure.axes)
        1
    """
    wrong = {name: tuple(points.shape) for name, points in planes.items() if points.shape != (len(targets), 2)}
    if wrong or not planes:
        raise UsageError(f"points (N, 2) of {len(targets)} labeled images are needed, got {wrong or 'none'}.")
    targets = targets.cpu()
    labels, counts = torch.unique(targets[targets >= 0], return_counts=True)
    shown = labels[counts.argsort(descending=True, stable=True)[:_MOST_CLASSES]].sort().values.tolist()
    rest = ~torch.isin(targets, torch.tensor(shown, dtype=targets.dtype))
    name_of = [str(label) for label in range(int(targets.max()) + 1)] if class_names is None else class_names
    size = max(6.0, min(22.0, 9000 / max(1, len(targets))))

    figure = new_figure(4.9 * len(planes) + 1.8, 5.0)
    panels = figure.subplots(1, len(planes), squeeze=False)[0]
    handles: list[Any] = []
    names: list[str] = []
    for axes, (name, points) in zip(panels, planes.items()):
        handles, names = [], []
        x, y = points.float().cpu().unbind(1)
        if rest.any():
            handles.append(axes.scatter(x[rest], y[rest], s=size, color="#cccccc", linewidths=0))
            names.append(_rest(labels, shown, targets))
        # Class after class would hide the first below the last.
        for place, label in enumerate(shown):
            of = targets == label
            color, marker = COLORS[place % len(COLORS)], _MARKERS[place // len(COLORS) % len(_MARKERS)]
            handles.append(axes.scatter(x[of], y[of], s=size, color=color, marker=marker, alpha=0.75, linewidths=0))
            names.append(name_of[label])
        _label_axes(axes, name)
    if handles:
        _add_legend(figure, handles, names)
    figure.suptitle(plain(title), x=0.01, ha="left", fontsize=13, color=INK, fontweight="bold")
    return figure


def _label_axes(axes: Any, projection: str) -> None:
    xlabel, ylabel = _MEANING.get(projection, ("", ""))
    axes.set_title(plain(_NAMES.get(projection, projection)), loc="left", fontsize=11, color=INK, fontweight="bold")
    axes.set_xlabel(xlabel, color=MUTED, fontsize=9)
    axes.set_ylabel(ylabel, color=MUTED, fontsize=9)
    axes.tick_params(colors=MUTED, labelsize=8)
    if projection != "pca":
        axes.set_xticks([])
        axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_color("#bbbbbb")


def _add_legend(figure: "Figure", handles: Sequence[Any], names: Sequence[str]) -> None:
    legend = figure.legend(
        handles,
        [plain(name) for name in names],
        loc="outside right upper",
        frameon=False,
        fontsize=9,
        labelcolor=INK,
        markerscale=2,
        ncols=1 + len(handles) // 18,
        title="class",
        alignment="left",
    )
    legend.get_title().set_color(MUTED)


def _rest(labels: Tensor, shown: Sequence[int], targets: Tensor) -> str:
    others = len(labels) - len(shown)
    names = [f"{others} other classes"] if others else []
    return " and ".join(names + (["no label"] if bool((targets < 0).any()) else []))
