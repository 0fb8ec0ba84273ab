"""A file is written whole or not at all, and one line says which could not be."""

import errno
import os
import stat
from pathlib import Path

import pytest

from sslbolts import UsageError
from sslbolts.checks import must_be_writable, whole_file, write_text


def test_what_was_there_stays_until_all_is_written(tmp_path):
    path = tmp_path / "deep" / "numbers.txt"
    write_text(path, "old")

    def half(error: Exception) -> None:
        with whole_file(path) as file:
            file.write_text("half")
            assert path.read_text() == "old"
            raise error

    with pytest.raises(UsageError, match=r"numbers\.txt could not be written: No space left"):
        half(OSError(28, "No space left on device"))
    with pytest.raises(KeyError):
        half(KeyError("a bug"))
    assert path.read_text() == "old"
    assert [found.name for found in path.parent.iterdir()] == ["numbers.txt"]
    assert write_text(path, "new").read_text() == "new"


def test_a_file_where_a_folder_is_needed_and_a_full_device_are_named(tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "full.txt").symlink_to("/dev/full")
    for path in (tmp_path / "file" / "deep" / "x.txt", tmp_path / "full.txt", tmp_path / ("x" * 300), tmp_path):
        with pytest.raises(UsageError, match=f"{path} could not be written: "):
            write_text(path, "text")
    assert sorted(found.name for found in tmp_path.iterdir()) == ["file", "full.txt"]
    assert stat.S_ISCHR(os.stat("/dev/full").st_mode)  # and no file has taken its place


def test_a_link_leads_to_what_is_written(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "link.txt").symlink_to(tmp_path / "disk" / "real.txt")
    write_text(tmp_path / "link.txt", "text")
    assert (tmp_path / "link.txt").is_symlink()
    assert (tmp_path / "disk" / "real.txt").read_text() == "text"


def test_bytes_that_are_no_text_are_written_as_json_reads_them(tmp_path):
    import json

    name = os.fsdecode(b"caf\xe9")
    path = write_text(tmp_path / "x.json", json.dumps({"class": name}, ensure_ascii=False))
    assert json.loads(path.read_text(encoding="utf-8")) == {"class": name}


def test_a_place_is_tried_before_the_work_and_left_as_it_was(tmp_path, monkeypatch):
    (tmp_path / "old.json").write_text("old")
    must_be_writable(tmp_path / "old.json")
    must_be_writable(tmp_path / "new" / "deep" / "x.json")
    must_be_writable("/dev/stdout")
    assert [found.name for found in tmp_path.iterdir()] == ["old.json"]
    assert (tmp_path / "old.json").read_text() == "old"
    for number, words in ((errno.ENOSPC, "No space left on device"), (errno.EROFS, "Read-only file system")):

        def refuse(self, data, number=number, words=words):
            raise OSError(number, words)

        monkeypatch.setattr(Path, "write_bytes", refuse)
        with pytest.raises(UsageError, match=rf"x\.json cannot be written: {words}\. Take another\."):
            must_be_writable(tmp_path / "x.json", "Take another.")
