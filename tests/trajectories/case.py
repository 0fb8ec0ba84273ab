"""One recorded run of an official code: its settings, images, order, draws, and the state it came to."""

import json
import os
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Sampler

from sslbolts.batch import ViewBatch

FOLDER = Path(os.environ.get("SSLBOLTS_TRAJECTORIES") or Path(__file__).parent / "cases")


def case_names() -> list[str]:
    return sorted(path.stem for path in FOLDER.glob("*.json"))


class Case:
    """What ``NAME.json`` and ``NAME.npz`` hold.

    Attributes:
        facts: the JSON as it is; its most used parts have attributes of their own.
        arrays: those of the npz, by their full name.
        draws: those of them that were drawn inside the method.
    """

    def __init__(self, name: str) -> None:
        self.facts: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text())
        with np.load(FOLDER / f"{name}.npz") as arrays:
            self.arrays = {key: torch.from_numpy(arrays[key]) for key in arrays.files}
        self.hyper, self.schedule, self.impose = (self.facts[key] for key in ("hyper", "schedule", "impose"))
        self.images, self.batch, self.epochs = (self.facts["sizes"][key] for key in ("images", "batch", "epochs"))
        self.draws = self.part("draws")

    def part(self, name: str) -> dict[str, Tensor]:
        """Arrays by their name after the prefix "views", "draws", "init", "step1" or "final"."""
        return {key.removeprefix(f"{name}/"): value for key, value in self.arrays.items() if key.startswith(f"{name}/")}

    @property
    def rows(self) -> Tensor:
        """Rows of the images in the order in which they come, ``(epochs, rows of one)``."""
        return self.arrays["batches"].view(self.epochs, -1)

    @property
    def trainable(self) -> set[str]:
        """Names of the parameters that have a gradient."""
        facts = self.facts["tensors"].items()
        return {name for name, fact in facts if fact["kind"] == "parameter" and not fact.get("frozen")}

    def loader(self) -> DataLoader[ViewBatch]:
        """The views in the recorded order, which is another one in each epoch."""
        return DataLoader(_Images(self), batch_size=self.batch, sampler=_Order(self.rows))


def network(description: dict[str, Any]) -> nn.Sequential:
    """The tiny network of ``layers: [[name, class of torch.nn, arguments], ...]``."""
    layers = ((name, getattr(nn, kind)(**arguments)) for name, kind, arguments in description["layers"])
    made = nn.Sequential(OrderedDict(layers))
    made.num_features = description["features"]
    return made


class _Images(Dataset[ViewBatch]):
    def __init__(self, case: Case) -> None:
        views = case.part("views")
        self.views = [views[str(number)] for number in range(len(views))]
        self.targets = case.arrays.get("targets", torch.full((case.images,), -1))

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, row: int) -> ViewBatch:
        return ViewBatch([view[row] for view in self.views], self.targets[row], torch.tensor(row))


class _Order(Sampler[int]):
    def __init__(self, rows: Tensor) -> None:
        self.rows = rows
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.rows.shape[1]

    def __iter__(self) -> Iterator[int]:
        return iter(self.rows[self.epoch].tolist())
