"""A recorded run in the words of our methods, as far as these are the same for all."""

import re
from typing import Any, ClassVar

from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW, Optimizer

from sslbolts import SSLModule
from sslbolts.optim import LARC, LARS
from tests.trajectories.case import Case, network


def _larc(params: Any, *, eps: float, clip: bool, **settings: Any) -> LARC:
    assert (eps, clip) == (1e-8, False), "ours has no other"
    return LARC(params, **settings)


OPTIMIZERS: dict[str, Any] = {"LARS": LARS, "LARC": _larc, "SGD": SGD, "Adam": Adam, "AdamW": AdamW}


class Adapter:
    """A case in the words of one of our methods.

    Args:
        method: the class under test.
        case: what its official code did.

    Attributes:
        names: patterns of official names of tensors, and what they are in our state dict.
    """

    names: ClassVar[dict[str, str]] = {}

    def __init__(self, method: type[SSLModule], case: Case) -> None:
        self.method = method
        self.case = case

    # ------------------------------------------------------------------ what a method may have of its own

    own: ClassVar[set[str]] = set()
    """Names under ``impose`` that our method comes to by itself."""

    def loss_factor(self) -> float:
        """By which our loss is multiplied to be the official one."""
        return self.case.facts["loss_factor"]

    def arguments(self, **same: Any) -> dict[str, Any]:
        """Constructor arguments out of ``hyper``: what is not named here has the same name in our constructor."""
        return same

    def backbone(self) -> nn.Module | str:
        return network(self.case.facts["backbone"])

    def optimizer_settings(self) -> dict[str, Any]:
        return {key: value for key, value in self.case.facts["optimizer"].items() if key not in ("name", "decays")}

    def draws(self) -> dict[str, list[Tensor]]:
        """What functions of torch draw in the run, call after call, by the function's name."""
        return {}

    def load(self, module: Any, init: dict[str, Tensor]) -> None:
        """Start from the official state."""
        state = module.state_dict()
        ours = {self.our(name): value for name, value in init.items()}
        module.load_state_dict(state | {name: value.reshape(state[name].shape) for name, value in ours.items()})

    def before_step(self, module: Any, step: int) -> None:
        """Impose what only this method has."""

    def state(self, module: Any) -> dict[str, Tensor]:
        """Our state under the official names."""
        ours = module.state_dict()
        return {name: ours[self.our(name)] for name in self.case.facts["tensors"] if self.our(name) in ours}

    # ------------------------------------------------------------------ the same for all

    def our(self, name: str) -> str:
        for pattern, replacement in self.names.items():
            name = re.sub(pattern, replacement, name)
        return name

    def module(self, method: type[SSLModule]) -> SSLModule:
        """``method`` with the arguments, the initial state and the trainable tensors of the case, in float64."""
        hyper = dict(self.case.hyper)
        peak, per_256 = hyper.pop("lr"), hyper.pop("lr_per_256")
        if "final_lr" in hyper:
            hyper["final_lr"] /= peak
        if "milestone_epochs" in hyper:
            hyper["milestones"] = [epoch / self.case.epochs for epoch in hyper.pop("milestone_epochs") or ()]
        settings = self.optimizer_settings() | {"lr": peak if per_256 is None else per_256}
        kind = OPTIMIZERS[self.case.facts["optimizer"]["name"]]

        def optimizer(params: Any) -> Optimizer:
            return kind(params, **settings)

        module = method(
            self.backbone(),
            optimizer=optimizer,
            lr_scaling="none" if per_256 is None else "linear",
            **self.arguments(**hyper),
        ).double()
        present = self.state(module)  # what should be and is not is missed at the end
        self.load(module, {name: value for name, value in self.case.part("init").items() if name in present})
        ours = {name for name, parameter in module.named_parameters() if parameter.requires_grad}
        assert ours == {self.our(name) for name in self.case.trainable}
        return module
