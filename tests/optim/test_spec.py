"""An optimizer as plain data."""

import pickle
from functools import partial

import pytest
import torch
from torch import nn

from sslbolts import UsageError
from sslbolts.optim import LARS, OptimizerSpec


def _parameters() -> list[nn.Parameter]:
    return [nn.Parameter(torch.zeros(2, 2))]


@pytest.mark.parametrize(
    "make",
    [
        partial(torch.optim.SGD, lr=0.1, momentum=0.8),
        lambda params: torch.optim.SGD(params, lr=0.1, momentum=0.8),
        {"class_path": "torch.optim.SGD", "init_args": {"lr": 0.1, "momentum": 0.8}},
    ],
    ids=["partial", "lambda", "description"],
)
def test_every_form_makes_the_same_optimizer(make):
    spec = OptimizerSpec(make)
    optimizer = spec(_parameters())
    assert type(optimizer) is torch.optim.SGD
    assert (spec.lr, optimizer.defaults["lr"], optimizer.defaults["momentum"]) == (0.1, 0.1, 0.8)


def test_a_class_alone_has_its_own_defaults():
    assert OptimizerSpec(torch.optim.AdamW).lr == 0.001


@pytest.mark.parametrize(
    "make",
    [
        partial(torch.optim.AdamW, lr=0.3, betas=(0.9, 0.95), weight_decay=0.2),
        partial(torch.optim.SGD, lr=0.3, nesterov=True, momentum=0.5),
        partial(LARS, lr=0.3, lr_in_momentum=True, weight_decay=1e-6),
        partial(torch.optim.RMSprop, lr=0.3),
    ],
    ids=["AdamW", "SGD", "LARS", "RMSprop"],
)
def test_the_description_is_plain_and_makes_the_same_optimizer(make):
    plain = pickle.loads(pickle.dumps(OptimizerSpec(make).plain))
    again, expected = OptimizerSpec(plain)(_parameters()), make(_parameters())
    assert type(again) is type(expected)
    assert again.defaults == expected.defaults
    assert OptimizerSpec(plain).plain == plain


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (0.1, "callable"),
        ("Adam", "callable"),
        (torch.optim.SGD(_parameters(), lr=0.1), "callable"),
        (lambda params: None, "NoneType"),
        (lambda params, extra: None, "extra"),
        (nn.Linear, "cannot be made"),
        ({"class_path": "torch.optim.Nothing"}, "Nothing"),
        ({"class_path": "nowhere.SGD"}, "nowhere"),
        ({"class_path": "SGD"}, "SGD"),
        ({"class_path": "torch.nn.Linear"}, "is no Optimizer"),
        ({}, "class_path"),
    ],
)
def test_what_makes_no_optimizer_is_refused(wrong, words):
    with pytest.raises(UsageError, match=words):
        OptimizerSpec(wrong)


class _WithoutRate(torch.optim.Optimizer):
    def __init__(self, params):
        super().__init__(params, {})


def test_an_optimizer_without_learning_rate_is_refused():
    with pytest.raises(UsageError, match="_WithoutRate has no lr"):
        OptimizerSpec(_WithoutRate)


def test_it_is_pickled_with_its_settings_though_a_lambda_made_it():
    given = OptimizerSpec(lambda params: torch.optim.SGD(params, lr=0.5, momentum=0.25, nesterov=True))
    again = pickle.loads(pickle.dumps(given))
    group = again([nn.Parameter(torch.zeros(1))]).param_groups[0]
    assert [group[name] for name in ("lr", "momentum", "nesterov", "dampening")] == [0.5, 0.25, True, 0]
    assert (again.plain, again.lr) == (given.plain, 0.5)
