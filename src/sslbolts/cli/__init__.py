"""The ``sslbolts`` command."""

from sslbolts.cli.main import main

__all__ = ["main"]
