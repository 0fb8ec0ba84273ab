"""An optimizer as plain data: what the hyperparameters of a checkpoint can hold and rebuild."""

import inspect
import pickle
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from sslbolts.checks import as_plain, import_named_in_file, is_plain
from sslbolts.errors import UsageError

__all__ = ["OptimizerCallable", "OptimizerSpec"]

OptimizerCallable = Callable[[Iterable[Any]], Optimizer]
"""Takes parameters or groups, returns an optimizer; in YAML a ``class_path`` with ``init_args``."""


class OptimizerSpec:
    """A callable that makes an optimizer, and its description in plain types.

    Whatever makes the optimizer (a class, ``functools.partial``, a lambda), it is tried once on a dummy parameter; the
    class it made and that optimizer's defaults are the description, which a checkpoint stores and this class accepts.

    Args:
        make: a callable ``parameters -> Optimizer``, or a description ``{"class_path": ..., "init_args": {...}}``.

    Attributes:
        plain: ``{"class_path": str, "init_args": dict}`` of plain types.
        lr: the learning rate before any scaling.
        brief: ``plain`` without what the optimizer's class has anyway.

    Raises:
        UsageError: if it does not make an optimizer.

    Example:
        >>> spec = OptimizerSpec(lambda params: torch.optim.SGD(params, lr=0.1, momentum=0.9))
        >>> spec.plain["class_path"], spec.plain["init_args"]["momentum"], spec.lr
        ('torch.optim.sgd.SGD', 0.9, 0.1)
        >>> type(OptimizerSpec(spec.plain)([nn.Parameter(torch.zeros(1))])).__name__
        'SGD'
    """

    def __init__(self, make: OptimizerCallable | Mapping[str, Any]) -> None:
        self._make = _from_description(make) if isinstance(make, Mapping) else make
        if not callable(self._make):
            raise UsageError(f"optimizer={make!r}: pass a callable that takes parameters, e.g. partial(SGD, lr=0.1).")
        example = self([nn.Parameter(torch.zeros(1))])
        kind = type(example)
        if "lr" not in example.defaults:
            raise UsageError(f"{kind.__name__} has no lr among its defaults, so no schedule can set its learning rate.")
        self.lr = float(example.defaults["lr"])
        # An optimizer's defaults can hold names that its constructor does not take (decoupled_weight_decay of AdamW).
        accepted = inspect.signature(kind).parameters
        plain = {name: value for name, value in example.defaults.items() if name in accepted and is_plain(value)}
        self.plain: dict[str, Any] = {"class_path": f"{kind.__module__}.{kind.__qualname__}", "init_args": plain}
        self._kind = kind

    @property
    def brief(self) -> dict[str, Any]:
        """As ``plain``, with the learning rate and those settings alone that are not as the class has them.

        Example:
            >>> OptimizerSpec(lambda params: torch.optim.AdamW(params, lr=1e-3, betas=(0.9, 0.95))).brief
            {'class_path': 'torch.optim.AdamW', 'init_args': {'lr': 0.001, 'betas': (0.9, 0.95)}}
        """
        usual, name = inspect.signature(self._kind).parameters, self._kind.__name__
        path = f"torch.optim.{name}" if getattr(torch.optim, name, None) is self._kind else self.plain["class_path"]
        settings = self.plain["init_args"].items()
        return {
            "class_path": path,
            "init_args": {key: value for key, value in settings if key == "lr" or value != usual[key].default},
        }

    def __reduce__(self) -> tuple[type["OptimizerSpec"], tuple[OptimizerCallable]]:
        """Pickles what makes the optimizer; its description in place of a lambda, which no process can be sent."""
        try:
            pickle.dumps(self._make)
        except (pickle.PicklingError, AttributeError, TypeError):
            return OptimizerSpec, (partial(self._kind, **self.plain["init_args"]),)
        return OptimizerSpec, (self._make,)

    def __deepcopy__(self, _: Any) -> "OptimizerSpec":
        return self  # nothing changes it

    def __call__(self, params: Iterable[Any]) -> Optimizer:
        try:
            optimizer = self._make(params)
        except TypeError as error:
            raise UsageError(
                f"the optimizer cannot be made: {error}. Pass a callable that takes only parameters, such as "
                "partial(torch.optim.SGD, lr=0.1)."
            ) from error
        if not isinstance(optimizer, Optimizer):
            raise UsageError(f"the optimizer callable returned a {type(optimizer).__name__}, not a torch Optimizer.")
        # A checkpoint holds them, and what reads it takes no numbers of numpy.
        for settings in (optimizer.defaults, *optimizer.param_groups):
            settings.update({name: as_plain(value) for name, value in settings.items() if name != "params"})
        return optimizer


def _from_description(description: Mapping[str, Any]) -> OptimizerCallable:
    path, arguments = description.get("class_path", ""), dict(description.get("init_args", {}))
    if not path:
        raise UsageError(f"optimizer={dict(description)} has no class_path: give it, e.g. torch.optim.SGD.")
    kind = import_named_in_file(path, Optimizer)  # it may have come out of a checkpoint
    return partial(kind, **arguments)
