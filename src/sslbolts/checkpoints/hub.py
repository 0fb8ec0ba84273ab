"""Backbones on the Hugging Face Hub: addresses ``hf://OWNER/NAME``, and the files behind them."""

import re
from pathlib import Path
from typing import Any

from sslbolts.errors import UsageError

__all__ = ["CONFIG", "WEIGHTS", "check_name", "fetch", "is_address", "upload"]

WEIGHTS = "model.safetensors"
"""Name of a repository's file of weights, as timm has it."""
CONFIG = "config.json"
"""Name of the file that says which network they are of, as timm has it."""

_BEGINNING = re.compile(r"hf:/{1,2}(?=[^/])")  # pathlib makes one slash of two
_NAME = re.compile(r"(?!.*(?:--|\.\.))[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9_][\w.-]{0,95}(?<![.-])(?<!\.git)", re.ASCII)


def is_address(source: Any) -> bool:
    """Whether a text or a path names a repository of the Hub.

    Example:
        >>> is_address("hf://timm/resnet18.a1_in1k"), is_address("timm/resnet18.a1_in1k")
        (True, False)
    """
    return isinstance(source, str | Path) and _BEGINNING.match(str(source)) is not None


def check_name(name: str) -> str:
    """The name of a repository, if it can be one.

    Args:
        name: OWNER/NAME.

    Raises:
        UsageError: for anything else.

    Example:
        >>> check_name("jane/resnet18-plants")
        'jane/resnet18-plants'
        >>> check_name("resnet18-plants")
        Traceback (most recent call last):
        sslbolts.errors.UsageError: "resnet18-plants" is no name of a repository: give OWNER/NAME, of letters, ...
    """
    if _NAME.fullmatch(name) is None:
        raise UsageError(
            f'"{name}" is no name of a repository: give OWNER/NAME, of letters, digits, ".", "-" and "_", such as '
            "jane/resnet18-plants."
        )
    return name


def fetch(address: str | Path, file: str) -> Path:
    """A file of a repository, in the Hub's cache on this machine, where it is looked for first.

    Args:
        address: hf://OWNER/NAME, or hf://OWNER/NAME@REVISION for a branch, tag or commit.
        file: its name in the repository.

    Raises:
        UsageError: if there is no such repository or file, or the Hub cannot be reached.
    """
    name, _, revision = _BEGINNING.sub("", str(address)).partition("@")
    check_name(name)
    from huggingface_hub import hf_hub_download
    from huggingface_hub.utils import disable_progress_bars  # type: ignore[attr-defined]

    disable_progress_bars()
    try:
        return Path(hf_hub_download(name, file, revision=revision or None, library_name="sslbolts"))
    except Exception as error:  # the client has many kinds of them, and its releases differ
        raise _explained(error, name, file, revision) from error


def upload(folder: Path, name: str, *, message: str, private: bool = False, new_card: bool = False) -> tuple[str, bool]:
    """Make a repository where there is none, and put the files of a folder into it as one commit.

    Args:
        folder: of the files.
        name: OWNER/NAME.
        message: of the commit.
        private: a new repository is for its owner alone; one that is there stays as it is.
        new_card: whether a README.md that is there already is replaced.

    Returns:
        the address of the repository's page, and whether its README.md was kept.

    Raises:
        UsageError: if nobody is logged in, the Hub refuses, or cannot be reached.
    """
    check_name(name)
    from huggingface_hub import HfApi, get_token
    from huggingface_hub.utils import disable_progress_bars  # type: ignore[attr-defined]

    if get_token() is None:
        raise UsageError(
            "there is no token to write to the Hub with: log in by `hf auth login`, or set HF_TOKEN to one that may "
            "write (from the page Settings, Access Tokens)."
        )
    disable_progress_bars()
    api = HfApi(library_name="sslbolts")
    settings: dict[str, Any] = {"private": True} if private else {}  # else as the owner's settings say
    try:
        made = api.create_repo(name, exist_ok=True, **settings)
        kept = not new_card and api.file_exists(name, "README.md")
        left_out = ["README.md"] if kept else None
        api.upload_folder(repo_id=name, folder_path=folder, commit_message=message, ignore_patterns=left_out)
    except Exception as error:
        raise _explained(error, name, "", "", writes=True) from error
    return str(made), kept


def _explained(error: Exception, name: str, file: str, revision: str, *, writes: bool = False) -> UsageError:
    from huggingface_hub import constants, errors

    hub = constants.ENDPOINT.rstrip("/")
    status = getattr(getattr(error, "response", None), "status_code", None)
    if isinstance(error, errors.GatedRepoError):
        return UsageError(f"{hub}/{name} is open only to those whom its owner lets in: ask there, then set HF_TOKEN.")
    if writes and status in (401, 403, 404):
        return UsageError(
            f"{hub} does not let this token write to {name} ({status}): is the owner right, and may the token "
            "(HF_TOKEN, or `hf auth login`) write?"
        )
    if isinstance(error, errors.RepositoryNotFoundError):
        return UsageError(
            f"there is no repository {name} on {hub}, or it is private: look at the name, or set HF_TOKEN to a token "
            "that may read it."
        )
    if isinstance(error, errors.RevisionNotFoundError):
        return UsageError(f'{hub}/{name} has no branch, tag or commit "{revision}".')
    if isinstance(error, errors.LocalEntryNotFoundError):  # before the next: it is one
        return UsageError(
            f"{hub} cannot be reached, and {file} of {name} is not in the cache of this machine: try again where there "
            "is a network."
        )
    if isinstance(error, errors.EntryNotFoundError):
        return UsageError(f"{hub}/{name} has no {file}: sslbolts reads what `sslbolts push` or timm has put there.")
    reason = str(error).strip().partition("\n")[0][:200]
    cannot = "refuses" if status is not None else "cannot be reached"
    return UsageError(f"{hub} {cannot} ({type(error).__name__}: {reason}): nothing was {'sent' if writes else 'read'}.")
