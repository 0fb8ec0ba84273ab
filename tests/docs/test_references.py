"""Names in docstrings: each leads to something that exists, documented on the site or not."""

import ast
import importlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

SRC = Path(__file__).parents[2] / "src"
ROLE = re.compile(r":(?:class|func|meth|data|attr|mod|exc|obj):`(?:[^`<]*<)?~?([\w.]+)>?`")
PUBLIC = ("sslbolts", "sslbolts.export", "sslbolts.errors")  # what a docstring names without importing it
NOTHING = object()


def in_strings(node: ast.AST, cls: str = "") -> Iterator[tuple[str, str]]:
    """Innermost class and target of every reference below a node."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Constant) and isinstance(child.value, str):
            yield from ((cls, target) for target in ROLE.findall(child.value))
        yield from in_strings(child, child.name if isinstance(child, ast.ClassDef) else cls)


def references() -> set[tuple[str, str, str]]:
    """Module, class and target of every reference in a docstring."""
    wanted = set()
    for path in SRC.rglob("*.py"):
        module = ".".join(path.relative_to(SRC).with_suffix("").parts).removesuffix(".__init__")
        if ROLE.search(text := path.read_text()):
            wanted |= {(module, cls, target) for cls, target in in_strings(ast.parse(text))}
    return wanted


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
    wanted = references()
    assert len(wanted) > 150
    lost = [
        f"{module}: {target}"
        for module, cls, target in sorted(wanted)
        if not any(found(f"{place}.{target}") for place in (module, f"{module}.{cls}", *PUBLIC) if place)
        and not found(target)
    ]
    assert not lost, "\n".join(lost)
