"""Pages of the API reference: every public name of every room, from its docstring."""

import ast
import importlib
import inspect
import pkgutil
from typing import Any

from sphinx.pycode import ModuleAnalyzer

PUBLIC = {
    "sslbolts": "the package: methods, and the backbone out of a checkpoint",
    "sslbolts.callbacks": "monitors, pictures and teachers for any LightningModule",
    "sslbolts.data": "DataModules",
    "sslbolts.transforms": "views",
    "sslbolts.losses": "losses as functions",
    "sslbolts.evaluation": "the protocols",
    "sslbolts.readouts": "functions on features",
    "sslbolts.optim": "optimizers and schedules",
    "sslbolts.export": "files of backbones",
    "sslbolts.report": "pages of runs",
}
"""Rooms whose ``__all__`` is what users import, each on a page, and what it holds."""

PARTS: dict[str, tuple[str, list[str]]] = {
    "parts-methods": (
        "Bases of methods",
        [
            "sslbolts.batch",
            "sslbolts.methods.base",
            "sslbolts.methods.registry",
            "sslbolts.methods.host",
            "sslbolts.methods.masked.masks",
            "sslbolts.methods.pretext.base",
            "sslbolts.methods.pretext.lab",
            "sslbolts.methods.pretext.permutations",
            "sslbolts.methods.text.base",
            "sslbolts.methods.text.masking",
            "sslbolts.methods.text.sampling",
            "sslbolts.methods.text.word2vec",
            "sslbolts.checkpoints.from_checkpoint",
            "sslbolts.health",
            "sslbolts.errors",
            "sslbolts.tables",
        ],
    ),
    "parts-networks": ("Networks and heads", ["sslbolts.networks"]),
    "parts-training": ("Parts of training", ["sslbolts.training", "sslbolts.distributed"]),
    "parts-callbacks": (
        "Parts of callbacks",
        [
            "sslbolts.callbacks.shared",
            "sslbolts.callbacks.pictures.shared",
            "sslbolts.callbacks.nan_guard",
        ],
    ),
    "parts-data": (
        "Parts of data",
        [
            "sslbolts.data.arguments",
            "sslbolts.data.images",
            "sslbolts.data.items",
            "sslbolts.data.loader",
            "sslbolts.data.pixels",
            "sslbolts.data.resumable",
            "sslbolts.data.sampler",
            "sslbolts.data.splits",
            "sslbolts.data.stream",
            "sslbolts.data.stream_shares",
            "sslbolts.data.views",
            "sslbolts.data.workers",
            "sslbolts.data.frame_windows",
            "sslbolts.data.frame_sampler",
            "sslbolts.transforms.papers_of_tasks",
            "sslbolts.transforms.parameters",
            "sslbolts.transforms.corruption",
            "sslbolts.transforms.exemplars",
            "sslbolts.transforms.extras",
            "sslbolts.transforms.lab",
            "sslbolts.checks.labels",
            "sslbolts.checks.multi_hot",
        ],
    ),
    "parts-evaluation": (
        "Parts of losses, protocols and reports",
        [
            "sslbolts.losses.bag_of_words",
            "sslbolts.losses.colorization",
            "sslbolts.losses.reconstruction",
            "sslbolts.losses.semi_supervised",
            "sslbolts.readouts.assignment",
            "sslbolts.readouts.logistic",
            "sslbolts.readouts.near_duplicates",
            "sslbolts.optim.layerwise",
            "sslbolts.evaluation.detection.data",
            "sslbolts.evaluation.diagnosis.distortions",
            "sslbolts.evaluation.diagnosis.information",
            "sslbolts.evaluation.duplicates",
            "sslbolts.evaluation.features",
            "sslbolts.evaluation.few_label",
            "sslbolts.evaluation.fingerprint",
            "sslbolts.evaluation.identity",
            "sslbolts.evaluation.layers.maps",
            "sslbolts.evaluation.nearest",
            "sslbolts.evaluation.probes.heads",
            "sslbolts.evaluation.probes.on_maps",
            "sslbolts.evaluation.result",
            "sslbolts.evaluation.splits",
            "sslbolts.evaluation.transfer.linear",
            "sslbolts.evaluation.transfer.metrics",
            "sslbolts.evaluation.transfer.sets",
            "sslbolts.report.metrics",
            "sslbolts.report.run",
        ],
    ),
}
"""Pages of parts for those who extend the package: name, title, and modules or packages, of which every module."""


def modules(page: str) -> list[str]:
    """The modules of a page of parts."""
    found = []
    for name in PARTS[page][1]:
        module = importlib.import_module(name)
        below = getattr(module, "__path__", None)
        found += [name] if below is None else [info.name for info in pkgutil.iter_modules(below, f"{name}.")]
    return [name for name in found if getattr(importlib.import_module(name), "__all__", ())]


def pages() -> dict[str, str]:
    """File below docs/ -> its text."""
    seen: set[int] = set()
    found = {f"api/{room}.rst": _page(room, [room], seen) for room in PUBLIC}
    return found | {f"api/{name}.rst": _page(PARTS[name][0], modules(name), seen) for name in PARTS}


def _page(title: str, modules: list[str], seen: set[int]) -> str:
    lines = [title, "=" * len(title), ""]
    for module in modules:
        entries = []
        for name in importlib.import_module(module).__all__:
            value = getattr(importlib.import_module(module), name)
            if name.startswith("__") or (_has_docstring(value) and id(value) in seen):
                continue
            seen.add(id(value))
            entries += _entry(module, name, value)
        if entries:
            if len(modules) > 1:
                lines += [module, "-" * len(module), ""]
            no_index = ["   :no-index:"] * (len(modules) > 1)  # a function may have its module's name
            lines += [f".. automodule:: {module}", "   :no-members:", *no_index, "", *entries]
    return "\n".join(lines) + "\n"


def _entry(module: str, name: str, value: Any) -> list[str]:
    if inspect.isclass(value):
        return [f".. autoclass:: {module}.{name}", "   :members:", "   :show-inheritance:", ""]
    if inspect.isroutine(inspect.unwrap(value)):
        return [f".. autofunction:: {module}.{name}", ""]
    text = "\n".join(_said_of(module, name)).strip()
    return [f".. py:data:: {name}", f"   :module: {module}", "", *(f"   {line}" for line in text.splitlines()), ""]


def _said_of(module: str, name: str) -> list[str]:
    """The docstring below an assignment, in the module where that is."""
    analyzer = ModuleAnalyzer.for_module(module)
    analyzer.analyze()
    if said := analyzer.attr_docs.get(("", name)):
        return said
    for node in ast.walk(ast.parse(analyzer.code)):
        if isinstance(node, ast.ImportFrom) and node.module and any(alias.name == name for alias in node.names):
            return _said_of(node.module, name)
    return []


def _has_docstring(value: Any) -> bool:
    return inspect.isclass(value) or inspect.isfunction(value)
