"""Draws for the images of all ranks, of which each rank has its own."""

import pytest
import torch

from sslbolts.distributed import rank
from sslbolts.training.shared_draws import integers, uniform


def _generator() -> torch.Generator:
    return torch.Generator().manual_seed(5)


def _of_both(images: int) -> list[torch.Tensor]:
    """Of ``images`` images of each rank: rows, and columns."""
    whole = integers(3, images, below=100, generator=_generator(), images=1)
    return [uniform(images, 2, generator=_generator()), whole, torch.tensor(rank())]


def test_ranks_share_what_one_process_draws_for_all_images(two_ranks):
    rows, columns, _ = _of_both(8)
    assert rows.shape == (8, 2)
    assert columns.shape == (3, 8)
    for half_rows, half_columns, number in two_ranks(_of_both, 4):
        own = slice(4 * int(number), 4 * int(number) + 4)
        assert torch.equal(half_rows, rows[own])
        assert torch.equal(half_columns, columns[:, own])


def test_numbers_are_in_their_range():
    assert 0 <= uniform(1000, generator=_generator()).min() < 0.01
    assert set(integers(1000, below=3, generator=_generator()).tolist()) == {0, 1, 2}


@pytest.mark.parametrize("images", [0, 1])
def test_the_same_state_gives_the_same_numbers(images):
    first, second = (uniform(3, 4, generator=_generator(), images=images) for _ in range(2))
    assert torch.equal(first, second)
