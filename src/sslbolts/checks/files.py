"""Files: read only where they are regular and bounded, written whole or not at all."""

import errno
import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sslbolts.errors import UsageError

__all__ = ["must_be_writable", "read_regular", "whole_file", "write_text"]

# Without O_NONBLOCK, opening a pipe waits for somebody who writes to it.
_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)


def read_regular(path: str | Path, largest: int = 2**30) -> bytes:
    """The content of a file; never of a pipe that nobody writes to, or of a device without an end.

    What was opened is looked at, not the name, which may lead elsewhere a moment later.

    Args:
        path: of the file; links are followed.
        largest: bytes that it may have.

    Raises:
        OSError: if it cannot be opened, is no regular file, or is larger.

    Example:
        >>> read_regular("/dev/zero")
        Traceback (most recent call last):
        OSError: it is no regular file
    """
    opened = os.open(path, _FLAGS)  # a third of the time that a file object takes, of which an image needs none
    try:
        found = os.fstat(opened)
        if not stat.S_ISREG(found.st_mode):
            raise OSError("it is no regular file")
        if found.st_size > largest:
            raise OSError(f"it has {found.st_size:,} bytes, more than the {largest:,} that are read")
        content = os.read(opened, found.st_size)
        while len(content) < found.st_size and (more := os.read(opened, found.st_size - len(content))):
            content += more
        return content
    finally:
        os.close(opened)


def must_be_writable(path: str | Path, advice: str = "Make room there, or name another place.") -> None:
    """Refuse a file that could not be written at the end of long work, before the work starts.

    A few bytes are written beside it and removed: access rights alone do not tell of a read-only or full disk.

    Args:
        path: of the file; it and its folders need not exist, and none are made.
        advice: what to do.

    Raises:
        UsageError: names the file and the reason.

    Example:
        >>> must_be_writable("/dev/null/results/knn.json")
        Traceback (most recent call last):
        sslbolts.errors.UsageError: /dev/null/results/knn.json cannot be written: Not a directory. Make room there, ...
    """
    path = Path(path)
    unfinished: Path | None = None
    try:
        target = Path(os.path.realpath(path))
        if target.is_dir():
            raise IsADirectoryError(errno.EISDIR, "it is a folder, and a file is needed")
        place = target.parent
        while not os.path.lexists(place) and place != place.parent:
            place = place.parent
        if target.exists() and not target.is_file():  # a device or a pipe
            return
        unfinished = place / f".part-{secrets.token_hex(4)}"
        unfinished.write_bytes(bytes(4096))
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror or error}. {advice}") from error
    finally:
        if unfinished is not None:
            with suppress(OSError):
                unfinished.unlink(missing_ok=True)


@contextmanager
def whole_file(path: str | Path, errors: tuple[type[Exception], ...] = ()) -> Iterator[Path]:
    """A name beside ``path``, of the same ending, to write to: it takes the place of ``path`` when all is written.

    So nobody ever reads half a file, and what was there before stays where a disk is full. Folders are made; where
    ``path`` is a link, the file that it leads to is written, and a device gets what is written when it is whole.

    Args:
        path: of the file.
        errors: exceptions, besides OSError, by which a library says that it cannot write.

    Raises:
        UsageError: names the file, if it cannot be written.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> with whole_file(folder / "new" / "numbers.txt") as unfinished:
        ...     _ = unfinished.write_text("1 2 3")
        >>> [path.name for path in (folder / "new").iterdir()]
        ['numbers.txt']
    """
    path = Path(path)
    refused: tuple[type[Exception], ...] = (OSError, *errors)
    unfinished: Path | None = None
    try:
        target = Path(os.path.realpath(path))
        stays = target.exists() and not target.is_file()  # a device or a pipe gets the bytes, and nothing its place
        beside = path if stays else target
        beside.parent.mkdir(parents=True, exist_ok=True)
        unfinished = beside.with_name(f".part-{secrets.token_hex(4)}{beside.suffix}")
        yield unfinished
        if stays:
            with unfinished.open("rb") as made, target.open("wb") as into:
                shutil.copyfileobj(made, into)
        else:
            unfinished.replace(target)
    except refused as error:
        reason = getattr(error, "strerror", None) or str(error).strip().partition("\n")[0] or type(error).__name__
        raise UsageError(f"{path} could not be written: {reason}. Make room there, or name another place.") from error
    finally:
        if unfinished is not None:
            with suppress(OSError):
                unfinished.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> Path:
    r"""Write a text in UTF-8, whole or not at all.

    Names of files may hold bytes that are no text: they are written as ``\udce9``, which JSON reads back as they were.

    Raises:
        UsageError: names the file, if it cannot be written.
    """
    with whole_file(path) as unfinished:
        unfinished.write_bytes(text.encode("utf-8", "backslashreplace"))
    return Path(path)
