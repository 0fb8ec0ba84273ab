"""Texts without the passwords and keys that may be in them."""

import re
from typing import Any

__all__ = ["redact"]

_HIDDEN = "***"
_SECRET = r"(?:\w*(?:api|access|private|secret)[_-]?key|\w*secrets?|\w*passw(?:or)?d|\w*credentials?|(?:\w*[_-])?token)"
# The name at the end of an option (--a.b.api_key), of a key in JSON or YAML ("api_key": ...), or of a variable.
_ASSIGNED = re.compile(rf"(?i)(\b{_SECRET}\b[\"']?\s*[=:]\s*[\"']?)([^\s\"',;}}]+)")
_OPTION = re.compile(rf"(?i)^-+(?:[\w-]+\.)*{_SECRET}$")
_KEY = re.compile(rf"(?i)^{_SECRET}$")
_ADDRESS = re.compile(r"(\w+://)[^\s/@]+@")  # scheme://user:password@host


def redact(value: Any) -> Any:
    """The same text, list or mapping with ``***`` for what is named like a password, and for logins in addresses.

    Args:
        value: a text; a command line, one argument after the other; or a configuration of plain types.

    Example:
        >>> redact(["fit", "--trainer.logger.api_key=123abc", "--token", "456", "--data.seed=3"])
        ['fit', '--trainer.logger.api_key=***', '--token', '***', '--data.seed=3']
        >>> redact({"logger": {"password": "x", "url": "https://me:x@host/path"}})
        {'logger': {'password': '***', 'url': 'https://***@host/path'}}
    """
    if isinstance(value, str):
        return _ADDRESS.sub(rf"\1{_HIDDEN}@", _ASSIGNED.sub(rf"\1{_HIDDEN}", value))
    if isinstance(value, dict):
        return {
            key: _HIDDEN if _KEY.match(str(key)) and isinstance(item, str) and item else redact(item)
            for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        before = [None, *value]
        return [
            _HIDDEN if isinstance(last, str) and _OPTION.match(last) and isinstance(item, str) else redact(item)
            for last, item in zip(before, value)
        ]
    return value
