"""The loss of counts that must add up: an image has as many of each thing as its parts together."""

import torch
from torch import Tensor

from sslbolts.errors import UsageError
from sslbolts.losses.precision import full_precision

__all__ = ["counting", "counting_distances"]


def counting_distances(phi_dx: Tensor, phi_tiles: Tensor, phi_dy: Tensor) -> tuple[Tensor, Tensor]:
    """Squared differences from the tiles' sum, unit by unit: of the image's own counts, and of another's.

    Args:
        phi_dx: ``(B, K)``, counts of the downsampled images.
        phi_tiles: ``(B, T, K)``, those of their tiles.
        phi_dy: ``(B, K)``, those of other downsampled images.

    Returns:
        Two tensors ``(B, K)``.
    """
    total = phi_tiles.sum(1)
    return (phi_dx - total).square(), (phi_dy - total).square()


@full_precision
def counting(
    phi_dx: Tensor, phi_tiles: Tensor, phi_dy: Tensor, margin: float = 10.0, *, per_unit: bool = False
) -> Tensor:
    """Counts of an image equal the sum of its tiles' counts, and those of another image differ by a margin.

    ``|phi(Dx) - sum_j phi(T_j x)|^2 + max(0, M - |phi(Dy) - sum_j phi(T_j x)|^2)``, mean over the batch.

    Args:
        phi_dx: ``(B, K)``, counts of the downsampled images.
        phi_tiles: ``(B, T, K)``, those of their tiles.
        phi_dy: ``(B, K)``, those of other downsampled images.
        margin: `M`, above 0.
        per_unit: compare each unit with the margin, and take the mean over units in place of the squared norm: another
            objective, which a public implementation has.

    Returns:
        Scalar, at least 0; `M` where all counts are 0.

    Raises:
        UsageError: for shapes that do not fit.

    Source: Noroozi et al., Representation Learning by Learning to Count, ICCV 2017, arXiv:1708.06734, equation 5.

    Example:
        >>> counting(torch.zeros(2, 8), torch.zeros(2, 4, 8), torch.zeros(2, 8)).item()
        10.0
    """
    if phi_dx.ndim != 2 or phi_dy.shape != phi_dx.shape or phi_tiles[:, 0].shape != phi_dx.shape:
        raise UsageError(
            f"counts are (B, K), (B, tiles, K) and (B, K), not {tuple(phi_dx.shape)}, {tuple(phi_tiles.shape)} and "
            f"{tuple(phi_dy.shape)}."
        )
    same, other = counting_distances(phi_dx, phi_tiles, phi_dy)  # (B, K)
    if not per_unit:
        same, other = same.sum(1), other.sum(1)  # (B,)
    loss: Tensor = (same + torch.relu(margin - other)).mean()
    return loss
