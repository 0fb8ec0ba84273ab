"""Checkpoints whose optimizer is not the run's."""

import pytest
import torch
from torch import nn

from sslbolts.checkpoints.optimizers import StoredOptimizers
from sslbolts.errors import UsageError
from sslbolts.optim import LARS
from sslbolts.optim.spec import OptimizerSpec

SGD = OptimizerSpec(lambda params: torch.optim.SGD(params, lr=0.1, momentum=0.9)).plain
ADAM = OptimizerSpec(lambda params: torch.optim.Adam(params, lr=0.1)).plain


def optimizer(*sizes: int) -> torch.optim.Optimizer:
    groups = [{"params": [nn.Parameter(torch.zeros(1)) for _ in range(size)]} for size in sizes]
    return torch.optim.SGD(groups, lr=0.1, momentum=0.9)


def stored(*optimizers: torch.optim.Optimizer, plain: object = SGD) -> StoredOptimizers:
    states = [each.state_dict() for each in optimizers]
    return StoredOptimizers({"hyper_parameters": {"optimizer": plain}, "optimizer_states": states})


def test_the_same_is_taken():
    stored(optimizer(2, 3)).refuse_others([optimizer(2, 3)], SGD)
    stored(optimizer(2), optimizer(1)).refuse_others([optimizer(2), optimizer(1)], SGD)
    assert stored(optimizer(2)).without_effect(SGD) == []


def test_another_one_is_refused_by_both_names():
    with pytest.raises(UsageError, match="made with SGD, and this run has Adam, which"):
        stored(optimizer(2)).refuse_others([optimizer(2)], ADAM)
    moved = SGD | {"class_path": "somewhere.else.SGD"}  # a class may move
    stored(optimizer(2)).refuse_others([optimizer(2)], moved)


@pytest.mark.parametrize(
    ("others", "words"),
    [
        ([optimizer(5)], r"2 parameter groups \(of 2 and 3 parameters\), and this run's 1 parameter group \(of 5 p"),
        ([optimizer(2, 4)], r"this run's 2 parameter groups \(of 2 and 4 parameters\)"),
        ([optimizer(2, 3), optimizer(1)], r"this run's 2 parameter groups .* beside 1 parameter group"),
    ],
)
def test_other_groups_are_counted(others, words):
    with pytest.raises(UsageError, match=words):
        stored(optimizer(2, 3)).refuse_others(others, SGD)


def test_a_checkpoint_that_says_nothing_is_left_to_torch():
    StoredOptimizers({}).refuse_others([optimizer(2)], ADAM)
    stored(optimizer(2), plain=None).refuse_others([optimizer(2)], ADAM)


def test_settings_that_torch_takes_from_the_checkpoint_are_listed():
    given = OptimizerSpec(lambda params: torch.optim.Adam(params, lr=0.2, betas=(0.9, 0.95), weight_decay=0.1)).plain
    listed = stored(optimizer(2), plain=ADAM | {"init_args": ADAM["init_args"] | {"betas": [0.9, 0.999]}})
    assert listed.without_effect(given) == [
        "betas=(0.9, 0.95) (the checkpoint has [0.9, 0.999])",
        "weight_decay=0.1 (the checkpoint has 0)",
    ]
    assert listed.without_effect(ADAM) == []


def test_torch_itself_would_take_another_optimizers_groups():
    """The reason for all this."""
    parameter = nn.Parameter(torch.zeros(1))
    lars = LARS([parameter], lr=0.1)
    lars.load_state_dict(torch.optim.Adam([parameter], lr=0.3).state_dict())
    assert lars.param_groups[0]["lr"] == 0.3
