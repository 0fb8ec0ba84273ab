"""The table of methods."""

import re
from pathlib import Path

import pytest
import torch

import sslbolts
from sslbolts import METHODS, SSLModule, UsageError
from sslbolts.methods import get_method
from sslbolts.transforms import recipe

README = Path(__file__).parents[2] / "README.md"


@pytest.mark.parametrize("name", list(METHODS))
def test_every_line_is_whole(name):
    method, line = get_method(name), METHODS[name]
    assert issubclass(method, SSLModule)
    assert method.__name__ == name
    assert getattr(sslbolts, name) is method
    views = recipe(line.views, 32).views
    assert method.num_views in (None, len(views))


def test_every_paper_of_a_line_is_cited_by_the_docstring():
    for name, line in METHODS.items():
        cited = re.findall(r"arXiv:\d{4}\.\d{5}", line.paper)
        assert cited, name
        assert all(paper in get_method(name).__doc__ for paper in cited), name


def test_figures_that_nobody_has_verified_are_marked():
    unverified = {"InstanceDiscrimination", "CPC", "BoWNet"}
    assert {name for name, line in METHODS.items() if "†" in line.published} == unverified
    rows = dict(re.findall(r"^\| `(\w+)` \|(.*)$", README.read_text(), flags=re.MULTILINE))
    assert {name for name, row in rows.items() if "†" in row} == unverified | {"DeepCluster"}
    assert "\n† quoted from memory, not verified.\n" in README.read_text()


OTHER_WIDTHS = {
    "DINO": 384,
    "MAE": 768,
    "SimMIM": 768,
    "AMDIM": 1024,
    "Distillation": 512,
}  # a ViT-S/16, AMDIM's own network, a small student
REQUIRED = {name: {"teacher": {"backbone": "resnet50"}} for name in ("Distillation", "BoWNet")}


@pytest.mark.parametrize("name", list(METHODS))
def test_the_papers_network_is_the_default(name):
    with torch.device("meta"):
        assert get_method(name)(**REQUIRED.get(name, {})).num_features == OTHER_WIDTHS.get(name, 2048)


def test_an_unknown_method_is_met_with_the_nearest():
    with pytest.raises(UsageError, match='Did you mean "SimCLR"'):
        get_method("SimCRL")
    with pytest.raises(AttributeError):
        sslbolts.Nothing  # noqa: B018
