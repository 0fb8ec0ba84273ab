"""Mistakes in arguments of methods and DataModules that a type checker finds, before anything runs."""

import os
import re
import subprocess
import sys
from pathlib import Path

from sslbolts import METHODS
from tests.data.test_typed import RIGHT, WRONG

REPOSITORY = Path(__file__).parents[2]

MISTAKES = {
    'SimCLR("resnet18", warmup_epoch=3)': 'did you mean "warmup_epochs"',
    'SimCLR("resnet18", stem="cfar")': "incompatible type \"Literal['cfar']\"",
    "SimCLR(optimiser=None)": 'did you mean "optimizer"',
    'SimCLR(temperature="low")': 'expected "float"',
    "DINO(in_chan=1)": 'did you mean "in_chans"',
    **{f"{name}(nonsense=1)": 'keyword argument "nonsense"' for name in METHODS},
    **WRONG,
}
"""Calls, and what is said of each."""


def test_misspelt_and_mistyped_arguments_are_errors_and_right_ones_are_not(tmp_path):
    calls = tmp_path / "calls.py"
    imports = [f"from sslbolts import {', '.join(METHODS)}", "from sslbolts.data import *"]
    calls.write_text("\n".join([*imports, *MISTAKES, RIGHT, ""]))
    command = [sys.executable, "-m", "mypy", "--hide-error-context", "--no-error-summary", str(calls)]
    environment = {**os.environ, "MYPYPATH": str(REPOSITORY / "src")}
    said = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True).stdout
    errors = dict(re.findall(r"calls\.py:(\d+): error: (.*)", said))
    for line, (call, words) in enumerate(MISTAKES.items(), start=len(imports) + 1):
        assert words in errors.get(str(line), ""), f"{call}: {errors.get(str(line), 'no error')}"
    assert said.count("error:") == len(MISTAKES), said
