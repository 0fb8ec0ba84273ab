"""Features of a batch, taken from a module without changing it."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from sslbolts._lightning import LightningModule, Trainer
from sslbolts.batch import images_of
from sslbolts.distributed import all_sum, rank, world_size
from sslbolts.errors import UsageError
from sslbolts.networks.taps import Tap, find_layer, pooled
from sslbolts.training.undisturbed import undisturbed

__all__ = ["FeatureFunction", "FeatureReader", "NoFeaturesError", "agreed_width"]

FeatureFunction = Callable[[Any, Any, Any], Tensor | None]
"""``(module, batch, outputs) -> (B, D)``, or None for a batch to leave out; ``outputs`` is what the step returned, None
where no step ran. It runs in eval mode, and may draw random numbers: afterwards modes and random states are as before.
"""


class NoFeaturesError(UsageError):
    """Neither a step nor a module makes the features."""


class FeatureReader:
    """Features of a callback's batches, as its ``features=`` asks.

    Of a submodule that is named, a tap reads what a step makes it give, from :meth:`start` to :meth:`take`; between
    them no hook is on it.

    Args:
        features: None for ``outputs["features"]`` where the step returned it and ``module(images)`` elsewhere; the name
            of a submodule, whose output is taken from the step if that runs it; else from ``module(images)`` or, of a
            module whose forward takes something else, from the submodule around it that takes images; or a
            callable ``(module, batch, outputs) -> (B, D)``.

    Attributes:
        of_step: whether the last features read were made by a step.

    Example:
        >>> reader = FeatureReader("0")
        >>> network = nn.Sequential(nn.Linear(2, 3), nn.ReLU())
        >>> reader.start(network)
        >>> _ = network(torch.ones(4, 2))
        >>> [tuple(rows.shape) for rows in reader.take()]
        [(4, 3)]
    """

    def __init__(self, features: str | FeatureFunction | None) -> None:
        self.features = features
        self.of_step = False
        self._tap: Tap | None = None
        self._module: nn.Module | None = None  # that the tap is in
        self._input: torch.Size | None = None  # of an image, or row, that a step gave to the submodule
        self._ran = self._missed = 0  # steps with and without features

    def check(self, module: nn.Module) -> None:
        """Look for the submodule, if one was named.

        Raises:
            UsageError: if there is no submodule of that name.
        """
        if isinstance(self.features, str):
            advice = "Name one of them as features=, or pass a callable (module, batch, outputs) -> features."
            find_layer(module, self.features, advice=advice)

    def start(self, module: nn.Module, *, recording: bool = True) -> None:
        """A step begins: tap the submodule, if one was named.

        A step that is not recorded is tapped as well, since ``torch.compile`` sees only hooks that were there when it
        compiled.
        """
        self.detach()
        if isinstance(self.features, str):
            self._tap = Tap(find_layer(module, self.features), detach=True, recording=recording)
            self._module = module

    def pause(self) -> None:
        """Record no more; what was recorded is kept."""
        if self._tap is not None:
            self._tap.recording = False

    def take(self) -> list[Tensor]:
        """The step is over: what it made the submodule give, ``(rows, D)`` float32, in order of its calls.

        Calls on inputs of another size than the first call's are left out: they are the small crops of multi-crop
        methods, which no evaluation looks at.
        """
        tap, module = self._tap, self._module
        self.detach()
        if tap is None:
            return []
        return [
            self._rows(output, tap.layer, module)
            for output, size in zip(tap.outputs, tap.sizes)
            if size == tap.sizes[0]
        ]

    def detach(self) -> None:
        """Remove the tap."""
        if self._tap is not None:
            self._tap.close()
            self._input = next(iter(self._tap.sizes), self._input)
            self._tap = self._module = None

    @torch.no_grad()
    def call(self, trainer: Trainer, module: LightningModule, batch: Any, outputs: Any) -> Tensor | None:
        """Features ``(rows, D)`` float32 by the callable, None for a batch to leave out; no trace is left."""
        assert callable(self.features)
        with undisturbed(trainer, module), trainer.precision_plugin.forward_context():
            found = self.features(module, batch, outputs)
            return None if found is None else self._rows(found, module)

    def training_features(self, trainer: Trainer, module: LightningModule, batch: Any, outputs: Any) -> list[Tensor]:
        """Features ``(rows, D)`` of a training step that is over; none if it made none. Counted for `never_ran`."""
        if callable(self.features):
            found = self.call(trainer, module, batch, outputs)
            calls = [] if found is None else [found]
        else:
            calls = self.take()
        self._ran, self._missed = self._ran + bool(calls), self._missed + (not calls)
        return calls

    def never_ran(self, device: torch.device) -> bool:
        """Whether no training step of any rank made features since it was asked last. All ranks must ask."""
        ran, missed = all_sum(torch.tensor([self._ran, self._missed], device=device)).tolist()
        self._ran = self._missed = 0
        return missed > 0 and not ran

    def read(
        self, trainer: Trainer, module: LightningModule, batch: Any, outputs: Any, *, before: Any, rows: int
    ) -> Tensor | None:
        """Features ``(B, D)``, float32, of an evaluation batch whose step is over; None if it is to be left out.

        Args:
            trainer: that runs.
            module: that it evaluates.
            batch: as the step left it.
            outputs: what the step returned.
            before: the batch as the step got it.
            rows: number of images.

        Raises:
            UsageError: if there are none to be had.
        """
        found = self.take()
        self.of_step = True
        if callable(self.features):
            return self.call(trainer, module, batch, outputs)
        if isinstance(self.features, str) and found:
            return found[0][:rows]
        if self.features is None and isinstance(outputs, Mapping) and "features" in outputs:
            return self._rows(outputs["features"], module)
        self.of_step = False
        return self.own(trainer, module, before)

    @torch.no_grad()
    def own(self, trainer: Trainer, module: LightningModule, batch: Any) -> Tensor:
        """Features ``(B, D)``, float32, of a batch that no step has seen, such as the bank's.

        Raises:
            UsageError: if there are none to be had.
        """
        if callable(self.features):
            found = self.call(trainer, module, batch, None)
            if found is None:
                raise UsageError("features= gives None for a batch that no step has seen, such as those of the bank.")
            return found
        images = images_of(batch)
        failed: dict[str, Exception] = {}
        with undisturbed(trainer, module), trainer.precision_plugin.forward_context():
            if self.features is None:
                output = _entered(module, images, "", failed)
                if failed:
                    raise self._nothing(module, failed)
                return self._rows(output, module)
            layer = find_layer(module, self.features)
            for path, entry in self._entries(module, layer, images):
                with Tap(layer, detach=True) as tap:
                    _entered(entry, images, path, failed)
                rows = self._rows(tap.outputs[0], layer, module) if tap.outputs else images[:0]
                if len(rows) >= len(images):  # else it took them for something else
                    return rows[: len(images)]
        raise self._nothing(module, failed)

    def _entries(self, module: nn.Module, layer: nn.Module, images: Tensor) -> Iterator[tuple[str, nn.Module]]:
        """What may take the images so that the layer runs: the module, then parts of it that the layer is in."""
        yield "", module
        path = next(path for path, part in module.named_modules() if part is layer)
        parts = path.split(".")
        for end in range(1, len(parts)):
            part = module.get_submodule(".".join(parts[:end]))
            if not isinstance(part, nn.ModuleList | nn.ModuleDict):
                yield ".".join(parts[:end]), part
        # The layer itself, if steps give it such images.
        if images.shape[1:] == self._input if self._input else any(True for _ in layer.parameters()):
            yield path, layer

    def _nothing(self, module: nn.Module, failed: dict[str, Exception]) -> NoFeaturesError:
        name = type(module).__name__
        first = next(iter(failed.values()), None)
        reason = f" ({type(first).__name__}: {str(first).strip().partition(chr(10))[0]})" if first else ""
        advice = "pass features= a callable (module, batch, outputs) -> features"
        if self.features is None:
            message = (
                f"forward of {name} gives no features of images{reason}: name a submodule with features=, or {advice}."
            )
        else:
            message = (
                f'neither the evaluation step nor forward of {name} runs "{self.features}"{reason}: {advice} that does.'
            )
        error = NoFeaturesError(message)
        error.__cause__ = first
        return error

    def _rows(self, output: Any, layer: nn.Module, network: nn.Module | None = None) -> Tensor:
        name = self.features if isinstance(self.features, str) else "features"
        return pooled(output, name, layer=layer, network=network, dtype=torch.float32).detach()


def agreed_width(features: Tensor | None, device: torch.device) -> int:
    """Width of features ``(rows, D)`` that some ranks have; 0 if none has any. All ranks must call it.

    Example:
        >>> agreed_width(torch.zeros(4, 3), torch.device("cpu")), agreed_width(None, torch.device("cpu"))
        (3, 0)
    """
    widths = torch.zeros(world_size(), dtype=torch.int64, device=device)
    widths[rank()] = 0 if features is None else features.shape[1]
    return int(all_sum(widths).max())


def _entered(entry: nn.Module, images: Tensor, path: str, failed: dict[str, Exception]) -> Any:
    """What a module makes of images; None, and why in ``failed``, where it takes something else."""
    try:
        return entry(images)
    except torch.OutOfMemoryError:
        raise
    except Exception as error:
        failed[path] = error
        return None
