"""Reference cases of the decorrelating losses."""

from tests.golden.reference import Case

CASES: dict[str, Case] = {}
