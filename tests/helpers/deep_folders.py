"""A thousand folders inside each other, which no path can name and ``shutil.rmtree`` cannot take away."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

DEPTH = 1200


@contextmanager
def deep_folders(root: Path) -> Iterator[None]:
    """Stands in the deepest of ``root/d/d/...``; afterwards they are gone, whatever the test did, with their files."""
    here = os.getcwd()
    os.chdir(root)
    for _ in range(DEPTH):
        os.mkdir("d")
        os.chdir("d")
    try:
        yield
    finally:
        for _ in range(DEPTH):
            for file in os.scandir("."):
                os.unlink(file.name)
            os.chdir("..")
            os.rmdir("d")
        os.chdir(here)
