"""A run's folder as it was before the run began, until the first step is done."""

import json
import os
import shutil
from contextlib import suppress
from pathlib import Path

__all__ = ["REPLACED", "FolderBefore"]

REPLACED = ("config.yaml", "run.json", "metrics.csv", "hparams.yaml")
"""Files that a run writes when it begins, over those of an earlier one."""

_BEGUN = (*REPLACED, "events.out.tfevents.*", "pictures/*.png")
"""Files that a run may write before its first step is done."""

_PICTURES = "pictures/*-epoch[0-9][0-9][0-9][0-9]*.png"
"""Files of the callbacks that draw."""


class FolderBefore:
    """Copies of the files that a beginning run may write over, and the list of those that there were.

    They are in a folder of their own, which is complete or not there: where a process is killed, the next one finds
    it, and puts the files back.

    Args:
        folder: of the run.
        place: of the copies.
        is_shared: whether others keep files in the folder, too: below it, only its pictures are looked at.
    """

    def __init__(self, folder: Path, place: Path, *, is_shared: bool) -> None:
        self.folder = folder
        self.place = place
        self.is_shared = is_shared

    @property
    def is_taken(self) -> bool:
        """Whether there are copies."""
        return self.place.is_dir()

    @property
    def copies(self) -> Path:
        """The folder of the copies."""
        return self.place / "files"

    def take(self) -> None:
        """Make the copies."""
        unfinished = self.place.with_name(f"{self.place.name}.part")
        shutil.rmtree(unfinished, ignore_errors=True)
        (unfinished / "files").mkdir(parents=True)
        for path in self._of(*REPLACED, _PICTURES):
            target = unfinished / "files" / path.relative_to(self.folder)
            target.parent.mkdir(exist_ok=True)
            shutil.copy2(path, target)
        facts = {"paths": self._paths(), "existed": self.folder.is_dir()}
        (unfinished / "before.json").write_text(json.dumps(facts))
        unfinished.rename(self.place)

    def put_back(self) -> None:
        """Undo what the run has written."""
        facts = json.loads((self.place / "before.json").read_text())
        if self.copies.is_dir():  # else they have found their place
            for path in self._of(*_BEGUN):
                if str(path.relative_to(self.folder)) not in facts["paths"]:
                    path.unlink()
            for copy in self._copied():
                target = self.folder / copy.relative_to(self.copies)
                if not _are_equal(copy, target):
                    target.parent.mkdir(parents=True, exist_ok=True)
                    os.replace(copy, target)
            for path in sorted(self._folders(), reverse=True):
                if str(path.relative_to(self.folder)) not in facts["paths"]:
                    with suppress(OSError):  # it is not empty
                        path.rmdir()
            if not facts["existed"]:
                with suppress(OSError):
                    self.folder.rmdir()
        self.forget()

    def part(self, into: Path) -> None:
        """Move what the run has written to another folder, and put the files from before in their places."""
        facts = json.loads((self.place / "before.json").read_text())
        into.mkdir()
        for path in [path for path in self.folder.rglob("*") if path.is_file()]:
            name = path.relative_to(self.folder)
            copy = self.copies / name
            if str(name) not in facts["paths"] or (copy.is_file() and not _are_equal(copy, path)):
                (into / name).parent.mkdir(parents=True, exist_ok=True)
                path.rename(into / name)
                if copy.is_file():
                    copy.rename(path)
        for copy in self._copied():  # of files that were deleted
            if not (self.folder / copy.relative_to(self.copies)).exists():
                copy.rename(self.folder / copy.relative_to(self.copies))
        for path in sorted(self._folders(), reverse=True):
            if str(path.relative_to(self.folder)) not in facts["paths"]:
                (into / path.relative_to(self.folder)).mkdir(parents=True, exist_ok=True)
                with suppress(OSError):
                    path.rmdir()
        self.forget()

    def keep_as(self, place: Path) -> None:
        """Give the copies a folder of their own, and remove the files that the run has left as they were."""
        same = [copy.relative_to(self.copies) for copy in self._copied()]
        same = [name for name in same if _are_equal(self.copies / name, self.folder / name)]
        self.copies.rename(place)
        for name in same:
            (self.folder / name).unlink(missing_ok=True)
        self.forget()

    def forget(self) -> None:
        """Remove the copies."""
        shutil.rmtree(self.place, ignore_errors=True)

    def _of(self, *patterns: str) -> list[Path]:
        found = [path for pattern in patterns for path in self.folder.glob(pattern)]
        return [path for path in dict.fromkeys(found) if path.is_file()]

    def _copied(self) -> list[Path]:
        return [path for path in self.copies.rglob("*") if path.is_file()]

    def _folders(self) -> list[Path]:
        return [path for path in self._all() if path.is_dir()]

    def _paths(self) -> list[str]:
        return [str(path.relative_to(self.folder)) for path in self._all()]

    def _all(self) -> list[Path]:
        if not self.folder.is_dir():
            return []
        if self.is_shared:
            return [*self.folder.iterdir(), *self.folder.glob("pictures/*")]
        return list(self.folder.rglob("*"))


def _are_equal(copy: Path, path: Path) -> bool:
    """Whether a file still is the one that was copied."""
    if not path.is_file():
        return False
    first, second = copy.stat(), path.stat()
    return (first.st_size, first.st_mtime_ns) == (second.st_size, second.st_mtime_ns)
