"""The network that a student learns from: a copy of it that receives no gradient."""

import copy

import torch
from torch import Tensor, nn

__all__ = ["Teacher"]


class Teacher(nn.Module):
    """A frozen copy of backbone and projector, moved by :class:`sslbolts.callbacks.EMATeacher` or not at all.

    It stands in the state dict of its method. It follows the method's train and eval mode: in training its batch norms
    use the statistics of its own batch, as BYOL's, MoCo's and DINO's teachers do.

    Args:
        backbone: ``(B, C, H, W) -> (B, D)``.
        projector: ``(B, D) -> (B, K)``.

    Example:
        >>> backbone, projector = nn.Flatten(), nn.Linear(12, 4)
        >>> teacher = Teacher(backbone, projector)
        >>> teacher(torch.ones(2, 3, 2, 2)).requires_grad, torch.equal(teacher.projector.weight, projector.weight)
        (False, True)
    """

    def __init__(self, backbone: nn.Module, projector: nn.Module) -> None:
        super().__init__()
        self.backbone = copy.deepcopy(backbone)
        self.projector = copy.deepcopy(projector)
        self.requires_grad_(False)

    def pairs(self, student: nn.Module) -> list[tuple[nn.Module, nn.Module]]:
        """Pairs that ``EMATeacher`` averages: the student's modules of the same names, each with its copy."""
        return [(getattr(student, name), kept) for name, kept in self.named_children() if hasattr(student, name)]

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        """Embeddings ``(B, K)`` of images ``(B, C, H, W)``, without gradient."""
        z: Tensor = self.projector(self.backbone(x))
        return z
