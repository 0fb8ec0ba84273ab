"""Texts without the passwords and keys that may be in them."""

import re
import shlex
from typing import Any

__all__ = ["redact", "redact_command"]

_HIDDEN = "***"
# What names a secret, at the end of a name. A transformer's class or mask token is none, nor are its num_tokens.
_SECRET = (
    r"(?:[\w-]*(?:api|access|account|encryption|private|secret|shared|signing)[_-]?keys?"
    r"|[\w-]*secrets?|[\w-]*pass(?:words?|wd|phrase|code)|(?:[\w-]*[_-])?pwd|[\w-]*credentials?"
    r"|[\w-]*authorization|(?:[\w-]*[_-])?auth|[\w-]*webhooks?(?:[_-]?urls?)?"
    r"|[\w-]*cookies?|(?:[\w-]*[_-])?session[_-]?id"
    r"|(?<!class )(?![\w-]*(?:class|cls|dist|mask|pad|bos|eos|sep|unk|reg|register)[_-]token)"
    r"(?:(?:[\w-]*[_-])?token|(?-i:[\w-]*[a-z]Token)))"
)
_NAME = re.compile(rf"(?i)(?:.*[./:\s])?{_SECRET}", re.DOTALL)  # a key, or an option: --a.b.api_key
_SIGNATURE = re.compile(r"(?i)(?:[\w-]*[_-])?(?:sig|signature|key)")  # in an address also these
_ASSIGNED = rf"(?i)((?<![\w-]){_SECRET}[\"']?\s*"
# Nothing in a text says where a secret without quotes ends: rather too much is hidden than too little. After "=" it
# goes on to the next space; after ":", as in YAML, to the end of the line or to the next name.
_QUOTED = re.compile(_ASSIGNED + r"[=:]\s*)([\"'])(?:\\.|(?!\2).)*(?:\2|\Z)", re.DOTALL)
_QUOTED_WHOLE = re.compile(rf"(?i)([\"'])(-*(?:[\w-]+\.)*{_SECRET}=)(?:(?!\1).)*(?=\1|\Z)", re.DOTALL)  # '--token=a b'
_PARAMETER = re.compile(r"([?&])([\w.-]+)=([^&#\s\"']+)")  # of an address
_TO_SPACE = re.compile(_ASSIGNED + r"=[ \t]*)(?!\*\*\*)([^\s\"']\S*)")
_TO_NEXT = re.compile(_ASSIGNED + r":\s*)(?!\*\*\*)([^\s\"'](?:(?!, ?[\"']?[\w.-]{1,40}[\"']? ?[:=])[^\n])*)")
_BEARER = re.compile(r"(?i)(\bbearer\s+)[^\s\"',]+")
_LOGIN = re.compile(r"(\w://)[^\s/]+@")  # scheme://user:password@host
_KNOWN = re.compile(  # as services make them; "eyJ" begins the JSON in a JWT, or in a key that is such a text
    r"\b(?:gh[oprsu]_|github_pat_|glpat-|hf_|sk-|xox[abeprs]-|AKIA|AIza)[\w-]{16,}"
    r"|(?<![\w-])eyJ[\w-]{15,}(?:\.[\w-]*){0,4}=*"
)
_PEM = re.compile(r"-----BEGIN ([A-Z0-9 ]{1,60})-----.*?(?:-----END \1-----|\Z)", re.DOTALL)
_HOOK = re.compile(  # an address that is itself the permission to write
    r"(?i)(\bhttps?://(?:hooks\.[\w.-]{1,80}/|[\w.-]{0,80}webhook[\w.-]{0,80}/|api\.telegram\.org/bot"
    r"|[\w.:-]{1,80}/(?:[\w.-]{1,80}/){0,4}?(?:web)?hooks?/))[^\s\"'<>,)\]}]+"
)
# One entry of a list of variables or headers: {name: WANDB_API_KEY, value: abc}.
_NAMING, _VALUES = {"name", "key", "variable", "header", "env"}, {"value", "values", "val", "content"}
_NAMED = rf"[\"']?\b(?:{'|'.join(sorted(_NAMING))})[\"']?\s*[:=]\s*[\"']?{_SECRET}[\"']?"
_VALUED = rf"[\"']?\b(?:{'|'.join(sorted(_VALUES))})[\"']?\s*[:=]\s*"
_VALUE = r"(?:\"(?:\\.|[^\"\\])*+\"|'[^']*+'|[^\s\"',}\]]++)"  # possessive: never tried shorter
_NAME_FIRST = re.compile(rf"(?i)({_NAMED}\s*,?\s*-?\s*{_VALUED}){_VALUE}")
_VALUE_FIRST = re.compile(rf"(?i)({_VALUED}){_VALUE}(?=\s*,?\s*{_NAMED})")
_PAIRED = re.compile(  # as the first of two: a variable of the environment, or a header
    r"[A-Z0-9]+(?:_[A-Z0-9]+)+|(?i:(?:set-)?cookie|(?:proxy-)?authorization|x-[\w-]+)"
)


def redact(value: Any) -> Any:
    """The same text, list or mapping with ``***`` for what is named or looks like a password, and logins in addresses.

    Args:
        value: a text; a command line, one argument after the other; or a configuration of plain types.

    Example:
        >>> redact(["fit", "--trainer.logger.api_key=123 abc", "--token", "456", "--data.seed=3"])
        ['fit', '--trainer.logger.api_key=***', '--token', '***', '--data.seed=3']
        >>> redact({"logger": {"password": 123, "url": "https://me:x@host/path"}})
        {'logger': {'password': '***', 'url': 'https://***@host/path'}}
    """
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, dict):
        named = any(str(key).lower() in _NAMING and _is_secret(str(item)) for key, item in value.items())
        return {key: _HIDDEN if _hides(key, named) and _says(item) else redact(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        if len(value) == 2 and _PAIRED.fullmatch(str(value[0])) and _is_secret(str(value[0])) and _says(value[1]):
            return [value[0], _HIDDEN]
        return [_argument(item, last) for last, item in zip([None, *value], value)]
    return value


def redact_command(command: str) -> str:
    """A line of a shell without its secrets; as it was, where it has none.

    Example:
        >>> redact_command("sslbolts fit '--logger.password=my dog' --token 456 --data.seed=3")
        "sslbolts fit '--logger.password=***' --token '***' --data.seed=3"
    """
    try:
        arguments = shlex.split(command)
    except ValueError:  # a quote that is not closed
        return _text(command)
    cleaned = redact(arguments)
    return command if cleaned == arguments else shlex.join(cleaned)


def _hides(key: Any, named: bool) -> bool:
    """Whether a key of a mapping names a secret, or is that of the value beside such a name."""
    return _is_secret(str(key)) or (named and str(key).lower() in _VALUES)


def _text(text: str) -> str:
    text = _HOOK.sub(rf"\1{_HIDDEN}", _PEM.sub(_HIDDEN, text))
    for listed in (_NAME_FIRST, _VALUE_FIRST):
        text = listed.sub(rf"\1{_HIDDEN}", text)
    text = _QUOTED.sub(rf"\1\2{_HIDDEN}\2", text)
    text = _QUOTED_WHOLE.sub(rf"\1\2{_HIDDEN}", text)
    text = _PARAMETER.sub(_parameter, text)
    for unquoted in (_TO_SPACE, _TO_NEXT):
        text = unquoted.sub(_but_for_closing, text)
    return _KNOWN.sub(_HIDDEN, _LOGIN.sub(rf"\1{_HIDDEN}@", _BEARER.sub(rf"\1{_HIDDEN}", text)))


def _parameter(found: re.Match[str]) -> str:
    mark, name, _ = found.groups()
    return f"{mark}{name}={_HIDDEN}" if _is_secret(name) or _SIGNATURE.fullmatch(name) else found.group()


def _but_for_closing(found: re.Match[str]) -> str:
    """Hide a value without the brackets and quotes behind it, which are of what is around it."""
    before, value = found.groups()
    secret = value.rstrip(",}])\"' ")
    return f"{before}{_HIDDEN}{value[len(secret) :]}" if secret else found.group()


def _argument(item: Any, last: Any) -> Any:
    """An entry of a list, which may be a command line: after the one before it."""
    if not isinstance(item, str):
        return redact(item)
    if isinstance(last, str) and last.startswith("-") and _is_secret(last) and not item.startswith("--"):
        return _HIDDEN
    name, assigned, text = item.partition("=")
    if assigned and text and _is_secret(name.rstrip("+")):
        return f"{name}={_HIDDEN}"
    return redact(item)


def _is_secret(name: str) -> bool:
    return _NAME.fullmatch(name) is not None


def _says(item: Any) -> bool:
    """Whether a value can be a secret: a switch cannot, and nothing is none."""
    return item is not None and not isinstance(item, bool) and item not in ("", [], {})
