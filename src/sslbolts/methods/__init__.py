"""The methods: one file, one paper, grouped as the field groups them. Each is imported when it is asked for."""

from typing import Any

from sslbolts.methods.registry import METHODS, Method, get_method

__all__ = ["METHODS", "Method", "SSLModule", "get_method", *METHODS]


def __getattr__(name: str) -> Any:
    if name in METHODS:
        return get_method(name)
    if name == "SSLModule":
        from sslbolts.methods.base import SSLModule

        return SSLModule
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
