"""Methods inside of another: made of a name or a description, on a network that is given, with their part in a run."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from types import SimpleNamespace
from typing import Any

from torch import nn

from sslbolts.batch import ViewBatch
from sslbolts.checks import import_named_in_file
from sslbolts.errors import UsageError, argument_names, no_such_argument
from sslbolts.methods.base import NetworkArguments, SSLModule
from sslbolts.methods.registry import METHODS, get_method
from sslbolts.training.labeled_evaluation import LabeledEvaluation
from sslbolts.training.module import TrainingModule

__all__ = ["MethodHost", "class_and_arguments", "described", "logging_as", "refuse_labels"]

_OF_THE_RUN = ("optimizer", "lr_scaling", "warmup_epochs", "final_lr", "milestones", "compile_backbone")
_OF_THE_NETWORK = ("backbone", *(name for name in NetworkArguments.__annotations__ if name != "compile_backbone"))


def class_and_arguments(
    method: str | Mapping[str, Any], *, argument: str, host: str
) -> tuple[type[SSLModule], dict[str, Any]]:
    """The class of a method that is given by name or described, and the arguments that are its own.

    Args:
        method: a name of the registry; or ``class_path`` and ``init_args``.
        argument: its name in messages.
        host: class of the module that has the network and the optimizer.

    Raises:
        UsageError: for no method, one of text, or arguments that are not the method's to have.
    """
    given: dict[str, Any] = {"class_path": method} if isinstance(method, str) else {**method}
    if not {"class_path"} <= given.keys() <= {"class_path", "init_args"}:
        raise UsageError(
            f"{argument}={given}: it is the name of a method, e.g. SimCLR, or a mapping of class_path and init_args."
        )
    path = str(given["class_path"])
    cls = import_named_in_file(path, SSLModule) if "." in path else get_method(path)
    line = METHODS.get(cls.__name__)
    if line is not None and line.learns_from == "text":
        raise UsageError(f"{argument}={cls.__name__} learns from text, and {host} from images.")
    arguments = dict(given.get("init_args") or {})
    for name in arguments:
        if name in (*_OF_THE_RUN, *_OF_THE_NETWORK):
            raise UsageError(
                f"{argument}= has {name} among its init_args: give it to {host}, which trains both losses at once."
            )
    for name in arguments:
        if name not in argument_names(cls):
            raise UsageError(f"{argument}: {no_such_argument(cls, name)}")
    return cls, arguments


def refuse_labels(method: SSLModule, argument: str) -> None:
    """Refuse a method that learns from labels itself."""
    if isinstance(method, LabeledEvaluation):
        raise UsageError(
            f"{type(method).__name__} learns from labels itself: train it alone, or give {argument}= one that needs "
            "none."
        )


def described(method: SSLModule, argument: str = "method") -> dict[str, Any]:
    """Arguments of a host that make the method again, as a checkpoint holds them.

    Without ``backbone`` where that was given as a module.

    Args:
        method: the method.
        argument: the host's argument that it is.

    Example:
        >>> from sslbolts import SimCLR
        >>> again = described(SimCLR("resnet10t", temperature=0.5))
        >>> again["backbone"], again["method"]["init_args"]["temperature"]
        ('resnet10t', 0.5)
    """
    held = dict(method.hparams)
    network = {name: held[name] for name in _OF_THE_NETWORK if name in held}
    own = {name: value for name, value in held.items() if name not in (*_OF_THE_RUN, *_OF_THE_NETWORK)}
    names = argument_names(type(method))
    own = {name: value for name, value in own.items() if name in names and name != "feature_layer"}
    path = f"{type(method).__module__}.{type(method).__qualname__}"
    return {**network, argument: {"class_path": path, "init_args": own}}


@contextmanager
def logging_as(method: TrainingModule, outer: TrainingModule, rename: Callable[[str], str]) -> Iterator[None]:
    """What the method logs is logged by the module that it is part of, as ``rename`` says; its loss not for the bar."""

    def log(name: str, value: Any, prog_bar: bool = False, *args: Any, **options: Any) -> None:
        outer.log(rename(name), value, prog_bar and name != "train/loss", *args, **options)

    method.log = log  # type: ignore[method-assign]
    try:
        yield
    finally:
        del method.log


class MethodHost(SSLModule):
    """A module that trains other methods on its own backbone: they get the hooks of its run, and it their callbacks."""

    @property
    def acting(self) -> list[SSLModule]:
        """The methods that take part in training."""
        raise NotImplementedError(f"{type(self).__name__} must define acting.")

    def seen_by(self, method: SSLModule, batch: ViewBatch) -> ViewBatch:
        """The part of a batch that a method trains on."""
        return batch

    def setup(self, stage: str) -> None:
        super().setup(stage)
        for method in self.acting:
            method.trainer = self.trainer
            method.setup(stage)

    def on_fit_start(self) -> None:
        super().on_fit_start()
        for method in self.acting:
            method.on_fit_start()
            method._seed = self._seed  # noqa: SLF001  # of a resumed run, too

    def on_train_start(self) -> None:
        for method in self.acting:
            method.on_train_start()

    def on_train_epoch_start(self) -> None:
        for method in self.acting:
            method.on_train_epoch_start()

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        super().on_train_batch_start(batch, batch_idx)
        for method in self.acting:
            method.on_train_batch_start(self.seen_by(method, batch), batch_idx)

    def on_before_optimizer_step(self, optimizer: Any) -> None:
        for method in self.acting:
            method.on_before_optimizer_step(optimizer)

    def optimizer_step(self, epoch: int, batch_idx: int, optimizer: Any, optimizer_closure: Any = None) -> None:
        """One step; what each method does before and after a step of its own is done around it."""
        step = partial(super().optimizer_step, epoch, batch_idx, optimizer, optimizer_closure)
        for method in self.acting:
            inner = SimpleNamespace(step=partial(_call, step))
            step = partial(method.optimizer_step, epoch, batch_idx, inner, optimizer_closure)
        step()

    def teardown(self, stage: str) -> None:
        super().teardown(stage)
        for method in self.acting:
            method.teardown(stage)

    def configure_callbacks(self) -> Any:
        brought = [method.configure_callbacks() for method in self.acting]
        return [one for some in brought for one in (some if isinstance(some, Sequence) else [some])]

    def ema_pairs(self) -> list[tuple[nn.Module, nn.Module]]:
        return [pair for method in self.acting for pair in method.ema_pairs()]

    @property
    def teacher_temperature(self) -> float:
        """A method's, where one has it, which a schedule moves."""
        value: float = getattr(self._with_temperature, "teacher_temperature")  # noqa: B009  # or an AttributeError
        return value

    @teacher_temperature.setter
    def teacher_temperature(self, value: float) -> None:
        setattr(self._with_temperature, "teacher_temperature", value)  # noqa: B010

    @property
    def _with_temperature(self) -> SSLModule | None:
        return next((method for method in self.acting if hasattr(method, "teacher_temperature")), None)


def _call(step: Callable[[], Any], closure: Any = None) -> None:
    step()
