"""Datasets that are read as where processes are not forked: a fork takes longer than most of these tests.

Both ways of reading are looked at in tests/data, and compared in test_fingerprint.py.
"""

import pytest


@pytest.fixture(autouse=True)
def _no_fork(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sslbolts.data.apart.are_forked", lambda: False)
