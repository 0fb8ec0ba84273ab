"""Loaders beside the training loader: reading them changes nothing in what they share with it."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import ConcatDataset, DataLoader, Dataset, Subset

from sslbolts.errors import UsageError
from sslbolts.training.own_copy import fresh_draws
from sslbolts.training.own_loader import OwnLoader

GLOBAL = np.random.default_rng(3)


class Restless(Dataset):
    """Items are draws of every kind of generator, counted in several ways."""

    shared = random.Random(4)

    def __init__(self, folder: Path | None = None) -> None:
        closed_over = np.random.default_rng(5)
        self.numpy, self.old, self.python = np.random.default_rng(0), np.random.RandomState(1), random.Random(2)
        self.torch = torch.Generator().manual_seed(6)
        self.transforms = [lambda x: x + closed_over.normal(), self.from_self]
        self.read, self.counts, self.cache = 0, torch.zeros(12), {}
        self.large = torch.zeros(2**20)
        self.file = None if folder is None else (folder / "lines").open()

    def from_self(self, x: float) -> float:
        return x + self.python.random()

    def __len__(self) -> int:
        return 12

    def __getitem__(self, index: int) -> torch.Tensor:
        self.read += 1
        self.counts[index] += 1
        self.cache[index] = self.read
        x = self.read + self.numpy.normal() + self.old.normal() + GLOBAL.normal() + self.shared.random()
        x += torch.rand((), generator=self.torch).item()
        for transform in self.transforms:
            x = transform(x)
        if self.file is not None:
            x += len(self.file.readline())
        return torch.tensor(x)


def _walk(loader: Any) -> list[Any]:
    own = OwnLoader(loader)
    with fresh_draws(own.loader):
        return [batch.tolist() for _, batch in own]


class OtherLoader(DataLoader):
    """A class of its own is not rebuilt, but walked through."""


@pytest.mark.parametrize("kind", [DataLoader, OtherLoader])
def test_what_is_read_beside_training_changes_no_draw_no_counter_and_no_file(tmp_path, kind):
    (tmp_path / "lines").write_text("".join("x" * i + "\n" for i in range(100)))

    def items(beside: bool) -> list[float]:
        global GLOBAL
        GLOBAL, Restless.shared = np.random.default_rng(3), random.Random(4)
        data = Restless(tmp_path)
        several = ConcatDataset([data, Subset(data, [3, 1])])
        found = [float(several[0])]
        if beside:
            first, second = _walk(kind(several, batch_size=5)), _walk(kind(several, batch_size=5))
            assert first == second  # a pass begins at a fixed start
            assert data.read == 1
        found += [float(several[i]) for i in (1, 13)]
        assert (data.counts.sum().item(), len(data.cache)) == (3, 2)
        return found

    assert items(beside=True) == items(beside=False)


def test_large_tensors_and_what_cannot_be_copied_are_shared():
    data = Restless()
    data.handles = [memoryview(b"x")]  # cannot be copied
    own = OwnLoader(DataLoader(data, batch_size=6))
    assert own.loader.dataset is not data
    assert own.loader.dataset.large is data.large
    assert own.loader.dataset.handles[0] is data.handles[0]
    assert own.loader.dataset.counts is not data.counts


def test_a_stream_that_training_would_miss_is_refused_unless_a_worker_reads_it():
    data = Restless()
    data.stream = (i for i in range(100))
    with pytest.raises(UsageError, match=r"generator that cannot be copied .*num_workers=1"):
        OwnLoader(DataLoader(data, batch_size=6))
    assert OwnLoader(DataLoader(data, batch_size=6, num_workers=1)).loader.dataset is data


class Endless(torch.utils.data.Sampler):
    """0, 1, 2, 0, 1, 2, ..."""

    def __iter__(self) -> Any:
        while True:
            yield from range(3)


def test_a_sampler_without_an_end_is_read_as_far_as_it_is_asked_for_and_refused_without_a_limit():
    loader = DataLoader(torch.arange(3), batch_size=2, sampler=Endless())
    assert [batch.tolist() for _, batch in OwnLoader(loader, most_batches=3)] == [[0, 1], [2, 0], [1, 2]]
    with pytest.raises(UsageError, match=r"sampler Endless .* does not end"):
        OwnLoader(loader)
