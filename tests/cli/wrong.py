"""A wrong use of the command line, as a line of the tables that the tests go through."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sslbolts.errors import UsageError


@dataclass(frozen=True)
class Wrong:
    """A wrong use.

    Attributes:
        name: of the test.
        argv: the command line; ``{files}`` stands for the folder of the fixture.
        words: what the message says, in both.
        python: the same mistake in Python, given the folder; None where only the command line can make it.
        exception: what Python raises.
    """

    name: str
    argv: list[str]
    words: str
    python: Callable[[Path], Any] | None = field(default=None)
    exception: type[Exception] = UsageError
