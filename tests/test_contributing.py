"""CONTRIBUTING and the hooks: the files that a method touches, and the checks of every commit."""

import fnmatch
import re

import pytest
import yaml

from tests.helpers.pages import ROOT

SEARCHED = ("src/**/*.py", "tests/**/*.py", "docs/**/*.py", "docs/**/*.md", "configs/*.yaml", "*.md")
MADE = ("docs/api/", "docs/benchmarks/", "docs/notebooks/")
"""Folders that the build of the documentation fills."""


def listed() -> list[str]:
    """Patterns of the files in the table; a folder stands for what is in it."""
    rows = re.findall(r"^\| (`.*?) \|", (ROOT / "CONTRIBUTING.md").read_text(), flags=re.MULTILINE)
    names = [re.sub(r"<\w+>", "*", name) for row in rows for name in re.findall(r"`([^`]+)`", row)]
    return [f"{name}*" if name.endswith("/") else name for name in names]


@pytest.mark.parametrize(("name", "file"), [("SimMIM", "simmim"), ("ContextEncoder", "context_encoder")])
def test_all_files_that_speak_of_a_method_are_in_its_table(name, file):
    naming = re.compile(rf"\b({name}|{file})\b")
    texts = {path.relative_to(ROOT).as_posix(): path for pattern in SEARCHED for path in ROOT.glob(pattern)}
    page = f"docs/methods/{file}.md"
    found = [where for where, path in texts.items() if naming.search(path.read_text()) and not where.startswith(MADE)]
    own = {"CONTRIBUTING.md", "tests/test_contributing.py", page}
    assert len(found) > 12
    assert not [where for where in found if where not in own and not any(fnmatch.fnmatch(where, p) for p in listed())]


def test_every_pattern_of_the_table_has_a_file():
    patterns = listed()
    assert len(patterns) > 15
    assert not [pattern for pattern in patterns if not any(ROOT.glob(pattern))]


def test_the_hooks_of_a_commit_are_what_make_lint_runs():
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
    hooks = [" ".join(hook["entry"].split()[:2]) for repo in config["repos"] for hook in repo["hooks"]]
    recipe = re.search(r"^lint:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    assert recipe is not None
    lines = [line.split("/", 1)[1].split(" ") for line in recipe[1].splitlines()]
    assert sorted(hooks) == sorted(" ".join(line[: 1 + (line[0] == "ruff")]) for line in lines)
