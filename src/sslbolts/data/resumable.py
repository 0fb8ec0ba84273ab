"""The base of DataModules of images and of text: the seed of a run, and its place among the batches."""

import os
from typing import Any

import torch

from sslbolts._lightning import LightningDataModule, Trainer
from sslbolts.data.loader import silence_advice
from sslbolts.data.progress import Progress

__all__ = ["ResumableDataModule"]


class ResumableDataModule(LightningDataModule):
    """Settles a seed for each fresh run, equal on all ranks, and keeps it and the place in the epoch in checkpoints.

    Args:
        seed: of all runs; None is that of the process where a run begins.
    """

    def __init__(self, seed: int | None) -> None:
        super().__init__()
        self._given_seed = self._seed = seed
        self._progress = Progress()

    def setup(self, stage: str | None = None) -> None:
        """Settles the seed of a run, which is equal on all ranks."""
        if stage == "fit" and self._progress.begins(self.trainer):
            self._seed, self._progress = self._given_seed, Progress()
        if self._seed is None:
            seed = int(os.environ.get("PL_GLOBAL_SEED", torch.initial_seed() % 2**63))
            self._seed = seed if self.trainer is None else self.trainer.strategy.broadcast(seed)
        silence_advice()

    def state_dict(self) -> dict[str, Any]:
        """The seed, with which a resumed run draws what the uninterrupted one would, and the place in the epoch."""
        return {"seed": self._settled_seed(), **self._progress.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes the seed of the checkpoint, unless ``seed=`` was given, and its place among the batches."""
        if self._given_seed is None:
            self._seed = int(state_dict["seed"])
        if self.trainer is None or self.trainer.state.fn == "fit":  # an evaluation of a checkpoint resumes no run
            self._progress.load_state_dict(state_dict)

    def _settled_seed(self) -> int:
        if self._seed is None:
            self.setup()
        assert self._seed is not None
        return self._seed

    @property
    def _current_trainer(self) -> Trainer | None:
        """The Trainer until its run is over: its devices, ranks and precision say nothing of what comes later."""
        return None if self.trainer is None or self.trainer.state.stopped else self.trainer

    def _position(self) -> tuple[int, int] | None:
        return self._progress.position(self.trainer)
