"""Features of a batch, taken from a module without changing it."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from sslbolts._lightning import LightningModule, Trainer
from sslbolts.batch import images_of
from sslbolts.errors import UsageError, did_you_mean

__all__ = ["Capture", "FeatureFunction", "FeatureReader", "pooled"]

FeatureFunction = Callable[[Any, Any, Any], Tensor]
"""``(module, batch, outputs) -> (B, D)``; ``outputs`` is what the step returned, None where no step ran."""


class Capture:
    """Outputs of one submodule, recorded by a forward hook while :attr:`recording` is true.

    Args:
        name: of the submodule, as in ``named_modules()``.

    Example:
        >>> capture = Capture("0")
        >>> network = nn.Sequential(nn.Linear(2, 3), nn.ReLU())
        >>> capture.attach(network)
        >>> capture.start()
        >>> _ = network(torch.ones(4, 2))
        >>> [tuple(output.shape) for output in capture.take()]
        [(4, 3)]
        >>> capture.detach()
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.recording = False
        self._calls: list[tuple[torch.Size | None, Any]] = []
        self._handle: RemovableHandle | None = None

    def attach(self, root: nn.Module) -> None:
        """Hook the submodule of ``root``; does nothing if it is hooked already.

        Raises:
            UsageError: if there is no submodule of that name.
        """
        if self._handle is not None:
            return
        modules = dict(root.named_modules(remove_duplicate=False))  # a submodule may have two names
        if self.name not in modules or not self.name:
            # Names down to two levels are what a reader can take in.
            names = [name for name in modules if name and name.count(".") < 2]
            raise UsageError(
                f'{type(root).__name__} has no submodule "{self.name}".{did_you_mean(self.name, names)} There are: '
                f"{', '.join(names[:40])}{', ...' if len(names) > 40 else ''}. Name one of them as features=, or "
                "pass a callable (module, batch, outputs) -> features."
            )
        self._handle = modules[self.name].register_forward_hook(self._record)

    def detach(self) -> None:
        """Remove the hook and forget what was recorded."""
        if self._handle is not None:
            self._handle.remove()
        self._handle, self._calls, self.recording = None, [], False

    def start(self) -> None:
        """Forget what was recorded, and record from now on."""
        self._calls, self.recording = [], True

    def take(self) -> list[Tensor]:
        """Stop recording; the outputs since :meth:`start`, detached, pooled to ``(rows, D)``, in order of the calls.

        Calls on inputs of another size than the first call's are left out: they are the small crops of multi-crop
        methods, which no evaluation looks at.
        """
        self.recording = False
        calls, self._calls = self._calls, []
        return [pooled(output, self.name) for shape, output in calls if shape == calls[0][0]]

    @torch._dynamo.disable
    def _record(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        if self.recording:
            first = args[0] if args else None
            shape = first.shape[1:] if isinstance(first, Tensor) else None
            self._calls.append((shape, output.detach() if isinstance(output, Tensor) else output))


def pooled(output: Any, name: str) -> Tensor:
    """A submodule's output as ``(rows, D)``: maps and tokens are averaged.

    Args:
        output: ``(B, D)``, tokens ``(B, T, D)`` or a map ``(B, D, H, W)``.
        name: of the submodule, for the message.

    Raises:
        UsageError: for anything else.
    """
    if isinstance(output, Tensor):
        if output.ndim == 2:
            return output.detach()
        if output.ndim in (3, 4):
            return output.detach().float().mean(1 if output.ndim == 3 else (2, 3))
    given = f"shape {tuple(output.shape)}" if isinstance(output, Tensor) else f"type {type(output).__name__}"
    raise UsageError(
        f'the output of "{name}" has {given}; features are (B, D), tokens (B, T, D) or a map (B, D, H, W): pass a '
        "callable (module, batch, outputs) -> features instead."
    )


class FeatureReader:
    """Features of evaluation batches, as a callback's ``features=`` asks.

    Args:
        features: None for ``outputs["features"]`` where the step returned it and ``module(images)`` elsewhere; the name
            of a submodule, whose output is taken from the step if that runs it, else from ``module(images)``; or a
            callable ``(module, batch, outputs) -> (B, D)``.
    """

    def __init__(self, features: str | FeatureFunction | None) -> None:
        self.features = features
        self.capture = Capture(features) if isinstance(features, str) else None
        self.of_step = False  # whether the last features read were in the outputs of a step

    def attach(self, module: nn.Module) -> None:
        """Hook the submodule, if one was named."""
        if self.capture is not None:
            self.capture.attach(module)

    def detach(self) -> None:
        """Remove the hook."""
        if self.capture is not None:
            self.capture.detach()

    def start(self) -> None:
        """A step begins."""
        if self.capture is not None:
            self.capture.start()

    @torch.no_grad()
    def read(self, trainer: Trainer, module: LightningModule, batch: Any, outputs: Any = None) -> Tensor:
        """Features ``(B, D)`` of a batch, detached, float32.

        Raises:
            UsageError: if there are none to be had.
        """
        self.of_step = False
        with trainer.precision_plugin.forward_context():
            if self.capture is not None:
                found = self.capture.take()
                if not found:
                    self.capture.start()
                    module(images_of(batch))
                    found = self.capture.take()
                if not found:
                    raise UsageError(
                        f'neither the evaluation step nor forward of {type(module).__name__} runs "{self.features}": '
                        "pass features= a callable (module, batch, outputs) -> features that does."
                    )
                features = found[0][: len(images_of(batch))]
            elif callable(self.features):
                features = self.features(module, batch, outputs)
            elif isinstance(outputs, Mapping) and "features" in outputs:
                features = outputs["features"]
                self.of_step = True
            else:
                features = module(images_of(batch))
        return pooled(features, "forward" if self.features is None else "features").float()
