"""Formulas of the methods' pages: one for each method, and each is whole."""

import doctest
import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

from sslbolts import METHODS
from sslbolts.methods.pages import PAGES

FILE = Path(__file__).parents[2] / "docs" / "_extension" / "formulas.py"


def module() -> ModuleType:
    spec = importlib.util.spec_from_file_location("formulas", FILE)
    assert spec is not None
    assert spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


def formulas() -> dict[str, str]:
    return module().FORMULAS


def test_a_formula_is_broken_before_its_definitions():
    assert doctest.testmod(module()) == (0, 2)


def test_every_method_has_one_in_plain_characters_and_one_as_latex():
    assert set(formulas()) == set(METHODS) == set(PAGES)


@pytest.mark.parametrize("name", METHODS)
def test_it_is_whole(name):
    formula = formulas()[name]
    bare = formula.replace(r"\{", "").replace(r"\}", "")
    depths = [0]
    for character in bare:
        depths.append(depths[-1] + (character == "{") - (character == "}"))
    assert min(depths) == depths[-1] == 0
    for left, right in ((r"\bigl", r"\bigr"), (r"\Bigl", r"\Bigr"), (r"\left", r"\right")):
        assert len(re.findall(re.escape(left) + r"(?![a-z])", bare)) == len(
            re.findall(re.escape(right) + r"(?![a-z])", bare)
        )
