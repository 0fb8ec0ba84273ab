"""Streams of other libraries that unpickle nothing, since whoever has written a shard could then run code here."""

import copy
import re
from collections.abc import Iterator
from importlib import import_module
from typing import Any

from sslbolts.errors import UsageError

__all__ = ["raised_in_one_line", "without_pickles"]

_IN_TAR = ("pkl", "pickle", "pyd", "pth")  # endings of fields that webdataset unpickles
_IN_CHUNKS = ("pickle", "graph")  # kinds of values that litdata unpickles


def without_pickles(stream: Any) -> Any:
    """The same stream, or a copy that refuses an item with something pickled in it.

    What the user has given for such a field stays as it is: a decoder of webdataset, a serializer of litdata.

    Args:
        stream: of any library.

    Example:
        >>> without_pickles([3, 4])
        [3, 4]
    """
    package = next((p for kind in type(stream).__mro__ if (p := kind.__module__.partition(".")[0]) in _CURES), None)
    return stream if package is None else _CURES[package](stream)


def raised_in_one_line(items: Iterator[Any]) -> Iterator[Any]:
    """The items of a stream; a UsageError that its library has put into an error of its own is raised itself."""
    try:
        yield from items
    except Exception as error:
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, UsageError):
            cause = cause.__cause__
        if cause is None or cause is error:
            raise
        raise cause from error


def _of_webdataset(stream: Any) -> Any:
    stream = copy.copy(stream)
    stream.pipeline = [_stage(stage) for stage in getattr(stream, "pipeline", ())]
    return stream


def _stage(stage: Any) -> Any:
    """A part of a pipeline: another pipeline, a function with arguments of which one may be a decoder, or anything."""
    autodecode: Any = import_module("webdataset.autodecode")
    if hasattr(stage, "pipeline"):
        return _of_webdataset(stage)
    if not any(isinstance(argument, autodecode.Decoder) for argument in getattr(stage, "args", ())):
        return stage
    stage, given = copy.copy(stage), stage.args
    stage.args = tuple(copy.copy(one) if isinstance(one, autodecode.Decoder) else one for one in given)
    for decoder in (one for one in stage.args if isinstance(one, autodecode.Decoder)):
        decoder.handlers = [_plain_fields if one is autodecode.basichandlers else one for one in decoder.handlers]
    return stage


def _plain_fields(key: str, data: bytes) -> Any:
    """What webdataset makes of a field by its name, if it is not pickled."""
    ending = re.sub(r".*[.]", "", key)
    if ending in _IN_TAR:
        raise UsageError(
            f'a field "{key}" of a tar file would be unpickled, which runs what stands in it: leave such fields out '
            '(.decode(..., only=["jpg", "cls"])), or, where you trust the files, give .decode a handler of it.'
        )
    return import_module("webdataset.autodecode").basichandlers(key, data)


def _of_litdata(stream: Any) -> Any:
    stream = copy.copy(stream)
    if hasattr(stream, "_datasets"):  # several, mixed
        stream._datasets = [without_pickles(one) for one in stream._datasets]  # noqa: SLF001
        return stream
    refused = {kind: _Refused() for kind in _IN_CHUNKS}
    stream.serializers = {**refused, **(getattr(stream, "serializers", None) or {})}
    return stream


class _Refused:
    """In place of a serializer of litdata."""

    def setup(self, metadata: Any) -> None:
        """Nothing to do."""

    def can_serialize(self, item: Any) -> bool:
        """False for every item: it reads alone."""
        return False

    def deserialize(self, data: bytes) -> Any:
        raise UsageError(
            "a value in a chunk of litdata would be unpickled, which runs what stands in it: write numbers, texts, "
            "arrays and images alone, or, where you trust the files, give the StreamingDataset serializers= with one "
            'for "pickle".'
        )


_CURES = {"webdataset": _of_webdataset, "litdata": _of_litdata}
