"""A misspelt or mistyped argument of a DataModule is an error of the type checker, and every one has its help."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from jsonargparse import ArgumentParser

from sslbolts import data as room
from sslbolts.data import SSLDataModule
from sslbolts.data.arguments import DataArguments

ROOT = Path(__file__).parents[2]
MODULES = [name for name in room.__all__ if name != "SSLDataModule" and issubclass(getattr(room, name), SSLDataModule)]

WRONG = {
    "CIFAR10MiniDataModule(batchsize=3)": "batchsize",
    'CIFAR10DataModule("data", batch_sizes=3)': 'did you mean "batch_size"',
    'ImageFolderDataModule("x", view="simclr")': 'did you mean "views"',
    'STL10DataModule(augment_on="gpu")': "augment_on",
    'CIFAR100DataModule(labels_per_class="few")': "labels_per_class",
    'ImageFolderDataModule("x", on_bad_image="ignore")': "on_bad_image",
}
RIGHT = 'ImageFolderDataModule("x", views="simclr", batch_size=3, seed=None)'


def test_mypy_refuses_every_wrong_call_and_no_right_one(tmp_path):
    script = tmp_path / "calls.py"
    calls = [*WRONG, RIGHT]
    script.write_text("\n".join(["from sslbolts.data import *", *calls]) + "\n")
    run = subprocess.run([sys.executable, "-m", "mypy", str(script)], cwd=ROOT, capture_output=True, text=True)
    found = dict(re.findall(r"calls\.py:(\d+): error: (.*)", run.stdout))
    assert run.stdout.count("error:") == len(WRONG), run.stdout
    for line, (call, word) in enumerate(WRONG.items(), start=2):
        assert word in found.get(str(line), ""), f"{call}\n{run.stdout}"


@pytest.mark.parametrize("name", MODULES)
def test_the_help_of_every_datamodule_describes_every_argument(name, capsys):
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(SSLDataModule, "data")
    with pytest.raises(SystemExit):
        parser.parse_args([f"--data.help=sslbolts.data.{name}"])
    shown = re.split(r"\n  --data\.", capsys.readouterr().out)[1:]
    texts = {part.split()[0]: re.sub(r"\(.*", "", " ".join(part.split()[2:])) for part in shown}
    assert set(DataArguments.__annotations__) <= set(texts)
    for argument in DataArguments.__annotations__:
        assert len(texts[argument]) > 15, argument


def test_the_keys_are_the_arguments_of_the_base():
    import inspect
    from typing import get_type_hints

    signature = get_type_hints(SSLDataModule.__init__)
    taken = [
        name for name, p in inspect.signature(SSLDataModule.__init__).parameters.items() if p.kind is p.KEYWORD_ONLY
    ]
    assert taken == list(DataArguments.__annotations__)
    assert {name: signature[name] for name in taken} == get_type_hints(DataArguments)
