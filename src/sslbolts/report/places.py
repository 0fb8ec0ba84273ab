"""Texts for strangers: without secrets, and without the folders, machines and people of where they were made."""

import getpass
import os
import re
import shlex
import socket
from contextlib import suppress
from pathlib import Path

from sslbolts.callbacks.shared.redaction import redact, redact_command

__all__ = ["public", "public_command"]

_PLACE = "PLACE"
# Networks and weights by the name of their library are no places.
_LIBRARIES = r"(?:timm|torchvision|sslbolts|hf:/?)/"
_ADDRESS = re.compile(r"[A-Za-z][\w+.-]*://[^\s\"',;)\]}]+")
_PATH = re.compile(
    rf"(?<![\w/.\\~-])(?!{_LIBRARIES})"
    r"(?:[A-Za-z]:[\\/]|\\\\|~[\w.-]*[\\/]|(?:[\w.@+%-]+[\\/])+|[\\/])[^\s\"',;:)\]}]*"
)
_MACHINE = re.compile(r"[\w.+-]+@[\w.-]+|\b\d{1,3}(?:\.\d{1,3}){3}(?::\d+)?\b")
_NAMES_A_PLACE = re.compile(  # the last word of an option
    r"(?i)(?:^|[._-])(?:root|roots|dir|dirpath|folder|path|file|filename|output|host|hostname|addr|address|url|uri|"
    r"endpoint|user|username|entity|project|team|email|experiment_name|run_name|config)$"
)


def public(text: str, name: str = "") -> str:
    """A text as a stranger may see it.

    Passwords and keys become ``***``, and paths, addresses, and names of this machine and of whoever is logged in
    ``PLACE``.

    Args:
        text: any.
        name: of the setting that it is the value of; one that names a place has nothing else.

    Example:
        >>> public("read from /home/jane/plants, trained with timm/resnet50 at 3/4 of the epochs")
        'read from PLACE, trained with timm/resnet50 at 3/4 of the epochs'
        >>> public("plants", "data.root"), public("resnet50", "model.backbone")
        ('PLACE', 'resnet50')
    """
    if name and text and _NAMES_A_PLACE.search(name):
        return _PLACE
    text = str(redact(text))
    text = _ADDRESS.sub(lambda found: found[0] if found[0].startswith("hf://") else _PLACE, text)
    text = _PATH.sub(lambda found: found[0] if re.fullmatch(r"\d+/\d+", found[0]) else _PLACE, text)
    text = _MACHINE.sub(_PLACE, text)
    for word in _of_this_machine():
        text = re.sub(rf"(?i)(?<![\w-]){re.escape(word)}(?![\w-])", _PLACE, text)
    return text


def public_command(command: str) -> str:
    """A line of a shell as a stranger may see it; see :func:`public`.

    Example:
        >>> public_command("sslbolts fit --model SimCLR --data.root photos --trainer.max_epochs=3 --config /a/b.yaml")
        'sslbolts fit --model SimCLR --data.root PLACE --trainer.max_epochs=3 --config PLACE'
    """
    command = redact_command(command)
    try:
        arguments = shlex.split(command)
    except ValueError:  # a quote that is not closed
        return public(command)
    shown = []
    for last, argument in zip(["", *arguments], arguments):
        option, assigned, value = argument.partition("=")
        if argument.startswith("-") and assigned:
            shown.append(f"{public(option)}={public(value, option)}")
        else:
            shown.append(public(argument, last if last.startswith("-") and "=" not in last else ""))
    return shlex.join(shown)


def _of_this_machine() -> set[str]:
    """The names of this machine, of whoever is logged in, and of the home folder."""
    host = socket.gethostname()
    words = {host, host.partition(".")[0], Path.home().name, os.environ.get("USER", "")}
    with suppress(KeyError, OSError):  # a container's user has no name
        words.add(getpass.getuser())
    return {word for word in words if len(word) > 2 and word not in ("root", "localhost", "user")}
