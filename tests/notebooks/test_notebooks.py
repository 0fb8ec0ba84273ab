"""Every notebook runs from its first to its last cell, cut to one epoch."""

import re
from pathlib import Path

import pytest

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs(path, tmp_path, monkeypatch):
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    notebook = nbformat.read(path, as_version=4)
    shortened = 0
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.source, count = re.subn(r"^max_epochs = \d+", "max_epochs = 1", cell.source, flags=re.MULTILINE)
            shortened += count
    assert shortened == 1, "a notebook says in one place how long it trains: max_epochs = N"
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # as for the tests: threads of two processes would wait for each other
    nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": tmp_path}}).execute()
    pictures = sum(
        "image/png" in output.get("data", {})
        for cell in notebook.cells
        if cell.cell_type == "code"
        for output in cell.outputs
    )
    assert pictures >= 1
