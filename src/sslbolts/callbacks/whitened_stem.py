"""A first convolution that begins with the statistics of the training images."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from sslbolts._lightning import Callback, LightningModule, Trainer
from sslbolts.batch import images_of
from sslbolts.checks import whole
from sslbolts.distributed import broadcast_
from sslbolts.errors import UsageError
from sslbolts.networks.taps import find_layer
from sslbolts.networks.whitened_filters import patches_for, set_whitening_filters_, whitenable_convolution
from sslbolts.training.facts import is_new_run
from sslbolts.training.own_loader import OwnLoader
from sslbolts.training.passes import run_pass
from sslbolts.training.rows import refuse_stream

__all__ = ["WhitenedStem"]


class WhitenedStem(Callback):
    """Starts the first convolution of a network with filters that whiten patches of the training images.

    Training goes on from there as from any other initialization; what it saves is the time in which a network learns
    to see edges and colors, which is much of a short run. Done when a fit starts, unless it continues another, and
    before :class:`~sslbolts.callbacks.KNNMonitor` looks at the untrained network; teachers (``ema_pairs()``) start with
    the same filters. It has no part in training itself.

    Args:
        images: a loader of batches ``(images, ...)`` as the network gets them, or a callable that makes one; None takes
            the DataModule's training images under evaluation transforms.
        network: name of the submodule whose first convolution is meant.
        max_images: as many are looked at, evenly spread over the loader's order.

    Raises:
        UsageError: for a number below 2; when fit starts, if there are no images, no such network, or no convolution.

    Source: Jordan, 94% on CIFAR-10 in 3.29 Seconds on a Single GPU, 2024, arXiv:2404.00498, section 3.2.

    Example:
        >>> WhitenedStem(max_images=500).network
        'backbone'
    """

    def __init__(
        self,
        images: Any | Callable[[], Any] | None = None,
        *,
        network: str = "backbone",
        max_images: int = 1000,
    ) -> None:
        whole(2, max_images=max_images)
        self.images = images
        self.network = network
        self.max_images = max_images

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not is_new_run(trainer):
            return
        advice = "WhitenedStem looks for its first convolution in network=: name one of them."
        convolution = whitenable_convolution(find_layer(pl_module, self.network, advice=advice))
        loader = OwnLoader(self._find(trainer))
        if loader.images is not None:
            chosen = torch.linspace(0, loader.images - 1, min(loader.images, self.max_images)).long()
            loader = loader.only(chosen)

        def patches(batch: Any) -> Tensor:
            return patches_for(convolution, images_of(batch)).flatten(1)

        read = run_pass(
            trainer,
            pl_module,
            loader,
            readers=[patches],
            targets=lambda batch: torch.zeros(len(images_of(batch))),
        ).gathered()
        width = convolution.weight[0].numel()
        set_whitening_filters_(convolution, read.features[0].view(-1, width))
        broadcast_([convolution.weight.data])
        for student, teacher in getattr(pl_module, "ema_pairs", list)():
            if any(module is convolution for module in student.modules()):
                whitenable_convolution(teacher).weight.data.copy_(convolution.weight.data)

    def _find(self, trainer: Trainer) -> Any:
        if self.images is not None:
            return self.images() if callable(self.images) else self.images
        datamodule = trainer.datamodule  # type: ignore[attr-defined]
        if not hasattr(datamodule, "train_images_dataloader"):
            raise UsageError(
                "WhitenedStem has no images to look at: pass images= a loader of training images without augmentation, "
                "or use a DataModule of sslbolts."
            )
        refuse_stream(datamodule, "WhitenedStem (without images=)")
        return datamodule.train_images_dataloader()
