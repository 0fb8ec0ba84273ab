"""Every argument of a DataModule has its type and its help; mistakes in them that a type checker finds."""

import re

import pytest
from jsonargparse import ArgumentParser

from sslbolts import data as room
from sslbolts.data import SSLDataModule
from sslbolts.data.arguments import DataArguments

MODULES = [name for name in room.__all__ if name != "SSLDataModule" and issubclass(getattr(room, name), SSLDataModule)]

WRONG = {
    "CIFAR10MiniDataModule(batchsize=3)": "batchsize",
    'CIFAR10DataModule("data", batch_sizes=3)': 'did you mean "batch_size"',
    'ImageFolderDataModule("x", view="simclr")': 'did you mean "views"',
    'STL10DataModule(augment_on="gpu")': "augment_on",
    'CIFAR100DataModule(labels_per_class="few")': "labels_per_class",
    'ImageFolderDataModule("x", on_bad_image="ignore")': "on_bad_image",
}
"""Calls that are errors of mypy's, and what it says of each; tests/methods/test_types.py runs it, once for all."""
RIGHT = 'ImageFolderDataModule("x", views="simclr", batch_size=3, seed=None)'


@pytest.mark.parametrize("name", MODULES)
def test_the_help_of_every_datamodule_describes_every_argument(name, capsys):
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(SSLDataModule, "data")
    with pytest.raises(SystemExit):
        parser.parse_args([f"--data.help=sslbolts.data.{name}"])
    shown = re.split(r"\n  --data\.", capsys.readouterr().out)[1:]
    texts = {part.split()[0].rstrip(","): re.sub(r"\(type: .*", "", " ".join(part.split()[2:])) for part in shown}
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
