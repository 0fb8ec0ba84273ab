"""README: every method by its name, its length, its links, and one address of the project."""

import configparser
import re

import yaml

import sslbolts
from sslbolts import METHODS
from tests.helpers.pages import ROOT


def test_every_method_stands_in_the_readme():
    text = (ROOT / "README.md").read_text()
    assert not [name for name in METHODS if f"`{name}`" not in text]


def test_the_readme_is_short_and_names_files_that_exist():
    text = (ROOT / "README.md").read_text()
    assert len(text.splitlines()) <= 160
    named = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text)
    assert len(named) > 15
    assert not [path for path in named if not (ROOT / path).exists()]


def test_the_address_is_one():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    metadata = setup["metadata"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["repository-code"] == metadata["url"]
    assert citation["version"] == sslbolts.__version__
    assert citation["authors"] == [{"name": metadata["author"]}]
    links = [line.partition(" = ")[2] for line in metadata["project_urls"].split("\n") if line]
    assert links
    assert all(link.startswith(metadata["url"]) for link in links)
