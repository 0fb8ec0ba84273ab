"""Options and commands that docstrings, messages, comments of configurations and scripts speak of exist."""

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from sslbolts.methods import configurations
from tests.helpers import command_lines
from tests.helpers.pages import ROOT
from tests.test_pages import is_option

SOURCES = sorted((ROOT / "src").rglob("*.py"))
SCRIPTS = [path for path in sorted((ROOT / "benchmarks").rglob("*.py")) if "__main__" in path.read_text()]
CONFIGS = sorted((ROOT / "configs").glob("**/*.yaml"))


def strings(path: Path) -> Iterator[tuple[int, str]]:
    """Line and text of every string of a module, docstrings included."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value


def docstrings(path: Path) -> Iterator[tuple[int, str]]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield getattr(node, "lineno", 1), ast.get_docstring(node) or ""


def without_examples(text: str) -> str:
    """A docstring without its doctests, which run."""
    return re.sub(r"^ *>>>.*(\n.*\S.*)*", "", text, flags=re.MULTILINE)


def test_every_example_in_a_docstring_is_a_doctest_that_pytest_collects():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["pytest"]["ini_options"]
    assert "src" in settings["testpaths"]
    assert "--doctest-modules" in settings["addopts"]
    other = re.compile(r"```|::\s*$|\.\. code|\+SKIP", re.MULTILINE)
    found = [
        f"{path.relative_to(ROOT)}:{line}" for path in SOURCES for line, text in docstrings(path) if other.search(text)
    ]
    assert not found, "an example that nothing runs: " + ", ".join(found)


def test_every_option_in_a_message_exists():
    known = command_lines.options() | {"--weights_only"}  # of Lightning 2.6 and newer
    missing = {
        f"{path.relative_to(ROOT)}:{line}: {option}"
        for path in SOURCES
        for line, text in strings(path)
        for option in re.findall(r"(?<![\w-])--[a-z]\w*(?:[.-]\w+)*", without_examples(text))
        if not is_option(option, known)
    }
    assert not missing, "\n".join(sorted(missing))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_the_commands_in_a_script_are_understood(path):
    text = ast.get_docstring(ast.parse(path.read_text())) or ""
    commands = [
        words for _, words in command_lines.command_lines("\n".join(re.findall(r"^ +(python .*)$", text, re.M)))
    ]
    for words in commands:
        command_lines.try_command(words)


def verbs_of_a_head(path: Path) -> Iterator[list[str]]:
    """Commands in the comment at the top of a configuration, but those of `fit`, which test_configs.py has."""
    head = "\n".join(line.removeprefix("#") for line in path.read_text().splitlines() if line.startswith("#"))
    for command in re.findall(r"^ +(sslbolts (?!fit).*)$", head.replace("\\\n", " "), re.MULTILINE):
        yield from (words for _, words in command_lines.command_lines(command))


def test_the_other_commands_in_the_comment_of_a_configuration_are_understood():
    commands = [(path, words) for path in CONFIGS for words in verbs_of_a_head(path)]
    assert commands
    for path, words in commands:
        try:
            if words[1] in (
                "validate",
                "test",
                "predict",
            ):  # as many as configurations: reading each takes half a second
                given = {word.partition("=")[0] for word in words if word.startswith("--")}
                assert given <= command_lines.options(), f"there is no {given - command_lines.options()}"
                assert words[words.index("--config") + 1] in configurations.names()
            else:
                command_lines.try_command(words)
        except AssertionError as error:
            raise AssertionError(f"{path.name}: {error}") from error
