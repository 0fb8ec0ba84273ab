"""How many cases are drawn: few and always the same ones, or, with ``SSLBOLTS_FUZZ=5000``, so many new ones."""

import os

import pytest

hypothesis = pytest.importorskip("hypothesis")

_LONG = int(os.environ.get("SSLBOLTS_FUZZ", "0"))
_CHECKS = [hypothesis.HealthCheck.too_slow, hypothesis.HealthCheck.filter_too_much]

hypothesis.settings.register_profile(
    "cases",
    max_examples=_LONG or 6,
    derandomize=not _LONG,
    database=None,
    deadline=None,
    print_blob=bool(_LONG),
    suppress_health_check=_CHECKS,
)
hypothesis.settings.load_profile("cases")
