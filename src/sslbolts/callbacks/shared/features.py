"""Features of a batch, taken from a module without changing it."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from sslbolts._lightning import LightningModule, Trainer
from sslbolts.batch import images_of
from sslbolts.errors import UsageError
from sslbolts.networks.taps import Tap, find_layer, pooled

__all__ = ["FeatureFunction", "FeatureReader"]

FeatureFunction = Callable[[Any, Any, Any], Tensor]
"""``(module, batch, outputs) -> (B, D)``; ``outputs`` is what the step returned, None where no step ran."""


class FeatureReader:
    """Features of a callback's batches, as its ``features=`` asks.

    A submodule that is named is read by a tap, from :meth:`attach` to :meth:`detach`; the other two kinds need none.

    Args:
        features: None for ``outputs["features"]`` where the step returned it and ``module(images)`` elsewhere; the name
            of a submodule, whose output is taken from the step if that runs it, else from ``module(images)``; or a
            callable ``(module, batch, outputs) -> (B, D)``.

    Example:
        >>> reader = FeatureReader("0")
        >>> network = nn.Sequential(nn.Linear(2, 3), nn.ReLU())
        >>> reader.attach(network)
        >>> reader.start()
        >>> _ = network(torch.ones(4, 2))
        >>> [tuple(rows.shape) for rows in reader.take()]
        [(4, 3)]
        >>> reader.detach()
    """

    def __init__(self, features: str | FeatureFunction | None) -> None:
        self.features = features
        self.of_step = False  # whether the last features read were in the outputs of a step
        self._tap: Tap | None = None

    def attach(self, module: nn.Module) -> None:
        """Tap the submodule, if one was named; does nothing if that is done already.

        Raises:
            UsageError: if there is no submodule of that name.
        """
        if isinstance(self.features, str) and self._tap is None:
            layer = find_layer(
                module,
                self.features,
                advice="Name one of them as features=, or pass a callable (module, batch, outputs) -> features.",
            )
            self._tap = Tap(layer, detach=True)
            self.pause()

    def detach(self) -> None:
        """Remove the tap, and forget what it recorded."""
        if self._tap is not None:
            self._tap.close()
            self._tap = None

    def start(self) -> None:
        """A step begins: forget what was recorded, and record from now on."""
        if self._tap is not None:
            self._tap.start()

    def pause(self) -> None:
        """Record no more; what was recorded is kept."""
        if self._tap is not None:
            self._tap.recording = False

    def take(self) -> list[Tensor]:
        """Stop recording; what the submodule gave since :meth:`start`, ``(rows, D)`` float32, in order of its calls.

        Calls on inputs of another size than the first call's are left out: they are the small crops of multi-crop
        methods, which no evaluation looks at.
        """
        if self._tap is None:
            return []
        outputs, sizes = self._tap.outputs, self._tap.sizes
        self._tap.start()
        self.pause()
        return [_rows(output, str(self.features)) for output, size in zip(outputs, sizes) if size == sizes[0]]

    @torch.no_grad()
    def call(self, module: LightningModule, batch: Any, outputs: Any) -> Tensor:
        """Features ``(rows, D)`` float32 by the callable."""
        assert callable(self.features)
        return _rows(self.features(module, batch, outputs), "features")

    @torch.no_grad()
    def read(self, trainer: Trainer, module: LightningModule, batch: Any, outputs: Any = None) -> Tensor:
        """Features ``(B, D)`` of an evaluation batch, detached, float32.

        Raises:
            UsageError: if there are none to be had.
        """
        self.of_step = False
        with trainer.precision_plugin.forward_context():
            if callable(self.features):
                return self.call(module, batch, outputs)
            if self.features is None:
                self.of_step = isinstance(outputs, Mapping) and "features" in outputs
                return _rows(outputs["features"] if self.of_step else module(images_of(batch)), "forward")
            found = self.take()
            if not found:
                self.start()
                module(images_of(batch))
                found = self.take()
        if not found:
            raise UsageError(
                f'neither the evaluation step nor forward of {type(module).__name__} runs "{self.features}": pass '
                "features= a callable (module, batch, outputs) -> features that does."
            )
        return found[0][: len(images_of(batch))]


def _rows(output: Any, name: str) -> Tensor:
    return pooled(output, name, dtype=torch.float32).detach()
