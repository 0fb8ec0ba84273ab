"""Every argument of every method is checked when the method is made; the wrong values follow from its signature."""

import inspect
import math
from collections.abc import Iterator, Sequence
from typing import Any, Literal, get_args, get_origin

import pytest

from sslbolts import METHODS, UsageError
from tests.invariants.cases import MethodCase, case_of

WRONG = {int: (-1, 0.5, math.nan, math.inf), float: (-1.0, math.nan, math.inf)}
"""Values that no number of a method may have, by the type that the signature gives it."""


def wrong_values(parameter: inspect.Parameter) -> Iterator[Any]:
    declared = parameter.annotation
    if get_origin(declared) is Literal:
        yield "nonsense"
    kinds = get_args(declared) or (declared,)
    for kind in (kind for kind in WRONG if kind in kinds):
        zero = (0,) if parameter.name.endswith(("_dim", "temperature")) else ()
        two = (2,) if "momentum" in parameter.name else ()
        for number in (*WRONG[kind], *zero, *two):
            yield (number,) if get_origin(declared) in (Sequence, tuple) else number


def refused(case: MethodCase, name: str, value: Any) -> bool:
    try:
        case.module(**{name: value})
    except UsageError as error:
        return name in str(error)
    return False


@pytest.mark.parametrize("name", list(METHODS))
def test_a_value_out_of_its_range_is_refused_by_name(name):
    case = case_of(name)
    parameters = inspect.signature(case.method).parameters
    assert {"optimizer", "lr_scaling", "warmup_epochs"} <= parameters.keys()
    taken = [
        f"{parameter.name}={value!r}"
        for parameter in parameters.values()
        for value in wrong_values(parameter)
        if not refused(case, parameter.name, value)
    ]
    assert not taken, f"{name} takes {', '.join(taken)}"


@pytest.mark.parametrize(
    ("name", "wrong"),
    [("BYOL", {"momentum": 2}), ("MoCo", {"momentum": -1}), ("DINO", {"clip": -1}), ("SimCLR", {"stem": "cfar"})],
)
def test_what_once_was_taken_is_refused(name, wrong):
    assert refused(case_of(name), *wrong.popitem())
