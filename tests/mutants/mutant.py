"""One mistake: the text that it replaces, and the tests that are to notice it."""

from dataclasses import dataclass
from pathlib import Path

__all__ = ["Mutant"]


@dataclass(frozen=True)
class Mutant:
    """A mistake in one file.

    Args:
        name: what is wrong.
        family: of methods, or the room of the house.
        file: under ``src/sslbolts``.
        before: text that is in the file exactly once.
        after: what stands there instead.
        tests: arguments of pytest, of which each is a file, a test, or ``-k`` and an expression; the tests of
            ``make test`` that are to notice.
    """

    name: str
    family: str
    file: str
    before: str
    after: str
    tests: tuple[str, ...]

    def applied(self, source: Path) -> str:
        """The text of the file under ``source`` (``.../src/sslbolts``) with the mistake.

        Raises:
            ValueError: if the text to replace is not in the file exactly once.
        """
        text = (source / self.file).read_text()
        if (count := text.count(self.before)) != 1 or self.before == self.after:
            raise ValueError(f"{self.name}: its text is {count} times in {self.file}, and must be there once.")
        return text.replace(self.before, self.after)
