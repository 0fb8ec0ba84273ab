"""What the documentation shows works: its Python runs, its commands and configurations are understood, names exist.

A page is any Markdown file of the repository. A block that cannot be tried stands behind a comment that says why:
``<!-- not run: reason -->``. Python runs block after block in one namespace, in a folder of its own with a few photos
in `photos/` and a checkpoint at `runs/demo/simclr.ckpt`; Trainers do one batch of a few images. Commands are not
carried out, only their arguments are read. A YAML block is a configuration, or a part of one.
"""

import re
import shutil
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.helpers import command_lines, pages, stand_ins
from tests.helpers.pages import ROOT, Page

MADE = ("api", "benchmarks", "methods", "notebooks")
"""Folders of docs/ that its build fills, but for their index: with what is tested where it comes from."""

GUIDES = [ROOT / "README.md"] + [
    path
    for path in sorted((ROOT / "docs").glob("**/*.md"))
    if path.stem == "index" or path.relative_to(ROOT / "docs").parts[0] not in MADE
]
TEXTS = [
    *GUIDES,
    *(path for path in (ROOT / "CHANGELOG.md", ROOT / "CONTRIBUTING.md") if path.exists()),
    *sorted((ROOT / "benchmarks").glob("**/*.md")),
    *sorted((ROOT / "src").glob("**/*.md")),
    *sorted((ROOT / "notebooks").glob("*.ipynb")),
]
named = pytest.mark.parametrize

THEIRS = {"--help", "--version", "--error-unmatch", "--porcelain", "--untracked-files", "--shm-size"}
THEIRS |= {
    "--nnodes",
    "--nproc-per-node",
    "--nproc_per_node",
    "--config-path",
    "--config-name",
    "--ntasks-per-node",
    "--signal",
}
"""Options of git, torchrun, SLURM, Docker, solo-learn and the like that our texts name, and those of every program."""


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


@cache
def page_of(path: Path) -> Page:
    return pages.read(path)


@pytest.fixture(scope="module")
def stand_in_files(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("stand-ins")
    stand_ins.write_all(folder)
    return folder


@pytest.fixture
def here(stand_in_files, tmp_path, monkeypatch) -> Path:
    """A folder with the files that pages speak of, as the present one."""
    folder = tmp_path / "page"
    shutil.copytree(stand_in_files, folder, symlinks=True)
    monkeypatch.chdir(folder)
    return folder


@pytest.mark.filterwarnings("ignore")
@named("path", [path for path in GUIDES if page_of(path).of("python")], ids=name_of)
def test_its_python_runs_from_top_to_bottom(path, here, monkeypatch):
    stand_ins.shorten_runs(monkeypatch)
    pages.write_files(page_of(path))
    pages.run_python(page_of(path))


@pytest.mark.filterwarnings("ignore")
@named("path", [path for path in TEXTS if page_of(path).of("bash")], ids=name_of)
def test_its_commands_are_understood(path, here):
    page = page_of(path)
    pages.write_files(page)
    wrong = []
    for block in page.of("bash"):
        for line, words in command_lines.command_lines(block.code):
            try:
                command_lines.try_command(words)
            except AssertionError as error:
                wrong.append(f"{page.name}:{block.line + line}: {error}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.filterwarnings("ignore")
@named("path", [path for path in TEXTS if page_of(path).of("yaml")], ids=name_of)
def test_its_configurations_are_understood(path, here):
    page, wrong = page_of(path), []
    for block in page.of("yaml"):
        try:
            command_lines.try_config(block.code)
        except AssertionError as error:
            wrong.append(f"{page.name}:{block.line}: {error}")
    assert not wrong, "\n".join(wrong)


# ---------------------------------------------------------------------------------------------- names in the prose


def test_every_option_that_is_spoken_of_exists():
    known = command_lines.options()
    missing = [
        f"{page_of(path).name}:{line}: {option}"
        for path in TEXTS
        if path.stem != "CHANGELOG"  # which names what is gone, too
        for line, code in page_of(path).inline()
        for option in re.findall(r"(?<![\w-])--[a-z][\w.-]*", code)
        if not is_option(option, known)
    ]
    assert not missing, "\n".join(missing)


def is_option(option: str, known: frozenset[str]) -> bool:
    name = option.rstrip(".")
    heads_others = any(other.startswith(f"{name}.") for other in known)
    return name in known or heads_others or name in THEIRS or is_of_a_class(name)


@cache
def arguments() -> dict[str, frozenset[str]]:
    """Names of the arguments of all methods and of all DataModules."""
    import inspect

    import sslbolts.data
    from sslbolts.data.arguments import DataArguments
    from sslbolts.methods import METHODS, get_method

    def of(classes: Iterator[type]) -> frozenset[str]:
        makers = [kind.__init__ for cls in classes for kind in cls.__mro__ if "__init__" in vars(kind)]
        return frozenset(name for maker in makers for name in inspect.signature(maker).parameters)

    modules = (getattr(sslbolts.data, name) for name in sslbolts.data.__all__)
    return {
        "--model": of(get_method(name) for name in METHODS),
        "--data": of(cls for cls in modules if isinstance(cls, type)) | set(DataArguments.__annotations__),
    }


def is_of_a_class(option: str) -> bool:
    kind, _, name = option.partition(".")
    return kind in arguments() and name.partition(".")[0] in {*arguments()[kind], "help", "class_path", "ARGUMENT"}


def test_every_file_that_is_linked_or_named_exists():
    missing = []
    for path in TEXTS:
        page = page_of(path)
        built = path.is_relative_to(ROOT / "docs")  # `make docs` checks its links, also those to pages that it makes
        for line, text in {}.items() if built else page.prose.items():
            for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", re.sub(r"(`+).+?\1", "", text)):
                if "://" not in target and not target.startswith("mailto:") and not (path.parent / target).exists():
                    missing.append(f"{page.name}:{line}: {target}")
        for line, code in page.inline():
            ours = re.fullmatch(r"(benchmarks|configs|docs|notebooks|src|tests)/[\w./-]*", code)
            if ours and not (ROOT / code).exists():
                missing.append(f"{page.name}:{line}: {code}")
    assert not missing, "\n".join(missing)


def test_every_name_of_the_package_that_is_spoken_of_exists():
    """Dotted names of the package are imported; other names are looked for in its code."""
    missing = []
    for path in GUIDES:
        for line, code in page_of(path).inline():
            for name in re.findall(r"(?<![\w/.])sslbolts(?:\.[A-Za-z_]\w*)+", code):
                try:
                    resolve(name)
                except (AttributeError, ImportError):
                    missing.append(f"{page_of(path).name}:{line}: {name}")
    assert not missing, "\n".join(missing)


def resolve(name: str) -> object:
    import importlib

    found: object = importlib.import_module("sslbolts")
    for part in name.split(".")[1:]:
        try:
            found = getattr(found, part)
        except AttributeError:
            found = importlib.import_module(f"{found.__name__}.{part}")
    return found
