"""The README names every method and its paper; tests/test_pages.py runs what it shows."""

from sslbolts import METHODS
from tests.helpers.pages import ROOT


def test_every_method_stands_in_the_readme():
    text = (ROOT / "README.md").read_text()
    missing = [name for name, method in METHODS.items() if f"`{name}`" not in text or method.paper not in text]
    assert not missing
