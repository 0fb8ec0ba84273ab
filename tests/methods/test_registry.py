"""The table of methods."""

import pytest
import torch

import sslbolts
from sslbolts import METHODS, SSLModule, UsageError
from sslbolts.methods import get_method
from sslbolts.transforms import recipe


@pytest.mark.parametrize("name", list(METHODS))
def test_every_line_is_whole(name):
    method, line = get_method(name), METHODS[name]
    assert issubclass(method, SSLModule)
    assert method.__name__ == name
    assert getattr(sslbolts, name) is method
    assert "arXiv:" in line.paper
    assert line.paper.rpartition("arXiv:")[2] in method.__doc__, "the docstring cites another paper"
    views = recipe(line.views, 32).views
    assert method.num_views in (None, len(views))


OTHER_WIDTHS = {"DINO": 384, "AMDIM": 1024, "Distillation": 512}  # a ViT-S/16, AMDIM's own network, a small student
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
