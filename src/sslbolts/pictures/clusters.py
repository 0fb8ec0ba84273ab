"""The images that clustering puts together."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from sslbolts.distributed import gather_ragged
from sslbolts.errors import UsageError
from sslbolts.pictures.style import INK, MUTED, image_grid, plain, sheet_of, show_image
from sslbolts.readouts.clustering import normalized_mutual_information, purity
from sslbolts.readouts.kmeans import kmeans, shard

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["cluster_count", "cluster_directions", "draw_clusters"]

_TEXT = 2.6  # width of the text beside a cluster, in images


def cluster_count(targets: Tensor) -> int:
    """As many clusters as there are classes; 10 without labels; at most 20, and one for each image.

    Example:
        >>> cluster_count(torch.tensor([3, 3, 0, -1])), cluster_count(torch.full((50,), -1))
        (2, 10)
    """
    classes = len(torch.unique(targets[targets >= 0]))
    return min(classes or 10, 20, len(targets))


def cluster_directions(features: Tensor, k: int, *, seed: int = 0) -> Tensor:
    """Spherical k-means of features less their mean: the cluster of each image.

    Features after a ReLU all point into one quadrant; without their mean, directions tell them apart.

    Args:
        features: ``(N, D)``, the same on all ranks, all of which must call this.
        k: number of clusters, in [1, N].
        seed: of the first centroids.

    Returns:
        ``(N,)`` int64, the same on all ranks.

    Raises:
        UsageError: if there are fewer images than clusters, or features are not finite.

    Example:
        >>> cluster_directions(torch.tensor([[3.0, 0.0], [4.0, 0.0], [0.0, 3.0], [0.0, 4.0]]), 2).bincount().tolist()
        [2, 2]
    """
    finite = features.isfinite().all(1)
    if not finite.all():  # the features are the same on all ranks, so that none of them waits for another
        raise UsageError(
            f"features of {int((~finite).sum()):,} of {len(features):,} images are NaN or infinite: leave these "
            "out, and see whether the network has diverged."
        )
    generator = torch.Generator().manual_seed(seed)
    x = features.float() - features.float().mean(0)
    return gather_ragged(kmeans(shard(x), k, iterations=20, generator=generator, spherical=True).assignments)


def draw_clusters(
    images: Tensor,
    features: Tensor,
    targets: Tensor,
    assignments: Tensor,
    *,
    columns: int = 10,
    most_clusters: int = 20,
    class_names: Sequence[str] | None = None,
    title: str = "Clusters of the features (spherical k-means)",
    color_channels: Sequence[int] | None = None,
    stretch: bool = False,
) -> "Figure":
    """One row per cluster, the purest first: how large it is, what it holds, and the images nearest to its center.

    The purity of a cluster is the share of its most frequent class; that of all clusters, the share of images that are
    of their cluster's most frequent class.

    Args:
        images: ``(N, C, H, W)`` uint8 or float in [0, 1].
        features: ``(N, D)``; less their mean, they are compared with the mean direction of their cluster.
        targets: ``(N,)`` labels; -1 is left out of purities. Without any label, the largest cluster comes first.
        assignments: ``(N,)`` integers, the cluster of each image.
        columns: images of each cluster.
        most_clusters: draw so many.
        class_names: name of each label.
        title: above the sheet.
        color_channels, stretch: see :func:`~sslbolts.pictures.style.sheet_of`.

    Raises:
        UsageError: if the tensors do not fit together.

    Example:
        >>> rows = torch.tensor([0, 0, 1, 1])
        >>> figure = draw_clusters(torch.rand(4, 3, 8, 8), F.one_hot(rows).float(), rows, rows, columns=2)
        >>> len(figure.axes)  # of two clusters, the text and two images
        6
    """
    sizes = {len(images), len(features), len(targets), len(assignments)}
    if len(sizes) != 1 or not len(images):
        raise UsageError(f"images, features, labels and clusters must be of the same images, got {sorted(sizes)}.")
    features, targets, assignments = features.float().cpu(), targets.cpu(), assignments.cpu()
    directions = F.normalize(features - features.mean(0), dim=1)
    names = class_names or [str(label) for label in range(int(targets.max()) + 1)]
    clusters = [_described(number, targets, assignments, names) for number in torch.unique(assignments).tolist()]
    clusters.sort(key=lambda cluster: (-cluster.purity, -len(cluster.members)))

    shown = clusters[:most_clusters]
    note = _agreement(len(clusters), targets, assignments)
    if len(clusters) > most_clusters:
        note += f" The first {most_clusters} are shown."
    (images,), words = sheet_of(images, color_channels=color_channels, stretch=stretch)
    note = f"{note} {words}".strip()
    figure, grid = image_grid(len(shown), [_TEXT, *[1.0] * columns], title=title, note=note, header=0.5)
    for row, cluster in enumerate(shown):
        _write(figure.add_subplot(grid[row, 0]), cluster)
        members = cluster.members
        nearest = (directions[members] @ directions[members].mean(0)).argsort(descending=True, stable=True)[:columns]
        for place, index in enumerate(members[nearest].tolist()):
            show_image(figure.add_subplot(grid[row, 1 + place]), images[index])
    return figure


class _Cluster(NamedTuple):
    """A cluster.

    Attributes:
        number: its name.
        members: rows of its images.
        most: share and name of its most frequent classes, three at most.
    """

    number: int
    members: Tensor
    most: list[tuple[float, str]]

    @property
    def purity(self) -> float:
        """The share of its most frequent class; 0 without labels."""
        return self.most[0][0] if self.most else 0.0


def _described(number: int, targets: Tensor, assignments: Tensor, names: Sequence[str]) -> _Cluster:
    members = assignments == number
    known = targets[members & (targets >= 0)]
    counts = torch.bincount(known, minlength=1) if len(known) else torch.zeros(1)
    share, label = (counts / counts.sum().clamp(min=1)).sort(descending=True, stable=True)
    most = [(float(s), names[int(c)]) for s, c in zip(share[:3], label[:3]) if s > 0]
    return _Cluster(number, members.nonzero().flatten(), most)


def _agreement(count: int, targets: Tensor, assignments: Tensor) -> str:
    """A sentence on how far the clusters are the classes."""
    if not (targets >= 0).any():
        return f"{count} clusters of {len(targets):,} images without labels, the largest first."
    pure = purity(assignments, targets).item()
    nmi = normalized_mutual_information(assignments, targets).item()
    return (
        f"{count} clusters of {len(targets):,} images: purity {100 * pure:.1f} %, normalized mutual information with "
        f"the classes {nmi:.2f} (1: equal, 0: independent)."
    )


def _write(text: Any, cluster: _Cluster) -> None:
    """The text beside a cluster's images."""
    text.set_axis_off()
    most = cluster.most
    headline = f"{100 * most[0][0]:.0f} % {most[0][1]}" if most else f"cluster {cluster.number}"
    others = ", ".join(f"{100 * share:.0f} % {name}" for share, name in most[1:])
    size = f"{len(cluster.members):,} images"
    text.text(0, 0.62, plain(headline), fontsize=10, fontweight="bold", color=INK, transform=text.transAxes)
    text.text(0, 0.5, plain(others), fontsize=7.5, color=MUTED, va="top", transform=text.transAxes)
    text.text(0, 0.28, size, fontsize=7.5, color=MUTED, va="top", transform=text.transAxes)
