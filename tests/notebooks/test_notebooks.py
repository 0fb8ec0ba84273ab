"""Every notebook runs from its first to its last cell, cut to one epoch on a tenth of the images."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))

BETWEEN = """
%reset -f
import pytest, tests.helpers.few_images
tests.helpers.few_images.use_few_images(pytest.MonkeyPatch(), train=500)
del pytest, tests
"""


@pytest.fixture(scope="module")
def kernel(tmp_path_factory):
    """One process for all of them: starting it and importing torch takes longer than most notebooks."""
    manager = pytest.importorskip("jupyter_client").KernelManager(kernel_name="python3")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(ROOT), prepend=":")
        patch.setenv("OMP_NUM_THREADS", "1")  # threads of two processes would wait for each other
        manager.start_kernel(cwd=str(tmp_path_factory.mktemp("notebooks")))
    yield manager
    manager.shutdown_kernel(now=True)


@pytest.mark.parametrize(
    "path",
    [pytest.param(path, marks=pytest.mark.slow) if path.stem == "evaluate" else path for path in NOTEBOOKS],
    ids=lambda path: path.stem,
)
def test_notebook_runs(path, kernel):
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    notebook = nbformat.read(path, as_version=4)
    shortened = 0
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.source, count = re.subn(r"^max_epochs = \d+", "max_epochs = 1", cell.source, flags=re.MULTILINE)
            shortened += count
    assert shortened == 1, "a notebook says in one place how long it trains: max_epochs = N"
    notebook.cells.insert(0, nbformat.v4.new_code_cell(BETWEEN))
    nbclient.NotebookClient(notebook, km=kernel, timeout=300).execute()
    pictures = sum(
        "image/png" in output.get("data", {})
        for cell in notebook.cells
        if cell.cell_type == "code"
        for output in cell.outputs
    )
    assert pictures >= 1
