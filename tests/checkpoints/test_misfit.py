"""A checkpoint of something else is refused in a sentence; of the same, it is taken."""

import pytest
from torch import nn

from sslbolts import UsageError
from sslbolts.checkpoints.misfit import refuse_misfit


def test_the_same_module_is_taken():
    refuse_misfit(nn.Linear(3, 2), {"state_dict": nn.Linear(3, 2).state_dict()})


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (nn.Linear(4, 2), r"1 of other shape \(weight\)"),
        (nn.Linear(3, 2, bias=False), r"1 missing \(bias\)"),
        (nn.BatchNorm1d(2), r"4 unknown|3 unknown \(running_mean\)"),
    ],
)
def test_one_example_of_each_difference_is_named(other, words):
    with pytest.raises(UsageError, match=words):
        refuse_misfit(nn.Linear(3, 2), {"state_dict": other.state_dict()})


def test_the_class_that_made_it_is_named():
    checkpoint = {"state_dict": nn.Linear(4, 2).state_dict(), "sslbolts_class": "sslbolts.methods.x.MoCo"}
    with pytest.raises(UsageError, match="is of MoCo, not of Linear"):
        refuse_misfit(nn.Linear(3, 2), checkpoint)
