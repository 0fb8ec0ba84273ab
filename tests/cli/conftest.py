"""Runs without the monitors that a command without a configuration has: most tests are about other things."""

import pytest

from sslbolts.cli.run import standard

_DEFAULTS = standard.defaults


@pytest.fixture(scope="session", autouse=True)
def _no_standard_monitors():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(standard, "defaults", lambda name: {})
        yield


@pytest.fixture
def standard_run(monkeypatch) -> None:
    """The command as users have it."""
    monkeypatch.setattr(standard, "defaults", _DEFAULTS)
