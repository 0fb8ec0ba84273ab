"""HTML and SVG, written so that no text can become markup."""

from html import escape
from typing import Any

__all__ = ["Markup", "join", "tag"]

_EMPTY = {"br", "img", "link", "meta", "wbr"}


class Markup(str):
    """Text that is markup already; any other text is escaped."""


def tag(name: str, /, *children: Any, **attributes: Any) -> Markup:
    """An element.

    Args:
        name: of the element.
        children: elements or texts, which are escaped; None is left out.
        attributes: ``class_`` is class, ``_`` within a name is ``-``; None and False are left out, True has no value.

    Example:
        >>> tag("p", "a < b", tag("b", "bold"), class_="note")
        '<p class="note">a &lt; b<b>bold</b></p>'
    """
    written = "".join(
        f" {key.rstrip('_').replace('_', '-')}" + ("" if value is True else f'="{escape(str(value))}"')
        for key, value in attributes.items()
        if value is not None and value is not False
    )
    return Markup(f"<{name}{written}>" + ("" if name in _EMPTY and not children else f"{join(*children)}</{name}>"))


def join(*parts: Any) -> Markup:
    """Parts after each other, texts escaped.

    Example:
        >>> join("1 < 2", None, tag("br"))
        '1 &lt; 2<br>'
    """
    return Markup("".join(p if isinstance(p, Markup) else escape(str(p), quote=False) for p in parts if p is not None))
