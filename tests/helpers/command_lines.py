"""Command lines of the documentation, tried as far as their arguments: nothing is trained, downloaded or written."""

import argparse
import contextlib
import io
import re
import runpy
import shlex
import sys
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from sslbolts.cli import main
from sslbolts.cli import training as training_verbs
from sslbolts.cli.evaluate import PROTOCOLS
from sslbolts.cli.main import VERBS
from sslbolts.cli.run import checkpoint
from sslbolts.cli.shared.parser import Parser
from tests.helpers.pages import ROOT

NOT_OURS = {
    "cd", "cp", "echo", "export", "git", "kill", "ls", "mkdir", "mv", "nvidia-smi", "sbatch", "scancel", "scp",
    "source", "ssh", "tar", "tensorboard", "unzip", "wget", "curl", "wandb", "rsync", "ulimit", "nohup", "pre-commit",
}  # fmt: skip
"""Programs whose arguments are not looked at."""
_TRAINING = ("fit", "validate", "test", "predict")


class _Parsed(BaseException):
    """Thrown when a command line has been understood."""


def command_lines(code: str) -> Iterator[tuple[int, list[str]]]:
    """Line and words of each command in a block of bash; the first line is 0.

    Comments, assignments before a command and what a prompt's block shows as output are left out.
    """
    lines = code.split("\n")
    prompted = any(line.lstrip().startswith("$ ") for line in lines)
    joined, begins = "", 0
    for number, line in enumerate(lines):
        begins = begins if joined else number
        if prompted and not joined and not line.lstrip().startswith("$ "):
            continue
        joined += line.lstrip().removeprefix("$ ") if prompted else line
        if joined.rstrip().endswith("\\"):
            joined = joined.rstrip()[:-1] + " "
            continue
        joined = re.sub(r"\[(--[^\]|]*)[^\]]*\]", r"\1", joined)  # [--device cpu|cuda], as usage lines say it
        joined = re.sub(r"\$\(\w+ (\w+)\)", r"\1", joined)  # $(which sslbolts)
        lexer = shlex.shlex(joined, posix=True, punctuation_chars="|&;")
        lexer.whitespace_split = True
        command: list[str] = []
        for word in without_redirection([*lexer, ";"]):
            if set(word) <= set("|&;"):
                while command and re.fullmatch(r"\w+=.*", command[0]):
                    command.pop(0)
                if command:
                    yield begins, command
                command = []
            else:
                command.append(re.sub(r"\$\{?\w+\}?", "1", word))
        joined = ""


def without_redirection(words: Sequence[str]) -> list[str]:
    """Words of a command line, those left out that send what it prints to a file.

    >>> without_redirection(["sslbolts", "configs", "byol_cifar10", ">", "mine.yaml", ";"])
    ['sslbolts', 'configs', 'byol_cifar10', ';']
    """
    return [word for before, word in zip(["", *words], words) if word != ">" and before != ">"]


def try_command(words: Sequence[str]) -> None:
    """Understand a command line, in the present folder.

    Raises:
        AssertionError: says what is wrong with it.
    """
    program, *rest = (word for word in words if word not in ("sudo", "time", "nohup"))
    places = [i for i, word in enumerate(words) if Path(word).name == "sslbolts"]
    if places:  # also behind torchrun, srun or python -m
        _try_sslbolts(words[places[0] + 1 :])
    elif program.startswith("python") and rest[:1] and rest[0].endswith(".py"):
        _try_script(rest[0], rest[1:])
    elif program == "make":
        targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
        missing = [word for word in rest if "=" not in word and not word.startswith("-") and word not in targets]
        assert not missing, f"make has no target {', '.join(missing)}"
    elif program in ("pip", "uv") or rest[:2] == ["-m", "pip"]:
        _try_extras(rest)
    elif program == "pytest" or rest[:2] == ["-m", "pytest"]:
        paths = [word.partition("::")[0] for word in rest if word.startswith(("tests", "src"))]
        missing = [path for path in paths if not (ROOT / path).exists()]
        assert not missing, f"there is no {', '.join(missing)}"
    else:
        assert program in NOT_OURS or program.startswith("python"), f"nobody knows the program {program!r}"


def try_config(text: str) -> None:
    """Understand a YAML block: a configuration of a run, or a part of one.

    Raises:
        AssertionError: says what is wrong with it.
    """
    found = yaml.safe_load(text)
    whole = {"seed_everything", "trainer", "model", "data", "ckpt_path", "optimizer", "lr_scheduler", "weights_only"}
    if isinstance(found, list) and all("class_path" in item for item in found):
        found = {"trainer": {"callbacks": found}}
    elif isinstance(found, dict) and "callbacks" in found:
        found = {"trainer": found}
    elif isinstance(found, dict) and "views" in found:
        found = {"data": {"class_path": "sslbolts.data.CIFAR10MiniDataModule", "init_args": found}}
    assert isinstance(found, dict), "this is no configuration and no part of one"
    assert set(found) <= whole, f"a configuration has no {', '.join(sorted(set(found) - whole))}"
    if "class_path" not in (found.get("model") or {}):
        found["model"] = {"class_path": "sslbolts.SimCLR", "init_args": found.get("model") or {}}
    file = Path("part_of_a_page.yaml")
    file.write_text(yaml.safe_dump(found))
    _try_sslbolts(["fit", f"--config={file}"])


@cache
def options() -> frozenset[str]:
    """Every option of every verb, and those of methods and DataModules behind ``--model.`` and ``--data.``."""
    found: set[str] = set()
    with _stopping(found):
        for verb in VERBS:
            for words in [[verb, name] for name in PROTOCOLS] if verb == "evaluate" else [[verb]]:
                with contextlib.suppress(_Parsed):
                    main(words)
    for script in [*ROOT.glob("benchmarks/**/*.py"), ROOT / "tests" / "conftest.py"]:
        found |= set(re.findall(r"add(?:_argument|option)\(\s*\"(--[\w-]+)\"", script.read_text()))
    return frozenset(found)


# --------------------------------------------------------------------------------------------------------- inside


@contextlib.contextmanager
def _stopping(found: set[str] | None = None) -> Iterator[None]:
    """In this context the command stops where its arguments are understood; their names are added to a set."""
    parse, parse_arguments = Parser.parse, training_verbs.TrainingCLI.parse_arguments

    def stop(self: Any, arguments: Sequence[str]) -> Any:
        if found is not None:
            found.update(self._option_string_actions)
        else:
            parse(self, arguments)
        raise _Parsed

    def stop_training(self: Any, parser: Any, args: list[str]) -> None:
        if found is not None:
            found.update(self._subcommand_parsers[self.verb]._option_string_actions)
        else:
            parse_arguments(self, parser, args)
        raise _Parsed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Parser, "parse", stop)
        patch.setattr(training_verbs.TrainingCLI, "parse_arguments", stop_training)
        patch.setattr(checkpoint, "read", lambda path: None)  # the pages' own are not there
        yield


def _try_sslbolts(words: Sequence[str]) -> None:
    said = io.StringIO()
    with _stopping(), contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
        try:
            code = main(list(words))
        except _Parsed:
            return
    from_checkpoint = said.getvalue().startswith("error: there is no model") and "--ckpt_path" in words
    assert code == 0 or from_checkpoint, f"sslbolts {shlex.join(words)}: {said.getvalue()}"


def _try_script(path: str, words: Sequence[str]) -> None:
    file = ROOT / path
    assert file.exists(), f"there is no {path}"
    plain = [word for word in words if word != "..."]
    parse_args = argparse.ArgumentParser.parse_args

    def stop(self: Any, *args: Any, **kwargs: Any) -> Any:
        parse_args(self, *args, **kwargs)
        raise _Parsed

    said = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stderr(said):
        patch.syspath_prepend(str(file.parent))
        patch.setattr(sys, "argv", [path, *plain])
        patch.setattr(argparse.ArgumentParser, "parse_args", stop)
        try:
            runpy.run_path(str(file), run_name="__main__")
        except _Parsed:
            return
        except SystemExit as error:
            raise AssertionError(f"{path} {shlex.join(plain)}: {said.getvalue()}") from error


def _try_extras(words: Sequence[str]) -> None:
    defined = re.findall(r"^(\w+) =$", (ROOT / "setup.cfg").read_text().partition("[options.extras_require]")[2], re.M)
    for word in words:
        if asked := re.match(r"(?:\.|sslbolts)\[([\w,]+)\]", word):
            missing = set(asked[1].split(",")) - set(defined)
            assert not missing, f"there is no extra {', '.join(missing)}"
