"""Files of a run's folder, which may be a stranger's: no links out of it, and plain values of a bounded size."""

import json
import os
from pathlib import Path
from typing import Any

from sslbolts.checks import read_regular

__all__ = ["load_json", "load_yaml", "read_inside", "refuse_link_out"]

_DEEPEST, _MOST_PARTS = 60, 100_000
_MOST_BYTES = {"yaml": 2**20, "json": 2**24}  # YAML takes seconds per MB


def refuse_link_out(folder: Path, path: Path) -> None:
    """Refuse a file that is reached in a folder and lies elsewhere: a page would show it to whoever gets the page.

    Raises:
        OSError: if it does.
    """
    if not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder)):
        raise OSError(f"{path.name} is a link out of the run's folder")


def read_inside(folder: Path, path: Path, largest: int) -> bytes:
    """The content of a regular file in a folder.

    Args:
        folder: of the run.
        path: of the file.
        largest: bytes that it may have.

    Raises:
        OSError: if it is none, is larger, or lies elsewhere.
    """
    refuse_link_out(folder, path)
    return read_regular(path, largest)


def load_yaml(folder: Path, path: Path) -> Any:
    """The values of a YAML file in a folder; an object of Python becomes its text, its list or its mapping.

    Raises:
        OSError: as :func:`read_inside` does.
        ValueError: if it cannot be parsed, or has too many parts.
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
    text = read_inside(folder, path, _MOST_BYTES["yaml"]).decode()
    try:
        return _bounded(yaml.load(text, Loader=Loader))  # a SafeLoader
    except (yaml.YAMLError, TypeError, RecursionError) as error:
        raise ValueError(str(error) or type(error).__name__) from error


def load_json(folder: Path, path: Path) -> Any:
    """The values of a JSON file in a folder.

    Raises:
        OSError: as :func:`read_inside` does.
        ValueError: if it cannot be parsed, or has too many parts.
    """
    try:
        return _bounded(json.loads(read_inside(folder, path, _MOST_BYTES["json"]).decode()))
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
