"""Reference cases of CPC and AMDIM."""

from tests.golden.reference import Case

CASES: dict[str, Case] = {}
