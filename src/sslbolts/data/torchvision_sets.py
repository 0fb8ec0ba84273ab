"""Torchvision's data sets, with one clear line where they are missing."""

from typing import Any

from sslbolts.errors import UsageError

__all__ = ["fetch"]


def fetch(name: str, root: str, *, download: bool, **arguments: Any) -> Any:
    """A data set of torchvision, fetched into ``root`` first where that is wanted and needed.

    Args:
        name: its class in ``torchvision.datasets``.
        root: folder that holds it.
        download: fetch it if it is not there.
        **arguments: further arguments of its class.

    Raises:
        UsageError: if it is not there, or cannot be fetched.
    """
    from torchvision import datasets

    constructor = getattr(datasets, name)
    try:
        return constructor(root, download=False, **arguments)
    except RuntimeError as missing:  # "Dataset not found or corrupted"
        if not download:
            raise UsageError(
                f'{name} is not in root="{root}", or incomplete: give the folder that holds it, or fetch it with '
                "download=True on a machine with a network (outside a Trainer, call prepare_data() first)."
            ) from missing
    try:
        return constructor(root, download=True, **arguments)
    except (OSError, RuntimeError) as error:
        raise UsageError(
            f'{name} is not in root="{root}" and could not be fetched ({error}): copy it there from a machine with a '
            "network, or use CIFAR10MiniDataModule, whose images come with the package."
        ) from error
