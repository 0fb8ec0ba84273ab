"""How worker processes start, on every Python and where the program has said how."""

import multiprocessing
import sys

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from sslbolts.data.workers import worker_settings
from sslbolts.evaluation.loaders import split_loader

BEFORE_314 = ["fork", "spawn", "forkserver"]  # the default is first
FROM_314 = ["forkserver", "spawn", "fork"]
ON_A_MAC = ["spawn", "fork", "forkserver"]


@pytest.mark.parametrize(
    ("platform", "methods", "set_by_program", "forked"),
    [
        ("linux", BEFORE_314, None, True),
        ("linux", FROM_314, None, True),
        ("linux", FROM_314, "forkserver", True),  # some library has asked for the default, which then counts as set
        ("linux", BEFORE_314, "forkserver", False),
        ("linux", FROM_314, "spawn", False),
        ("darwin", ON_A_MAC, None, False),
        ("darwin", ON_A_MAC, "fork", True),
    ],
)
def test_workers_are_forked_on_linux_unless_the_program_says_otherwise(
    platform, methods, set_by_program, forked, monkeypatch
):
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(multiprocessing, "get_all_start_methods", lambda: methods)
    monkeypatch.setattr(multiprocessing, "get_start_method", lambda allow_none: set_by_program)
    expected = {"num_workers": 2, "multiprocessing_context": "fork"} if forked else {"num_workers": 2}
    assert worker_settings(2) == expected
    assert worker_settings(0) == {"num_workers": 0}


def test_a_loader_that_is_given_keeps_its_way():
    data = TensorDataset(torch.zeros(4, 3, 8, 8), torch.zeros(4))
    loader = split_loader(
        DataLoader(data, num_workers=1, multiprocessing_context="spawn"), "train", batch_size=2, num_workers=0
    )
    assert loader.multiprocessing_context.get_start_method() == "spawn"
