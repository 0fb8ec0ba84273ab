"""The mask of what is attended to; the reference value is in tests/golden."""

import pytest
import torch

from sslbolts import UsageError
from sslbolts.readouts import attention_mask


def test_it_is_the_smallest_set_that_holds_the_mass():
    attention = torch.rand(6, 10).softmax(1)
    mask = attention_mask(attention, 0.6)
    for row, kept in zip(attention, mask):
        assert row[kept].sum() >= 0.6 - 1e-6
        assert row[kept].sum() - row[kept].min() < 0.6 + 1e-6, "one patch less would do"
        assert row[kept].min() >= row[~kept].max()


@pytest.mark.parametrize(("threshold", "kept"), [(0.0, 0), (1.0, 4)])
def test_extremes(threshold, kept):
    assert attention_mask(torch.tensor([0.1, 0.2, 0.3, 0.4]), threshold).sum() == kept


def test_a_share_outside_of_0_to_1_is_refused():
    with pytest.raises(UsageError, match="threshold=60"):
        attention_mask(torch.ones(3), 60)
