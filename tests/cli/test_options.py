"""Options of the verbs that judge a network: those of the functions that do it."""

import inspect

import pytest

from sslbolts import evaluation
from sslbolts.cli import main
from sslbolts.cli.evaluate import PROTOCOLS

COMMANDS = [*(["evaluate", name] for name in PROTOCOLS), ["transfer"], ["detect"], ["diagnose"]]
FUNCTIONS = {"transfer": "evaluate_transfer", "detect": "evaluate_detection", "diagnose": "diagnose"}
OF_PYTHON = {"encoder", "data", "trainer", "progress", "rows_file", "penalties"}
"""Arguments that no command has."""


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_argument_has_an_option_that_help_explains_without_markup(command, capsys):
    assert main([*command, "--help"]) == 0
    shown = capsys.readouterr().out
    name = command[-1]
    function = getattr(evaluation, PROTOCOLS[name].function if name in PROTOCOLS else FUNCTIONS[name])
    without = OF_PYTHON | ({"test"} if name != "detect" else set()) | ({"rows"} if name == "finetune" else set())
    for argument, parameter in inspect.signature(function).parameters.items():
        if argument not in without and parameter.kind is not parameter.VAR_KEYWORD:
            assert f"--{argument} " in shown or f"--{argument}\n" in shown, argument
    assert not any(markup in shown for markup in (":func:", ":data:", ":class:", "``", "_SETTINGS", "_SETS"))


@pytest.mark.parametrize(
    ("command", "options"),
    [
        (["evaluate", "linear"], ["epochs", "batch_size", "weight_decay", "norm", "lr"]),
        (["evaluate", "mlp"], ["epochs", "batch_size", "weight_decay", "norm", "lr"]),
        (["evaluate", "few-label"], ["epochs", "lr"]),
        (
            ["evaluate", "finetune"],
            ["epochs", "lr", "head_lr", "weight_decay", "layer_decay", "warmup_epochs", "mixup", "cutmix", "drop_path"],
        ),
        (["detect"], ["lr", "image_size", "train_sizes", "anchor_sizes", "layers", "width", "frozen_norm"]),
    ],
)
def test_settings_and_the_detector_have_options_too(command, options, capsys):
    assert main([*command, "--help"]) == 0
    shown = capsys.readouterr().out
    assert [name for name in options if f"--{name} " not in shown] == []
    assert "--source" not in shown
