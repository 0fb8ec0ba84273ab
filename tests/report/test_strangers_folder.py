"""A run's folder from a stranger: links out of it, pipes, and devices without an end."""

import os
import re

import pytest
from PIL import Image

from sslbolts.errors import UsageError
from sslbolts.report import read_run, write_report
from tests.helpers.deep_folders import deep_folders
from tests.report.folders import make_run


@pytest.fixture
def folder(tmp_path):
    return make_run(tmp_path / "run")


@pytest.fixture
def outside(tmp_path):
    """Files of the user's, each with a word that no page may have."""
    there = tmp_path / "home"
    there.mkdir()
    (there / "table.csv").write_text("step,sesame\n0,1\n1,2\n")
    (there / "notes.yaml").write_text("sesame: 1\n")
    (there / "notes.json").write_text('{"model": "sesame"}')
    (there / "result.json").write_text('{"protocol": "sesame", "source": "a", "data": "b", "metrics": {"x": 1.0}}')
    Image.new("RGB", (77, 33), "red").save(there / "sesame.png")
    return there


@pytest.mark.parametrize(
    ("name", "target", "note"),
    [
        ("metrics.csv", "table.csv", "what was logged cannot be read: metrics.csv is a link out of the run's folder"),
        ("config.yaml", "notes.yaml", "config.yaml cannot be read: config.yaml is a link out of"),
        ("run.json", "notes.json", "run.json cannot be read: run.json is a link out of"),
        ("evaluation/more.json", "result.json", "more.json is no result"),
        ("pictures/more.png", "sesame.png", "more.png is left out: more.png is a link out of"),
    ],
)
def test_a_link_out_of_the_folder_is_not_followed(folder, outside, tmp_path, name, target, note):
    (folder / name).unlink(missing_ok=True)
    (folder / name).symlink_to(outside / target)
    run = read_run(folder)
    assert any(note in line for line in run.notes)
    assert "sesame" not in write_report([folder], tmp_path / "page.html").read_text()
    assert not any(picture.path.name == "more.png" for picture in run.pictures)


def test_a_linked_folder_is_not_followed_either(folder, outside):
    (folder / "checkpoints").mkdir()
    (folder / "checkpoints" / "pictures").symlink_to(outside)
    assert "checkpoint-sesame" not in {picture.name for picture in read_run(folder).pictures}


def test_links_within_the_folder_and_to_it_are_followed(folder, tmp_path):
    (folder / "metrics.csv").rename(folder / "version.csv")
    (folder / "metrics.csv").symlink_to("version.csv")
    (tmp_path / "latest").symlink_to(folder)
    run = read_run(tmp_path / "latest")
    assert "train/loss" in run.metrics
    assert run.notes == []


@pytest.mark.parametrize("name", ["metrics.csv", "config.yaml", "run.json", "evaluation/more.json", "pictures/x.png"])
@pytest.mark.parametrize("kind", ["pipe", "endless", "huge"])
def test_no_file_is_waited_for_or_read_without_end(folder, tmp_path, name, kind):
    path = folder / name
    path.unlink(missing_ok=True)
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "endless":
        path.symlink_to("/dev/zero")
    else:
        with path.open("wb") as file:
            file.truncate(2**41)  # on the disk it takes nothing
    assert "SimCLR" in write_report([folder], tmp_path / "page.html").read_text()


@pytest.mark.parametrize("kind", ["pipe", "link"])
def test_event_files_are_looked_at_before_tensorboard_reads_them(folder, tmp_path, kind):
    pytest.importorskip("tensorboard")
    (folder / "metrics.csv").unlink()
    path = folder / "events.out.tfevents.1"
    if kind == "pipe":
        os.mkfifo(path)
    else:
        (tmp_path / "events").write_bytes(b"")
        path.symlink_to(tmp_path / "events")
    (note,) = read_run(folder).notes
    assert re.search("tfevents.1 is (no regular file|a link out of)", note)


def test_the_page_is_not_written_through_a_link(folder, tmp_path):
    precious = tmp_path / "precious"
    precious.write_text("mine")
    (folder / "report.html").symlink_to(precious)
    with pytest.raises(UsageError, match=r'report.html" is a link'):
        write_report([folder], folder / "report.html")
    assert precious.read_text() == "mine"


def test_a_folder_of_a_thousand_folders_is_no_run(tmp_path):
    with deep_folders(tmp_path), pytest.raises(UsageError, match="is of a run"):
        read_run(tmp_path)
