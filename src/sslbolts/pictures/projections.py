"""Features in two dimensions, so that they can be drawn."""

from importlib.util import find_spec
from typing import Literal, get_args

import torch
from torch import Tensor

from sslbolts.errors import UsageError, did_you_mean

__all__ = ["Projection", "available_projections", "project"]

Projection = Literal["pca", "tsne", "umap"]
"""Ways of features into the plane."""

_PACKAGES = {"tsne": ("sklearn", "scikit-learn"), "umap": ("umap", "umap-learn")}
_WIDTH = 50  # principal components that neighbor embeddings start from: more are noise, and take time
_NEIGHBORS = 30


def available_projections() -> tuple[Projection, ...]:
    """PCA, and whichever of t-SNE and UMAP has its package here.

    Example:
        >>> available_projections()[0]
        'pca'
    """
    known: tuple[Projection, ...] = get_args(Projection)
    return tuple(name for name in known if name not in _PACKAGES or find_spec(_PACKAGES[name][0]) is not None)


@torch.no_grad()
def project(features: Tensor, how: Projection = "pca", *, seed: int = 0) -> Tensor:
    """Features in the plane.

    PCA keeps the two directions of the largest variance, and distances along them. t-SNE and UMAP keep who is whose
    neighbor: sizes of groups and distances between them mean nothing. Both start from 50 principal components.

    Args:
        features: ``(N, D)``.
        how: "pca"; "tsne" needs scikit-learn, "umap" umap-learn.
        seed: of what t-SNE and UMAP draw. Neither touches global random states.

    Returns:
        ``(N, 2)`` float32 on the CPU.

    Raises:
        UsageError: for fewer than 4 images, features that are not finite, another name, or a package that is not there.

    Source: van der Maaten and Hinton, Visualizing Data using t-SNE, JMLR 2008 (perplexity 30); McInnes et al., UMAP:
    Uniform Manifold Approximation and Projection, arXiv:1802.03426 (30 neighbors).

    Example:
        >>> line = torch.arange(5.0)[:, None] * torch.tensor([[3.0, 4.0]])
        >>> project(line)[:, 0].abs().tolist()
        [10.0, 5.0, 0.0, 5.0, 10.0]
    """
    if how not in get_args(Projection):
        raise UsageError(
            f'there is no projection "{how}".{did_you_mean(str(how), get_args(Projection))} It is one of '
            f"{', '.join(get_args(Projection))}."
        )
    if features.ndim != 2 or len(features) < 4:
        raise UsageError(f"a plot takes features (N, D) of at least 4 images, got shape {tuple(features.shape)}.")
    finite = features.isfinite().all(1)
    if not finite.all():
        raise UsageError(
            f"features of {int((~finite).sum()):,} of {len(features):,} images are NaN or infinite: leave these "
            "out, and see whether the network has diverged."
        )
    if how not in available_projections():
        raise UsageError(f'"{how}" needs {_PACKAGES[how][1]}: pip install {_PACKAGES[how][1]}, or use "pca".')
    if how == "pca":
        return _principal(features, 2)
    reduced = _principal(features, _WIDTH).numpy()
    neighbors = min(_NEIGHBORS, (len(features) - 1) // 3)
    if how == "tsne":
        from sklearn.manifold import TSNE

        plane = TSNE(perplexity=max(1, neighbors), init="pca", random_state=seed).fit_transform(reduced)
    else:
        from umap import UMAP  # type: ignore[import-not-found]

        plane = UMAP(n_neighbors=max(2, neighbors), random_state=seed, n_jobs=1).fit_transform(reduced)
    return torch.as_tensor(plane, dtype=torch.float32)


def _principal(features: Tensor, dim: int) -> Tensor:
    """``(N, dim)`` coordinates along the directions of the largest variance; each points where its largest entry does.

    The sign of a singular vector is the library's choice, and would flip the picture from one epoch to the next.
    """
    x = features.detach().cpu().double()
    x = x - x.mean(0)
    _, _, directions = torch.linalg.svd(x, full_matrices=False)
    directions = directions[:dim]
    largest = directions.gather(1, directions.abs().argmax(1, keepdim=True))
    plane = (x @ (directions * largest.sign()).T).float()
    return torch.nn.functional.pad(plane, (0, dim - plane.shape[1])) if dim == 2 else plane
