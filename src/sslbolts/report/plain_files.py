"""YAML and JSON files as plain values of a bounded size: a run's folder may be a stranger's."""

import json
from pathlib import Path
from typing import Any

__all__ = ["load_json", "load_yaml"]

_DEEPEST, _MOST_PARTS = 60, 100_000


def load_yaml(path: Path) -> Any:
    """The values of a YAML file; an object of Python becomes its text, its list or its mapping.

    Raises:
        ValueError: if it cannot be parsed, or is too large.
    """
    import yaml  # type: ignore[import-untyped]

    class Loader(yaml.SafeLoader):
        pass

    def plain(loader: Any, _: str, node: Any) -> Any:
        if isinstance(node, yaml.SequenceNode):
            return loader.construct_sequence(node, deep=True)
        if isinstance(node, yaml.MappingNode):
            return loader.construct_mapping(node, deep=True)
        return loader.construct_scalar(node)

    Loader.add_multi_constructor("", plain)
    try:
        return _bounded(yaml.load(path.read_text(encoding="utf-8"), Loader=Loader))  # a SafeLoader
    except (yaml.YAMLError, TypeError, RecursionError) as error:
        raise ValueError(str(error) or type(error).__name__) from error


def load_json(path: Path) -> Any:
    """The values of a JSON file.

    Raises:
        ValueError: if it cannot be parsed, or is too large.
    """
    try:
        return _bounded(json.loads(path.read_text(encoding="utf-8")))
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error


def _bounded(value: Any) -> Any:
    """The value as a tree of its own, if it can be one: parts of a YAML file may contain themselves and each other.

    Raises:
        ValueError: if it is nested too deep, or has too many parts.
    """
    left = _MOST_PARTS

    def copied(part: Any, depth: int) -> Any:
        nonlocal left
        left -= 1
        if depth > _DEEPEST or left < 0:
            raise ValueError("it is nested too deep" if left >= 0 else "it has too many parts")
        if isinstance(part, dict):
            return {key: copied(item, depth + 1) for key, item in part.items()}
        return [copied(item, depth + 1) for item in part] if isinstance(part, list | tuple) else part

    return copied(value, 0)
