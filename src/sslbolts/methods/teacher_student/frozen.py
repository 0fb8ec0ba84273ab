"""A trained network that a method learns from, and where it comes from."""

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sslbolts.checkpoints.hub import is_address
from sslbolts.errors import UsageError
from sslbolts.export import read_backbone
from sslbolts.networks.backbones import create_backbone

__all__ = ["FrozenTeacher", "accept_eval_mode", "teacher_network"]

_FILES = (".ckpt", ".safetensors")


class FrozenTeacher(nn.Module):
    """A trained network that only answers: no gradient, and in eval mode also while its method trains.

    Args:
        network: ``(B, C, H, W) -> (B, D)``; its parameters are frozen.

    Example:
        >>> teacher = FrozenTeacher(nn.Sequential(nn.Flatten(), nn.Linear(12, 4), nn.BatchNorm1d(4)))
        >>> nn.ModuleList([teacher]).train()[0].network.training, teacher(torch.ones(2, 3, 2, 2)).requires_grad
        (False, False)
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network.requires_grad_(False).to(memory_format=torch.channels_last)
        self.train(False)

    def train(self, mode: bool = True) -> "FrozenTeacher":
        """Stays in eval mode, whatever ``mode`` is."""
        return super().train(False)

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        """Features ``(B, D)`` of images ``(B, C, H, W)``."""
        features: Tensor = self.network(x)
        return features


def accept_eval_mode(module: nn.Module, teacher: nn.Module) -> None:
    """Silences Lightning's warning of modules in eval mode, if they are all the teacher's."""
    ours = set(teacher.modules())
    if all(part in ours for part in module.modules() if not part.training):
        warnings.filterwarnings("ignore", message=r".*module\(s\) in eval mode at the start of training")


def teacher_network(teacher: str | nn.Module | Mapping[str, Any]) -> tuple[nn.Module, dict[str, Any] | None]:
    """A teacher's network, and how to make it again without its weights.

    Args:
        teacher: a file with a trained backbone, a name, a module, or a mapping; see :class:`~sslbolts.Distillation`.

    Returns:
        the network, and plain arguments of :func:`sslbolts.networks.backbones.create_backbone`, or None for a module.

    Raises:
        UsageError: for a file that does not exist or holds no backbone, an unknown name, or a wrong mapping.

    Example:
        >>> network, spec = teacher_network({"backbone": "resnet10t", "stem": "cifar"})
        >>> spec
        {'backbone_kwargs': {}, 'backbone': 'resnet10t', 'stem': 'cifar'}
    """
    if isinstance(teacher, nn.Module):
        return teacher, None
    if isinstance(teacher, Mapping):
        spec = {"backbone_kwargs": {}, **teacher}
        unknown = spec.keys() - {"backbone", "stem", "in_chans", "backbone_kwargs"}
        if unknown or not isinstance(spec.get("backbone"), str):
            raise UsageError(
                f"teacher={dict(teacher)}: a mapping must have backbone, a name, and may have stem, in_chans and "
                "backbone_kwargs."
            )
        kwargs = spec["backbone_kwargs"]
        rest = {name: value for name, value in spec.items() if name not in ("backbone", "backbone_kwargs")}
        return create_backbone(spec["backbone"], **rest, **kwargs), {**spec, "backbone_kwargs": _untrained(kwargs)}
    if is_address(teacher) or Path(teacher).suffix in _FILES:
        loaded = read_backbone(teacher)
        return loaded.network(), loaded.spec
    return create_backbone(teacher, **_published_weights(teacher)), {"backbone": teacher}


def _untrained(kwargs: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in kwargs.items() if name not in ("pretrained", "weights")}


def _published_weights(name: str) -> dict[str, Any]:
    import timm

    of_torchvision = name.startswith("torchvision/") or not timm.is_model(name.removeprefix("timm/"))
    return {"weights": "DEFAULT"} if of_torchvision else {"pretrained": True}
