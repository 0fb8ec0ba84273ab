"""Sphinx extension of this site: pages and tables made from the package, with which they cannot disagree."""

from pathlib import Path
from typing import Any

from _extension import api, benchmarks, methods, navigation, references

DOCS = Path(__file__).parents[1]


def setup(app: Any) -> dict[str, bool]:
    """What sphinx calls."""
    app.connect("builder-inited", _write_pages)
    references.setup(app)
    navigation.setup(app)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _write_pages(app: Any) -> None:
    pages: dict[str, str | bytes] = {**api.pages(), **methods.pages(), **benchmarks.pages()}
    for name, content in pages.items():
        path = DOCS / name
        data = content.encode() if isinstance(content, str) else content
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or path.read_bytes() != data:  # an unchanged page is not read again
            path.write_bytes(data)
