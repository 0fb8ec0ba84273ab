"""Markup in each field of each file of a run's folder, one after the other: the page shows it as text."""

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from sslbolts.report import write_report
from tests.report.folders import make_run
from tests.report.page_reader import Page
from tests.report.test_report import refers_to_nothing_outside

PAYLOAD = "\"'></pre></td></style></svg></title><script>alert(1)</script><img src=x onerror=alert(2)>"
NAME = PAYLOAD.replace("/", "∕")  # of a file


def places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to every value and every name in nested mappings and lists."""
    if at:
        yield at
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from places(item, (*at, key))


def with_payload(value: Any, at: tuple[Any, ...], *, as_name: bool) -> Any:
    """A copy with the payload at one place, in place of a value or of its name."""
    value = copy.deepcopy(value)
    inner = value
    for key in at[:-1]:
        inner = inner[key]
    if as_name:
        inner[PAYLOAD] = inner.pop(at[-1])
    else:
        inner[at[-1]] = PAYLOAD
    return value


def harmless(folder: Path, *others: Path) -> Page:
    page = Page(write_report([folder, *others], folder.parent / "page.html"))
    refers_to_nothing_outside(page)
    return page


@pytest.fixture
def folder(tmp_path):
    folder = make_run(tmp_path / "run")
    record = json.loads((folder / "run.json").read_text())
    record |= {"started": "2026", "precision": "32", "working_directory": "/home", "earlier_commands": ["sslbolts fit"]}
    record |= {"finished": "2026", "status": "done", "name": "run", "notes": ["a"], "error": "none", "host": "a"}
    (folder / "run.json").write_text(json.dumps(record))
    return folder


@pytest.mark.parametrize("name", ["run.json", "config.yaml", "evaluation/linear-CIFAR10Mini.json"])
def test_in_every_field_of_a_file(name, folder):
    path = folder / name
    content = yaml.safe_load(path.read_text())  # JSON is YAML
    shown = 0
    for at in places(content):
        for as_name in (False, True):
            if as_name and not isinstance(at[-1], str):
                continue
            path.write_text(json.dumps(with_payload(content, at, as_name=as_name)))
            shown += "alert(1)" in harmless(folder).text
    assert shown > len(list(places(content))) / 2  # it does reach the page


def test_in_every_column_and_cell_of_what_was_logged(folder):
    quoted = '"' + PAYLOAD.replace('"', '""') + '"'
    lines = (folder / "metrics.csv").read_text().splitlines()
    for number in range(len(lines[0].split(","))):
        for row in (0, 1, len(lines) - 1):
            cells = lines[row].split(",")
            cells[number] = quoted
            changed = [*lines[:row], ",".join(cells), *lines[row + 1 :]]
            (folder / "metrics.csv").write_text("\n".join(changed) + "\n")
            harmless(folder)


def test_in_the_names_of_files_and_folders(folder, tmp_path):
    for file in ("evaluation/linear-CIFAR10Mini.json", "pictures/neighbors-epoch0001.png", "holiday.png"):
        path = folder / file
        (path.parent / (path.stem + NAME + path.suffix)).write_bytes(path.read_bytes())
        (path.parent / (NAME + path.suffix)).write_bytes(path.read_bytes())
    (folder / f"pictures/{NAME}2.png").write_bytes(b"no picture")
    (folder / f"evaluation/{NAME}2.json").write_text("{")
    (folder / f"{NAME}.ckpt").write_bytes(b"")
    assert "alert(1)" in harmless(folder).text
    folder = folder.rename(tmp_path / NAME)
    assert "alert(1)" in harmless(folder, make_run(tmp_path / "other")).text
