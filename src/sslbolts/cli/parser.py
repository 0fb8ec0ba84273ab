"""The parser of the verbs that are no training run."""

from argparse import ArgumentParser
from typing import NoReturn

from sslbolts.errors import UsageError, did_you_mean

__all__ = ["Parser"]


class Parser(ArgumentParser):
    """An ``ArgumentParser`` whose complaints are UsageErrors, with the nearest right option."""

    def error(self, message: str) -> NoReturn:
        hint = ""
        if message.startswith("unrecognized arguments: "):
            wrong = message.removeprefix("unrecognized arguments: ").split()[0].partition("=")[0]
            options = list(self._option_string_actions)
            message = f'{self.prog} has no option "{wrong}"'
            hint = did_you_mean(wrong, options) or f" It has {', '.join(o for o in options if o.startswith('--'))}."
        raise UsageError(f"{message.rstrip('.')}.{hint}")
