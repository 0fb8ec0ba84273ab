"""The mistakes of the mutation check still fit the source, and the tests that are named with them exist."""

import ast
from functools import cache
from pathlib import Path

import pytest

from tests.mutants import MUTANTS

ROOT = Path(__file__).resolve().parents[2]


@cache
def _tests_in(path: str) -> set[str]:
    tree = ast.parse((ROOT / path).read_text())
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")}


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_its_text_is_there_once_and_its_tests_exist(mutant):
    ast.parse(mutant.applied(ROOT / "src" / "sslbolts"))
    assert mutant.tests
    for test in mutant.tests:
        path, _, name = test.partition("::")
        assert not name or name.partition("[")[0] in _tests_in(path), f"there is no {test}"
        assert (ROOT / path).is_file()


def test_names_are_different():
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS)


def test_a_stale_mistake_is_an_error():
    """Text that has changed, or that is there twice, would make a mistake that is none, or another."""
    from dataclasses import replace

    for before in ("no such text", "return"):
        with pytest.raises(ValueError, match="must be there once"):
            replace(MUTANTS[0], before=before).applied(ROOT / "src" / "sslbolts")
