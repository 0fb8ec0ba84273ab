"""Trained by a Trainer over the recorded images, every method comes step by step to where its official code came."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from tests.trajectories.case import Case, case_names
from tests.trajectories.driver import Run, train
from tests.trajectories.methods import adapter_of

BOUND = 1e-8
"""Of a tensor's error; rounding alone gives less than 1e-11."""


@pytest.mark.parametrize("name", case_names())
def test_training_ends_where_the_official_code_ends(name: str) -> None:
    if name == "moco_v3_vit" and torch.__version__.startswith("2.6."):
        pytest.skip("torch 2.6 crashes in the gradient of a group norm whose input needs none, in channels_last")
    case = Case(name)
    differences = list(_differences(case, train(adapter_of(case))))
    assert not differences, "\n".join(differences)


def test_there_are_cases() -> None:
    assert case_names()


@pytest.mark.parametrize(
    ("ours", "official", "equal"),
    [
        ([2.0, 1.0 + 1e-8], [2.0, 1.0], True),
        ([2.0, 1.0 + 3e-8], [2.0, 1.0], False),  # the largest value counts
        ([2e-8], [1e-8], False),
        ([5e-12], [0.0], True),  # and 0.001 where that is more
        ([float("nan")], [1.0], False),
        ([[1.0]], [1.0], True),
        ([1.0], [1.0, 1.0], False),
        ([1, 2], [1, 2], True),
        ([100_000_000], [100_000_001], False),
    ],
)
def test_what_counts_as_equal(ours: list, official: list, equal: bool) -> None:
    kind = torch.float64 if isinstance(official[0], float) else torch.int64
    assert equal == (not list(_compared("", torch.tensor(ours, dtype=kind), torch.tensor(official, dtype=kind))))


def _differences(case: Case, run: Run) -> Iterator[str]:
    """A line for every tensor that is not the official one."""
    yield from _compared("losses", torch.stack(run.losses), case.arrays["losses"])
    for part, state in (("step1", run.states[0]), ("final", run.states[-1])):
        for name, official in case.part(part).items():
            if name in state:
                ours = _in_order(state[name], official) if name in case.facts["unordered"] else state[name]
                yield from _compared(f"{part}/{name}", ours, official)
            elif name not in case.facts["may_be_absent"]:
                yield f"{part}/{name}: missing"


def _compared(name: str, ours: Tensor, official: Tensor) -> Iterator[str]:
    if ours.squeeze().shape != official.squeeze().shape:
        yield f"{name}: {tuple(ours.shape)} in place of {tuple(official.shape)}"
        return
    ours = ours.reshape(official.shape)
    if not official.is_floating_point():
        if not torch.equal(ours, official):
            yield f"{name}: {ours.tolist()} in place of {official.tolist()}"
    elif not (error := (ours - official).abs().max() / official.abs().max().clamp(min=1e-3)) <= BOUND:  # NaN too
        yield f"{name}: error {error:.1e}"


def _in_order(ours: Tensor, official: Tensor) -> Tensor:
    """Our rows as the official ones stand; as they are, and so unequal, if one of them is nearest to two."""
    nearest = (ours - official[:, None]).abs().amax(-1).argmin(1)
    return ours[nearest] if len(nearest.unique()) == len(ours) else ours
