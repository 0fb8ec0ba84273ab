"""Batch norms over groups of a batch, against batch norms of their own."""

import pytest
import torch
from torch import nn

from sslbolts import UsageError
from sslbolts.networks.split_batch_norm import join_batch_norms, split_batch_norms


@pytest.mark.parametrize(("norm", "shape"), [(nn.BatchNorm1d(3), (12, 3)), (nn.BatchNorm2d(3), (12, 3, 5, 4))])
def test_each_group_is_normalized_alone_and_running_statistics_are_their_mean(norm, shape):
    norm = norm.double()
    x = torch.randn(shape, dtype=torch.float64)
    with torch.no_grad():
        norm.weight.copy_(torch.randn(3))
        norm.bias.copy_(torch.randn(3))
    network = nn.Sequential(norm)
    expected, statistics = torch.empty_like(x), []
    for group in range(4):
        alone = type(norm)(3).double()
        alone.load_state_dict(norm.state_dict())
        expected[group::4] = alone(x[group::4])
        statistics.append(alone)
    split_batch_norms(network, 4)
    torch.testing.assert_close(network(x), expected)
    for name in ("running_mean", "running_var"):
        mean = torch.stack([getattr(alone, name) for alone in statistics]).mean(0)
        torch.testing.assert_close(getattr(norm, name), mean)
    network.eval()
    evaluated = network(x)
    join_batch_norms(network)
    assert torch.equal(network(x), evaluated)
    network.train()
    assert not torch.allclose(network(x), expected)


def test_channels_last_images_are_the_same():
    x = torch.randn(8, 3, 4, 4)
    network = nn.Sequential(nn.BatchNorm2d(3))
    split_batch_norms(network, 2)
    torch.testing.assert_close(network(x.to(memory_format=torch.channels_last)), network(x))


def test_what_cannot_be_split_is_named():
    network = nn.Sequential(nn.BatchNorm2d(3))
    split_batch_norms(network, 4)
    with pytest.raises(UsageError, match="6 images cannot be split into 4 equal groups"):
        network(torch.randn(6, 3, 2, 2))
    with pytest.raises(UsageError, match="4 groups of a batch of 4 images have one image each"):
        network(torch.randn(4, 3, 1, 1))
    assert network(torch.randn(4, 3, 2, 1)).isfinite().all()
    with pytest.raises(UsageError, match="0 is a SyncBatchNorm"):
        split_batch_norms(nn.Sequential(nn.SyncBatchNorm(3)), 4)
