"""Agreement of views: whether features find an image again under another view, for data without labels."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from sslbolts._lightning import Callback, LightningModule, Trainer
from sslbolts.callbacks.shared.features import FeatureFunction, FeatureReader
from sslbolts.checks import whole
from sslbolts.distributed import gather_ragged, rank, world_size
from sslbolts.errors import UsageError
from sslbolts.networks.raw_pixels import raw_pixels
from sslbolts.readouts import rankme
from sslbolts.training.facts import epochs_done, is_new_run, steps_done
from sslbolts.training.logs import log_reduced
from sslbolts.training.rows import refuse_stream
from sslbolts.training.stratified import even
from sslbolts.training.undisturbed import undisturbed
from sslbolts.transforms import BatchedAugment, BatchedEvaluate, Evaluation, View

__all__ = ["ViewAgreement"]

_AT_A_TIME = 64  # images of a batch, each batch with a generator of its own

Reader = Callable[[Any], Tensor]
"""Features ``(B, D)`` of a batch ``(images, targets)``."""


class ViewAgreement(Callback):
    """Whether an image's nearest neighbor under another view is the image itself, measured at the end of epochs.

    Needs no labels and no validation images. Some images, the held-out ones where there are any, are seen under two
    views of the DataModule's recipe, always the same draws, and without augmentation. From their features come

    - ``agreement/top1``: the share of images whose first view is nearer (in cosine) to their own second view than to
      those of all others; chance is one over the number of images;
    - ``agreement/rankme``: :func:`~sslbolts.readouts.rankme` of the features without augmentation.

    Two baselines are measured once, before the first step, and logged beside: ``agreement/top1/raw_pixels`` (less
    their mean, averaged down to at most 32 x 32) and ``agreement/top1/untrained`` (the network as it comes into
    ``fit``). It tells whether training does what it is asked for. It is not accuracy: features that forget what the
    views have in common with other images find their own best.

    Numbers are equal on all ranks, each of which computes a share. Weights and random states are untouched.

    Args:
        images: how many images, spread over the data set; ``2`` at least.
        features: None takes ``module(x)``, a name the output of a submodule; or a callable
            ``(module, batch, None) -> (B, D)`` of batches ``(images, targets)``.
        every_n_epochs: measure so often, and at the end of the run.
        baselines: measure raw pixels and the untrained network.
        name: prefix of the metrics; needed when there are two of these callbacks.

    Raises:
        UsageError: for a value out of range; when fit starts, for data that is no DataModule of :mod:`sslbolts.data`.

    Example:
        >>> ViewAgreement(images=256).metrics
        ('agreement/top1', 'agreement/rankme')
    """

    def __init__(
        self,
        images: int = 512,
        features: str | FeatureFunction | None = None,
        *,
        every_n_epochs: int = 1,
        baselines: bool = True,
        name: str = "",
    ) -> None:
        whole(2, images=images)
        whole(every_n_epochs=every_n_epochs)
        self.images = images
        self.every_n_epochs = every_n_epochs
        self.baselines = baselines
        self._name = name
        self._reader = FeatureReader(features)
        self._pixels: Tensor | None = None  # (N, C, S, S) uint8
        self.baseline_values: dict[str, float] = {}
        """``agreement/top1`` of the baselines, by metric name."""

    @property
    def state_key(self) -> str:
        return self._generate_state_key(name=self._name)

    @property
    def metrics(self) -> tuple[str, str]:
        """Names of what is logged, without the baselines."""
        start = f"{self._name}/" if self._name else ""
        return f"{start}agreement/top1", f"{start}agreement/rankme"

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        if not all(hasattr(data, name) for name in ("views", "color", "mean", "std", "evaluation_dataloader")):
            raise UsageError(
                f"ViewAgreement draws the views of a DataModule of sslbolts.data, not of {type(data).__name__}: "
                "give it one, or leave the callback out."
            )
        if not data.has_images("val"):
            refuse_stream(data, "ViewAgreement (without validation images)")
        self._reader.check(pl_module)
        if is_new_run(trainer):
            self.baseline_values = {}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not self.baselines or self.baseline_values:
            return
        top1, _ = self.metrics
        first, second = self._read(trainer, pl_module, lambda batch: raw_pixels(batch[0]), views=2)
        mean = torch.cat([first, second]).mean(0)  # with it, all images are similar to each other
        self.baseline_values[f"{top1}/raw_pixels"] = found_again(first - mean, second - mean)
        if steps_done(trainer) == 0:
            first, second = self._read(trainer, pl_module, self._features(trainer, pl_module), views=2)
            self.baseline_values[f"{top1}/untrained"] = found_again(first, second)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        done = epochs_done(trainer) + 1
        if done % self.every_n_epochs and not _is_last(trainer):
            return
        first, second, itself = self._read(trainer, pl_module, self._features(trainer, pl_module), views=3)
        values = (found_again(first, second), float(rankme(itself)))
        log_reduced(pl_module, dict(zip(self.metrics, values)) | self.baseline_values, prog_bar=self.metrics[:1])

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self._pixels = None  # another run may bring another DataModule

    def state_dict(self) -> dict[str, Any]:
        """The baselines: a resumed run has no untrained network any more."""
        return {"baselines": dict(self.baseline_values)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up the baselines."""
        self.baseline_values = dict(state_dict["baselines"])

    def _features(self, trainer: Trainer, module: LightningModule) -> Reader:
        return lambda batch: self._reader.own(trainer, module, batch)

    def _read(self, trainer: Trainer, module: LightningModule, reader: Reader, *, views: int) -> list[Tensor]:
        """Features ``(N, D)`` of all ranks' images: of so many views, and after two views of the images themselves."""
        makers = _makers(trainer.datamodule)[:views]  # type: ignore[attr-defined]
        features: list[list[Tensor]] = [[] for _ in makers]
        order = []
        with torch.no_grad(), undisturbed(trainer, module):
            for number, pixels in self._share(trainer):
                on_device = pixels.to(module.device)
                order.append(number * _AT_A_TIME + torch.arange(len(pixels), device=module.device))
                for place, (maker, rows) in enumerate(zip(makers, features)):
                    draws = torch.Generator(module.device).manual_seed(number * len(makers) + place)
                    view = trainer.precision_plugin.convert_input(maker(on_device, draws))
                    rows.append(reader((view, on_device.new_full((len(view),), -1, dtype=torch.int64))).float())
            places = gather_ragged(torch.cat(order)).argsort()[: len(self._chosen(trainer))]
            return [gather_ragged(torch.cat(rows))[places] for rows in features]

    def _share(self, trainer: Trainer) -> Iterator[tuple[int, Tensor]]:
        """This rank's batches of images, and their numbers; each rank has at least one, if of no use."""
        batches = torch.split(self._chosen(trainer), _AT_A_TIME)
        numbers = range(rank(), len(batches), world_size()) or [len(batches) + rank()]
        for number in numbers:
            yield number, batches[number % len(batches)]

    def _chosen(self, trainer: Trainer) -> Tensor:
        if self._pixels is None:
            data: Any = trainer.datamodule  # type: ignore[attr-defined]
            dataset = data.evaluation_dataloader("val" if data.has_images("val") else "train").dataset
            found = dataset.cut(even(len(dataset), self.images).tolist())
            if len(found) < 2:
                raise UsageError(f"ViewAgreement needs two images that can be read, and found {len(found)}.")
            self._pixels = torch.stack(found)
        return self._pixels


def found_again(first: Tensor, second: Tensor) -> float:
    """Share of rows of ``first`` whose most similar row of ``second``, in cosine, is that of the same place.

    Args:
        first: ``(N, D)``.
        second: ``(N, D)``.

    Returns:
        in [0, 1]; NaN where features are not finite. Of equally similar rows none is the nearest.

    Example:
        >>> found_again(torch.eye(3), torch.eye(3)[[0, 2, 1]])
        0.3333333432674408
    """
    x, y = (torch.nn.functional.normalize(rows.float(), dim=1) for rows in (first, second))
    similarity = x @ y.T
    if not bool(similarity.isfinite().all()):
        return float("nan")
    own = similarity.diagonal().clone()
    others = similarity.fill_diagonal_(-torch.inf).amax(1)
    return float((own > others).float().mean())


def _makers(data: Any) -> list[Callable[[Tensor, torch.Generator], Tensor]]:
    """What makes of uint8 images two views of the DataModule's recipe (of one view, that twice), and no view."""

    def drawn(view: View) -> Callable[[Tensor, torch.Generator], Tensor]:
        colors = getattr(data, "color_channels", None)
        augment = BatchedAugment(view, mean=data.mean, std=data.std, color=data.color, color_channels=colors)
        return lambda pixels, generator: augment(pixels, generator=generator)

    evaluate = BatchedEvaluate(Evaluation(data.image_size, data.image_size), mean=data.mean, std=data.std)
    views = [*data.views.views, data.views.views[0]][:2]
    return [*map(drawn, views), lambda pixels, _: evaluate(pixels)]


def _is_last(trainer: Trainer) -> bool:
    no_more_epochs = trainer.current_epoch + 1 == trainer.max_epochs
    no_more_steps = trainer.global_step == trainer.max_steps
    return no_more_epochs or no_more_steps or trainer.should_stop
