"""Notebooks run from their first to their last cell, with what they show stored in them: ``make notebooks``."""

import argparse
import base64
import hashlib
import io
import os
from pathlib import Path
from tempfile import TemporaryDirectory

import nbformat
from nbclient import NotebookClient
from PIL import Image

HERE = Path(__file__).parent
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="of notebooks in this folder, without .ipynb; none: all")
    names = parser.parse_args(arguments).names or sorted(path.stem for path in HERE.glob("*.ipynb"))
    os.environ["OMP_NUM_THREADS"] = "1"  # sums of several threads differ in their last digits
    for name in names:
        path = HERE / f"{name}.ipynb"
        notebook = nbformat.read(path, as_version=4)
        with TemporaryDirectory() as folder:
            NotebookClient(
                notebook,
                timeout=1800,
                resources={"metadata": {"path": folder}},
                record_timing=False,
                coalesce_streams=True,
            ).execute()
        tidy(notebook)
        nbformat.write(notebook, path)
        print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB", flush=True)


def tidy(notebook: nbformat.NotebookNode) -> None:
    """Leave what a reader sees, in place, and of which cells it is.

    Raises:
        RuntimeError: if a cell has written to stderr, as a warning does.
    """
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    for cell in code:
        cell.metadata = nbformat.NotebookNode()
        for output in cell.outputs:
            if output.get("name") == "stderr":
                raise RuntimeError(f"cell {cell.execution_count} writes to stderr:\n{output.text}")
            if "image/png" in output.get("data", {}):
                output.data = nbformat.NotebookNode({"image/png": smaller(output.data["image/png"])})
                output.metadata = nbformat.NotebookNode()
    sources = "\0".join(cell.source for cell in code)
    notebook.metadata = nbformat.from_dict(METADATA | {"executed": hashlib.sha256(sources.encode()).hexdigest()})


def smaller(png: str) -> str:
    """A picture in base64, on white and in 256 colors: a third of the file, and hardly a difference to see."""
    with Image.open(io.BytesIO(base64.b64decode(png))) as drawn:
        rgba = drawn.convert("RGBA")
    white = Image.new("RGBA", rgba.size, "white")
    image = Image.alpha_composite(white, rgba).convert("RGB")
    palette = image.quantize(256, Image.Quantize.MEDIANCUT, kmeans=3, dither=Image.Dither.NONE)
    buffer = io.BytesIO()
    palette.save(buffer, "png", optimize=True)
    return base64.b64encode(buffer.getvalue()).decode()


if __name__ == "__main__":
    main()
