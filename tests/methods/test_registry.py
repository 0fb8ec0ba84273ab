"""The table of methods."""

import re
from pathlib import Path

import pytest
import torch
from torch import nn

import sslbolts
from sslbolts import METHODS, SSLModule, UsageError
from sslbolts.methods import get_method
from sslbolts.transforms import recipe
from tests.helpers.nets import without_memory
from tests.invariants.cases import case_of

PAGE = Path(__file__).parents[2] / "docs" / "methods" / "index.md"


@pytest.mark.parametrize("name", list(METHODS))
def test_every_line_is_whole(name):
    method, line = get_method(name), METHODS[name]
    assert issubclass(method, SSLModule)
    assert method.__name__ == name
    assert getattr(sslbolts, name) is method
    assert (line.family == "text") == (line.learns_from == "text") == (line.views == "")
    if line.learns_from == "images":
        assert method.num_views in (None, len(recipe(line.views, 32).views))


def test_every_paper_of_a_line_is_cited_by_the_docstring():
    for name, line in METHODS.items():
        cited = re.findall(r"arXiv:\d{4}\.\d{4,5}|JMLR \d+", line.paper)
        assert cited, name
        assert all(paper in get_method(name).__doc__ for paper in cited), name


def test_figures_that_nobody_has_verified_are_marked():
    unverified = {"InstanceDiscrimination", "CPC", "BoWNet"}
    assert {name for name, line in METHODS.items() if "†" in line.published} == unverified
    text = PAGE.read_text()  # to which the site adds the registry's figures
    rows = dict(re.findall(r"^\| (\w+) \|(.*)$", text, flags=re.MULTILINE))
    assert {name for name, row in rows.items() if "†" in row} == {"DeepCluster"}
    assert "† quoted from memory, not verified." in " ".join(text.split())


OTHER_WIDTHS = {
    "DINO": 384,  # a ViT-S/16
    "MAE": 768,  # a ViT-B/16
    "SimMIM": 768,  # the same
    "Counting": 4096,  # AlexNet
    "Colorization": 4096,  # AlexNet
    "SplitBrain": 4096,  # two of half the width
    "AMDIM": 1024,  # its own network
    "ContextEncoder": 4000,  # its own network
    "BiGAN": 4096,  # its own network
    "Distillation": 512,  # a small student
    "RelativePosition": 4096,  # fc6 of its own network
    "Jigsaw": 2304,  # pool5 of its own network
    "Word2Vec": 100,  # a table of vectors
    "MaskedLanguageModel": 768,  # BERT-base
}
REQUIRED = {name: {"teacher": {"backbone": "resnet50"}} for name in ("Distillation", "BoWNet")}


@pytest.mark.parametrize("name", list(METHODS))
def test_the_papers_network_is_the_default(name):
    with without_memory():
        assert get_method(name)(**REQUIRED.get(name, {})).num_features == OTHER_WIDTHS.get(name, 2048)


OFFICIAL_STARTS = {
    0: ["SimCLR", "MoCoV3", "BYOL", "SimSiam", "BarlowTwins", "VICReg"],
    1: [
        "MoCo",
        "InstanceDiscrimination",
        "SwAV",
        "DeepClusterV2",
        "OBoW",
        "WMSE",
        "Distillation",
        "MeanTeacher",
        "DINO",
        "SemiSupervised",
        "RelativePosition",
        "Jigsaw",
        "BiGAN",
        "MultiTask",
    ],
}
"""The scale of the last batch norm of every residual block in the official ResNets."""

NO_RESNET = {"AMDIM", "MAE", "SimMIM", "ContextEncoder", "Word2Vec", "MaskedLanguageModel"}
NARROW = {"layers": [1, 1, 1, 1], "channels": [8, 8, 8, 8]}


def last_scales(network: nn.Module) -> list[float]:
    """The value, one for all channels, of the last norm's scale in each residual block of a ResNet-18 or -10."""
    return [block.bn2.weight.unique().item() for block in network.modules() if hasattr(block, "downsample")]


@pytest.mark.parametrize("name", [name for name in METHODS if name not in NO_RESNET])
def test_residual_branches_start_as_in_the_official_code(name):
    official = next((start for start, names in OFFICIAL_STARTS.items() if name in names), 0)  # timm's, where none is
    method = case_of(name).module("timm/resnet18", backbone_kwargs=NARROW)
    parts = [method.backbone, *(kept for student, kept in method.ema_pairs() if student is method.backbone)]
    scales = [last_scales(part) for part in parts]  # of two networks in one
    assert scales == [[official] * (8 if name == "SplitBrain" else 4)] * len(parts)


def test_every_method_says_how_residual_branches_start():
    assert {name for name in METHODS if get_method(name).starts_at_identity is None} == NO_RESNET
    assert SSLModule.starts_at_identity is None


@pytest.mark.parametrize("name", ["timm/resnet18", "torchvision/resnet18"])
@pytest.mark.parametrize("zero", [True, False])
def test_the_start_of_residual_branches_is_the_methods_or_the_users_from_either_library(name, zero):
    chooser = type("Chooser", (SSLModule,), {"starts_at_identity": zero})
    option = "zero_init_last" if name.startswith("timm") else "zero_init_residual"
    assert set(last_scales(chooser(name).backbone)) == {0.0 if zero else 1.0}
    for arguments in ({"zero_init_residual": not zero}, {"backbone_kwargs": {option: not zero}}):
        assert set(last_scales(chooser(name, **arguments).backbone)) == {1.0 if zero else 0.0}


def test_trained_weights_and_modules_keep_their_scales(tmp_path):
    chooser = type("Chooser", (SSLModule,), {"starts_at_identity": True})
    trained = chooser("resnet18", backbone_kwargs=NARROW).backbone
    for parameter in trained.parameters():
        nn.init.constant_(parameter, 0.5)
    torch.save(trained.state_dict(), tmp_path / "trained.pth")
    for network in (
        chooser(trained).backbone,
        chooser("resnet18", backbone_kwargs={**NARROW, "checkpoint_path": str(tmp_path / "trained.pth")}).backbone,
    ):
        assert all((parameter == 0.5).all() for parameter in network.parameters())
    with pytest.raises(UsageError, match="zero_init_residual"):
        chooser(trained, zero_init_residual=False)


def test_a_network_without_residual_blocks_is_as_it_is():
    with without_memory():
        assert SSLModule("torchvision/vgg11", zero_init_residual=True).num_features == 4096
        assert SSLModule("vit_tiny_patch16_224", zero_init_residual=True).num_features == 192


def test_an_unknown_method_is_met_with_the_nearest():
    with pytest.raises(UsageError, match='Did you mean "SimCLR"'):
        get_method("SimCRL")
    with pytest.raises(AttributeError):
        sslbolts.Nothing  # noqa: B018
