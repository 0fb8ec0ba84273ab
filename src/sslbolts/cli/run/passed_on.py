"""Defaults that jsonargparse does not see: of arguments that a class passes on to its base, and of optimizers."""

import inspect
from typing import Any, Unpack, get_args, get_origin

from sslbolts._lightning import lightning_module
from sslbolts.cli.shared.parser import PlainTexts
from sslbolts.optim import OptimizerCallable, OptimizerSpec

__all__ = ["Parser", "passed_on"]


class Parser(PlainTexts, lightning_module("cli").LightningArgumentParser):  # type: ignore[misc]
    """Lightning's parser, with the defaults that jsonargparse leaves out.

    They are those of ``**arguments: Unpack[TypedDict]``, and of an optimizer whose function has a setting that is no
    single word, such as ``betas=(0.9, 0.95)``: a configuration then has its class and its settings.
    """

    def add_class_arguments(self, theclass: Any, nested_key: str | None = None, *args: Any, **options: Any) -> Any:
        """See ``jsonargparse.ArgumentParser.add_class_arguments``."""
        added = super().add_class_arguments(theclass, nested_key, *args, **options)
        prefix = f"{nested_key}." if nested_key else ""
        known = passed_on(theclass) | _optimizers(theclass)
        defaults = {f"{prefix}{name}": value for name, value in known.items()}
        self.set_defaults({name: value for name, value in defaults.items() if name in added})
        return added

    def save(self, namespace: Any, path: Any, *, skip_none: bool = True, **options: Any) -> None:
        """See ``jsonargparse.ArgumentParser.save``; what this parser has read is not checked again."""
        super().save(namespace, path, skip_unset=skip_none, skip_validation=True, **options)


def _optimizers(cls: type) -> dict[str, Any]:
    """Name and description of each default that makes an optimizer by a function with more than words and numbers."""
    own = inspect.signature(cls.__init__).parameters  # type: ignore[misc]
    functions = {name: p.default for name, p in own.items() if p.annotation == OptimizerCallable}
    briefs = {name: OptimizerSpec(make).brief for name, make in functions.items() if inspect.isfunction(make)}
    return {name: found for name, found in briefs.items() if any(map(_is_many, found["init_args"].values()))}


def _is_many(value: Any) -> bool:
    return isinstance(value, list | tuple)


def passed_on(cls: type) -> dict[str, Any]:
    """Name and default of each argument that a constructor takes as a key of a TypedDict and passes on to a base.

    Example:
        >>> from typing import TypedDict
        >>> class Size(TypedDict, total=False):
        ...     height: int
        >>> class Sheet:
        ...     def __init__(self, *, height: int = 4): ...
        >>> class Table(Sheet):
        ...     def __init__(self, title: str, **size: Unpack[Size]): ...
        >>> passed_on(Table)
        {'height': 4}
    """
    own, *bases = [inspect.signature(base.__init__).parameters for base in inspect.getmro(cls)]  # type: ignore[misc]
    keys = [
        key
        for p in own.values()
        if get_origin(p.annotation) is Unpack
        for key in get_args(p.annotation)[0].__annotations__
    ]
    known = {name: p.default for parameters in reversed(bases) for name, p in parameters.items()}
    return {key: known[key] for key in keys if known.get(key, inspect.Parameter.empty) is not inspect.Parameter.empty}
