"""A room of the package imports only from the floors below it: the contracts in pyproject.toml."""

import subprocess
import sys
from pathlib import Path

import pytest


def test_no_module_imports_from_a_higher_floor():
    pytest.importorskip("importlinter")
    repository = Path(__file__).parent.parent
    program = "from importlinter.cli import lint_imports; import sys; sys.exit(lint_imports(no_cache=True))"
    outcome = subprocess.run([sys.executable, "-c", program], cwd=repository, capture_output=True, text=True)
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
