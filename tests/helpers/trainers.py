"""A Trainer that writes and prints nothing, and what a run left behind."""

from typing import Any

import torch
from torch import Tensor

from sslbolts._lightning import Callback, LightningModule, Trainer


def quiet_trainer(*, world: int = 1, **settings: Any) -> Trainer:
    """A Trainer on ``world`` CPU processes (or what ``settings`` say); every rank brings its own share of the rows."""
    quiet = {
        "accelerator": "cpu",
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "num_sanity_val_steps": 0,
        "use_distributed_sampler": False,
        "strategy": "ddp" if world > 1 else "auto",
    }
    return Trainer(devices=world, **{**quiet, **settings})


class Recorder(Callback):
    """Keeps the loss and the gradients of every step, by the parameter's name."""

    def __init__(self) -> None:
        self.losses: list[Tensor] = []
        self.gradients: list[dict[str, Tensor]] = []

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Any) -> None:
        named = pl_module.named_parameters()
        self.gradients.append({name: p.grad.clone() for name, p in named if p.grad is not None})

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, *_: Any) -> None:
        self.losses.append(outputs["loss"].detach().clone())


def state_of(module: torch.nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}
