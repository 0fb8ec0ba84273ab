"""Reference cases of the clustering methods."""

from tests.golden.reference import Case

CASES: dict[str, Case] = {}
