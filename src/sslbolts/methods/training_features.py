"""Features of every training image, between epochs."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset

from sslbolts._lightning import LightningModule, Trainer
from sslbolts.batch import ViewBatch
from sslbolts.data.base import SSLDataModule
from sslbolts.data.loader import TrainLoader
from sslbolts.distributed import all_sum, world_size
from sslbolts.errors import UsageError
from sslbolts.networks.split_batch_norm import BATCH_NORMS
from sslbolts.training.own_loader import OwnLoader
from sslbolts.training.passes import prepared_batches
from sslbolts.training.rows import refuse_stream

__all__ = ["number_of_training_images", "training_features"]

_ROWS_AT_ONCE = 2**14  # that are summed over ranks


def training_features(
    module: LightningModule,
    fn: Callable[[Tensor], Tensor] | None = None,
    *,
    batch_statistics: bool = False,
    device: torch.device | str | None = None,
    description: str = "Training images",
) -> Tensor:
    """Features of every training image, one row each, in the order of the dataset; the same on all ranks.

    Each rank takes its share of the images. With a DataModule of sslbolts they come under evaluation transforms; from
    any other training DataLoader of :class:`~sslbolts.batch.ViewBatch`, their first view is taken, from a loader made
    anew over the same dataset. The run is left as it is: modes of modules, random states, and the Trainer's loader.

    Args:
        module: the method that a Trainer is fitting; in eval mode meanwhile.
        fn: makes ``(B, ...)`` of images ``(B, C, H, W)`` on the module's device; None is ``module``. Autocast is
            off: what is found does not depend on the precision of training.
        batch_statistics: batch norms normalize with the statistics of each batch, as in training, and keep their
            running ones as they are: for networks whose running statistics say nothing yet. Images are spread evenly
            over the batches, of at least two.
        device: where the result is collected; None is the module's device.
        description: of the progress bar, which appears if it takes more than two seconds.

    Returns:
        ``(N, ...)``, those of half-precision modules in float32; row `i` belongs to the image of index `i`. Rows of
        images that could not be read (and were to be skipped), and those that ``fast_dev_run`` leaves out, are 0.

    Raises:
        UsageError: if the images of the training loader cannot be asked for one by one.
    """
    trainer = module.trainer
    loader = _every_image(trainer)
    images = len(loader.dataset)  # type: ignore[arg-type]
    own = OwnLoader(loader, plan=_even_batches(loader, trainer, least=2 if batch_statistics else 1))
    rows, seen = torch.empty(0), torch.zeros(images, device=device or module.device)
    bar = description if trainer.progress_bar_callback is not None else None  # type: ignore[attr-defined]
    with prepared_batches(trainer, module, own, bar=bar) as batches, _batch_statistics(module, batch_statistics):
        for _, batch in batches:
            x, indices = (batch.views[0], batch.indices) if isinstance(batch, ViewBatch) else (batch[0], batch[2])
            with torch.autocast(module.device.type, enabled=False):
                found = (fn or module)(x)
            if found.is_floating_point() and found.dtype != torch.float64:
                found = found.float()
            if not len(rows):
                rows = torch.zeros(images, *found.shape[1:], dtype=found.dtype, device=seen.device)
            places = indices.to(seen.device)
            if int(places.max()) >= images:
                raise UsageError(
                    f"the training dataset has {images:,} images, but one has index {int(places.max())}: "
                    "ViewBatch.indices are rows of the dataset, 0 to its length - 1."
                )
            rows[places] = found.to(seen.device)
            seen[places] = 1
    return _joined(rows, seen, module.device)


def number_of_training_images(trainer: Trainer) -> int:
    """Number of rows that :func:`training_features` has.

    Raises:
        UsageError: if the images of the training loader cannot be asked for one by one.
    """
    datamodule = trainer.datamodule  # type: ignore[attr-defined]
    refuse_stream(datamodule, type(trainer.lightning_module).__name__)
    if isinstance(datamodule, SSLDataModule):
        return datamodule.num_train_images
    trainer.fit_loop.setup_data()
    return len(_every_image(trainer).dataset)  # type: ignore[arg-type]


def _every_image(trainer: Trainer) -> DataLoader[Any]:
    """A loader from which all training images can be had by their index."""
    datamodule = trainer.datamodule  # type: ignore[attr-defined]
    refuse_stream(datamodule, type(trainer.lightning_module).__name__)
    if isinstance(datamodule, SSLDataModule):
        return datamodule.train_images_dataloader()
    loader = trainer.train_dataloader
    if isinstance(loader, TrainLoader):
        raise UsageError("the training loader comes from a DataModule of sslbolts: give the Trainer the DataModule.")
    if not isinstance(loader, DataLoader) or isinstance(loader.dataset, IterableDataset):
        raise UsageError(
            f"the training loader is a {type(loader).__name__} whose images cannot be asked for by index, but this "
            "method looks at each of them between epochs: use a DataLoader over a map-style dataset."
        )
    return loader


def _even_batches(loader: DataLoader[Any], trainer: Trainer, *, least: int) -> list[list[int]]:
    """Batches of dataset indices, equally many for each rank, since synchronized batch norms wait for each other.

    Images are spread evenly over the batches, of which none has fewer than ``least``: the statistics of a few last
    images would be poor, and a single one has none.
    """
    every = torch.arange(len(loader.dataset))  # type: ignore[arg-type]
    size = loader.batch_size or getattr(loader.batch_sampler, "batch_size", None) or 256
    number = max(1, min(-(-len(every) // size), len(every) // least))
    batches = [part.tolist() for part in torch.tensor_split(every, number)]
    if trainer.fast_dev_run:  # type: ignore[attr-defined]
        batches = batches[: int(trainer.limit_train_batches) * world_size()]
    return (batches * world_size())[: -(-len(batches) // world_size()) * world_size()]  # the first ones come again


@contextmanager
def _batch_statistics(module: nn.Module, wanted: bool) -> Iterator[None]:
    """Batch norms in training mode; afterwards their running statistics are as before."""
    norms = [norm for norm in module.modules() if wanted and isinstance(norm, BATCH_NORMS)]
    before = [{name: buffer.clone() for name, buffer in norm.named_buffers()} for norm in norms]
    for norm in norms:
        norm.train()
    try:
        yield
    finally:
        for norm, buffers in zip(norms, before):
            for name, buffer in norm.named_buffers():
                buffer.copy_(buffers[name])


def _joined(rows: Tensor, seen: Tensor, device: torch.device) -> Tensor:
    """Rows of all ranks put together; a few at a time, so that they are never in memory twice."""
    if world_size() == 1:
        return rows
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        part = slice(start, start + _ROWS_AT_ONCE)
        found = all_sum(rows[part].to(device))
        times = all_sum(seen[part].to(device)).clamp(min=1).to(found.dtype)  # repeated batches have equal rows
        rows[part] = (found / times.view(-1, *[1] * (rows.ndim - 1))).to(rows)
    return rows
