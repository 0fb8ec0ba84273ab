"""One line for what jsonargparse says of a mistake, as it says it today."""

import os
from typing import Any, Literal

import pytest
from jsonargparse import ActionConfigFile

from sslbolts._lightning import Callback
from sslbolts.cli.shared.explain import cause_of
from sslbolts.cli.shared.parser import Parser
from sslbolts.errors import UsageError


class Net:
    """A network."""

    def __init__(self, width: int, *, scale: float | None = None, stem: Literal["small", "large"] = "small") -> None:
        self.width = width


def parser() -> Parser:
    made = Parser("x")
    made.add_argument("--config", action=ActionConfigFile)
    made.add_argument("--steps", type=int, default=1)
    made.add_argument("--k", type=int, nargs="+", default=[1])
    made.add_argument("--metric", type=Literal["cosine", "euclidean"], nargs="+", default=["cosine"])
    made.add_argument("--precision", type=Literal["16", "bf16"] | int | None, default=None)
    made.add_argument("--callbacks", type=list[Callback] | Callback | None, default=None)
    made.add_subclass_arguments(Net, "net", required=False)
    made.add_argument("--optimizer", type=type | None, default=None)
    return made


NET = f"--net={__name__}.Net"


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--step=3"], 'there is no option "--step". Did you mean "--steps"? Add --help for a list.'),
        (["--net.width=3", "--zzz"], 'there is no option "--zzz". Add --help for a list.'),
        (["--steps=many"], 'steps: expected an integer, got "many".'),
        (["--k", "5", "many"], 'k: expected an integer, got "many".'),
        (["--metric=cosin"], 'metric: expected one of cosine, euclidean, got "cosin". Did you mean "cosine"?'),
        (["--precision=bf61"], 'precision: expected one of 16, bf16, got "bf61". Did you mean "bf16"?'),
        ([NET, "--net.widht=3"], 'Net has no argument "widht". Did you mean "width"?'),
        ([NET, "--net.width=wide"], 'net.width: expected an integer, got "wide".'),
        ([NET, "--net.width=3", "--net.scale=big"], 'net.scale: expected a number, got "big".'),
        (
            [NET, "--net.width=3", "--net.stem=smal"],
            'net.stem: expected one of small, large, got "smal". Did you mean "small"?',
        ),
        (["--net=somebodys.Net"], "net: there is no class somebodys.Net."),
        (
            ["--net=collections.Ordereddict"],
            'net: there is no class collections.Ordereddict. Did you mean "OrderedDict"?',
        ),
        (["--callbacks=KNMonitor"], 'callbacks: there is no class KNMonitor. Did you mean "KNNMonitor"?'),
        (
            ["--callbacks=sslbolts.callbacks.KNNMonitor", "--callbacks.temprature=1"],
            'KNNMonitor has no argument "temprature". Did you mean "temperature"?',
        ),
        (
            ["--callbacks=sslbolts.callbacks.KNNMonitor", "--callbacks.k=abc"],
            'callbacks.k: expected an integer or a list, got "abc".',
        ),
        (["--config={folder}/unknown.yaml"], 'the configuration has an unknown key "stepz". Did you mean "steps"?'),
    ],
)
def test_a_mistake_is_one_line(arguments: list[str], line: str, tmp_path: Any) -> None:
    (tmp_path / "unknown.yaml").write_text("stepz: 3\n")
    with pytest.raises(UsageError) as raised:
        parser().parse([argument.replace("{folder}", str(tmp_path)) for argument in arguments])
    assert str(raised.value) == line


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([NET], "width"),
        (["--config={folder}/nowhere.yaml"], "nowhere.yaml"),
        (["--config={folder}/broken.yaml"], "line 1, column 8"),
        (["--config={folder}/list.yaml"], "- SimCLR"),
    ],
)
def test_what_the_library_says_well_stays_on_one_line(arguments: list[str], words: str, tmp_path: Any) -> None:
    (tmp_path / "broken.yaml").write_text("model: [SimCLR\n")
    (tmp_path / "list.yaml").write_text("- SimCLR\n")
    with pytest.raises(UsageError) as raised:
        parser().parse([argument.replace("{folder}", str(tmp_path)) for argument in arguments])
    assert words in str(raised.value)
    assert os.linesep not in str(raised.value)
    assert "Union" not in str(raised.value)


def test_the_cause_of_an_error_is_found() -> None:
    error = ValueError("outer")
    error.__cause__ = UsageError("inner")
    assert str(cause_of(error, UsageError)) == "inner"
