"""Names in docstrings: each leads to something that exists, documented on the site or not."""

import ast
import importlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

SRC = Path(__file__).parents[2] / "src"
ROLE = re.compile(r":(?:class|func|meth|data|attr|mod|exc|obj):`(?:[^`<]*<)?~?([\w.]+)>?`")
NOTHING = object()


def references() -> Iterator[tuple[str, str | None, str]]:
    """Module, class and target of every reference in a docstring."""
    for path in sorted(SRC.rglob("*.py")):
        module = ".".join(path.relative_to(SRC).with_suffix("").parts).removesuffix(".__init__")
        text = path.read_text()
        if not ROLE.search(text):
            continue
        tree = ast.parse(text)
        for node in ast.walk(tree):
            cls = node.name if isinstance(node, ast.ClassDef) else None
            for said in ast.walk(node) if cls else ast.iter_child_nodes(node):
                if isinstance(said, ast.Constant) and isinstance(said.value, str):
                    yield from ((module, cls, target) for target in ROLE.findall(said.value))
        in_classes = {
            id(below) for node in ast.walk(tree) if isinstance(node, ast.ClassDef) for below in ast.walk(node)
        }
        for said in ast.walk(tree):
            if id(said) not in in_classes and isinstance(said, ast.Constant) and isinstance(said.value, str):
                yield from ((module, None, target) for target in ROLE.findall(said.value))


def found(target: str) -> bool:
    """True if a dotted name is a module, or something in one."""
    parts = target.split(".")
    for cut in range(len(parts), 0, -1):
        try:
            value: Any = importlib.import_module(".".join(parts[:cut]))
        except ImportError:
            continue
        for part in parts[cut:]:
            annotated = part in getattr(value, "__annotations__", {})
            value = getattr(value, part, None if annotated else NOTHING)
        return value is not NOTHING
    return False


def test_every_reference_in_a_docstring_leads_somewhere():
    wanted = sorted({(module, cls or "", target) for module, cls, target in references()})
    assert len(wanted) > 150
    lost = [
        f"{module}: {target}"
        for module, cls, target in wanted
        if not any(found(name) for name in (f"{module}.{target}", f"{module}.{cls}.{target}", target))
    ]
    assert not lost, "\n".join(lost)
