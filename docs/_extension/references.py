"""References to where a thing is defined, led to where it is documented.

A docstring names ``sslbolts.losses.contrastive.nt_xent``, or ``nt_xent``, which its own module imports, and the
reference has ``sslbolts.losses.nt_xent``; ``forward`` of a method is that of the base which defines it.
"""

import importlib
import re
from collections.abc import Iterator
from typing import Any

from docutils import nodes

from _extension import api
from _extension.formulas import in_docstring

ARXIV = re.compile(r"arXiv:(\d{4}\.\d{4,5})")


def setup(app: Any) -> None:
    app.connect("missing-reference", _resolve)
    app.connect("autodoc-process-docstring", _link_papers)
    app.connect("autodoc-process-docstring", _break_formulas)


def _link_papers(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Makes links of arXiv ids, where no line of code has them."""
    for number, line in enumerate(lines):
        if ">>>" not in line and "``" not in line:
            lines[number] = ARXIV.sub(r"`arXiv:\1 <https://arxiv.org/abs/\1>`__", line)


def _break_formulas(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    lines[:] = in_docstring(lines)


def _resolve(app: Any, env: Any, node: Any, contnode: nodes.Node) -> nodes.Node | None:
    target = node.get("reftarget", "")
    if node.get("refdomain") != "py":
        return None
    current, cls = node.get("py:module") or "sslbolts", node.get("py:class")
    objects = env.get_domain("py").objects
    if target in SECTIONS:
        address = app.builder.get_relative_uri(node["refdoc"], SECTIONS[target]) + f"#{target.replace('.', '-')}"
        return nodes.reference("", "", contnode, internal=True, refuri=address)
    for name in (target, f"{current}.{target}", f"{current}.{cls}.{target}", *UNIQUE.get(target, ())):
        for public in _public(name):
            if (found := objects.get(public)) is not None:
                address = app.builder.get_relative_uri(node["refdoc"], found.docname) + f"#{found.node_id}"
                return nodes.reference("", "", contnode, internal=True, refuri=address)
    return None


def _public(target: str) -> Iterator[str]:
    """Names under which a thing may be documented that is named by where it is defined, or by who inherits it."""
    parts = target.split(".")
    for cut in range(len(parts), 0, -1):
        try:
            value: Any = importlib.import_module(".".join(parts[:cut]))
        except ImportError:
            continue
        for index, part in enumerate(parts[cut:], cut):
            value = getattr(value, part, None)
            for owner in getattr(value, "__mro__", (value,)):
                if name := DOCUMENTED.get(id(owner)):
                    yield ".".join([name, *parts[index + 1 :]])
        return


def _documented() -> dict[int, str]:
    found: dict[int, str] = {}
    for module in [*api.PUBLIC, *(module for page in api.PARTS for module in api.modules(page))]:
        imported = importlib.import_module(module)
        for name in imported.__all__:
            value = getattr(imported, name)
            if not isinstance(value, str | int | float | None):
                found.setdefault(id(value), f"{module}.{name}")
    return found


DOCUMENTED = _documented()
SECTIONS = {module: f"api/{page}" for page in api.PARTS for module in api.modules(page)}
UNIQUE: dict[str, tuple[str, ...]] = {}
for _name in DOCUMENTED.values():
    _short = _name.rpartition(".")[2]
    UNIQUE[_short] = () if _short in UNIQUE else (_name,)
