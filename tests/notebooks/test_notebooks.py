"""Every notebook runs, cut to one epoch on a tenth of the images, and what it shows is stored in it.

``make notebooks`` runs them as they stand and stores what they show.
"""

import hashlib
import json
import re
from pathlib import Path
from typing import Any

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


def shown(cell: dict[str, Any]) -> list[str]:
    """The kinds of what a cell shows, in order: a stream, a picture, a value."""
    kinds = []
    for output in cell["outputs"]:
        data = output.get("data", {})
        kinds.append("picture" if "image/png" in data else "value" if data else output["output_type"])
    return kinds


def text_of(output: dict[str, Any]) -> str:
    """Its characters: a stream's, an error's and a value's; not a picture's."""
    texts = [output.get("text", ""), *output.get("traceback", ""), output.get("data", {}).get("text/plain", "")]
    return "".join("".join(text) for text in texts)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_shows_what_its_cells_gave_as_they_stand(path):
    notebook = json.loads(path.read_text())
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    sources = "\0".join("".join(cell["source"]) for cell in cells)
    assert notebook["metadata"]["executed"] == hashlib.sha256(sources.encode()).hexdigest(), "make notebooks"
    assert any("picture" in shown(cell) for cell in cells)
    assert path.stat().st_size < 400_000


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_what_it_shows_is_neither_a_warning_nor_a_bar_nor_of_a_machine(path):
    for cell in json.loads(path.read_text())["cells"]:
        for output in cell.get("outputs", ()):
            assert output.get("name") != "stderr"
            assert output["output_type"] != "error"
            found = re.search(r"(?i)warning|it/s|\d%\||/(tmp|home|root|usr)/|traceback|\r", text_of(output))
            assert found is None, text_of(output)


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
    stored = [shown(cell) for cell in notebook.cells if cell.cell_type == "code"]
    notebook.cells.insert(0, nbformat.v4.new_code_cell(BETWEEN))
    nbclient.NotebookClient(notebook, km=kernel, timeout=300, coalesce_streams=True).execute()
    assert [shown(cell) for cell in notebook.cells[1:] if cell.cell_type == "code"] == stored
