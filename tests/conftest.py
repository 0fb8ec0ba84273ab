"""Fixtures that every test may use."""

from collections.abc import Iterator

import pytest
import torch

from tests.helpers.ranks import TwoRanks

torch.set_num_threads(1)  # of small networks, several threads only wait for each other


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def two_ranks() -> Iterator[TwoRanks]:
    """A pool of two gloo processes: ``two_ranks(function, *args) -> [result of rank 0, result of rank 1]``."""
    pool = TwoRanks()
    yield pool
    pool.close()
