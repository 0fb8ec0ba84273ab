"""Collectives on two gloo processes against the plain computation on the concatenated rows."""

import torch

from sslbolts import distributed


def _rows(rank: int, rows: int = 3) -> torch.Tensor:
    return torch.randn(rows, 4, generator=torch.Generator().manual_seed(rank), dtype=torch.float64)


def _gather_gradient() -> tuple[torch.Tensor, torch.Tensor]:
    x = _rows(distributed.rank()).requires_grad_()
    everything = distributed.gather(x)
    # Each rank's loss weighs the rows differently, as a contrastive loss with local queries does.
    (everything.pow(3).sum() * (distributed.rank() + 1)).backward()
    return everything.detach(), x.grad


def test_gather_gives_rows_in_rank_order_and_sums_the_gradients_of_all_losses(two_ranks):
    everything = torch.cat([_rows(0), _rows(1)])
    expected = 3 * 3 * everything.pow(2)  # (1 + 2) times the derivative of x^3
    for rank, (gathered, grad) in enumerate(two_ranks(_gather_gradient)):
        assert torch.equal(gathered, everything)
        torch.testing.assert_close(grad, expected[rank * 3 : rank * 3 + 3], rtol=1e-12, atol=1e-12)


def _all_sum_gradient() -> tuple[torch.Tensor, torch.Tensor]:
    x = _rows(distributed.rank()).requires_grad_()
    total = distributed.all_sum(x)
    total.pow(2).sum().backward()
    return total.detach(), x.grad


def test_all_sum_is_differentiable(two_ranks):
    total = _rows(0) + _rows(1)
    for result, grad in two_ranks(_all_sum_gradient):
        torch.testing.assert_close(result, total)
        torch.testing.assert_close(grad, 2 * 2 * total)  # two ranks, each with the derivative of total^2


def _ragged() -> torch.Tensor:
    return distributed.gather_ragged(_rows(distributed.rank(), rows=2 + 3 * distributed.rank()))


def test_gather_ragged_joins_different_numbers_of_rows(two_ranks):
    expected = torch.cat([_rows(0, 2), _rows(1, 5)])
    for result in two_ranks(_ragged):
        assert torch.equal(result, expected)


def _broadcast() -> torch.Tensor:
    x = _rows(distributed.rank())
    distributed.broadcast_([x])
    return x


def test_broadcast_overwrites_with_rank_zero(two_ranks):
    for result in two_ranks(_broadcast):
        assert torch.equal(result, _rows(0))


def _padding(size: int, batch: int) -> list[int]:
    from torch.utils.data import DataLoader
    from torch.utils.data.distributed import DistributedSampler

    loader = DataLoader(range(size), batch, sampler=DistributedSampler(range(size), shuffle=False))
    kept, seen = [], 0
    for images in loader:
        padding = distributed.padding_rows(seen, len(images), size)
        kept += images[~padding].tolist()
        seen += len(images)
    return kept


def test_padding_rows_leaves_every_image_exactly_once(two_ranks):
    for size, batch in [(5, 2), (7, 3), (8, 4), (1, 2)]:
        ranks = two_ranks(_padding, size, batch)
        assert sorted(ranks[0] + ranks[1]) == list(range(size))
