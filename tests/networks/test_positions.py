"""Position embeddings of vision transformers for images of another size."""

import copy
import math
import pickle

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from sslbolts import DINO, UsageError
from sslbolts.checkpoints.backbone import read_backbone
from sslbolts.networks.backbones import create_backbone
from tests.helpers.nets import without_memory

VIT = {"img_size": 48, "patch_size": 8, "embed_dim": 24, "depth": 1, "num_heads": 2}
REGISTERS = {"reg_tokens": 2, "no_embed_class": True}


def vit(**arguments):
    torch.manual_seed(0)
    network = create_backbone("vit_tiny_patch16_224", **{**VIT, **arguments}).double().eval()
    torch.nn.init.normal_(network.pos_embed)
    return network


def official(positions: Tensor, rows: int, columns: int) -> Tensor:
    """DINO's formula on ``(1, N, D)`` embeddings of a square grid."""
    side = math.sqrt(positions.shape[1])
    grid = positions.reshape(1, int(side), int(side), -1).permute(0, 3, 1, 2)
    factors = ((rows + 0.1) / side, (columns + 0.1) / side)
    grid = F.interpolate(grid, scale_factor=factors, mode="bicubic")
    return grid.permute(0, 2, 3, 1).reshape(1, rows * columns, -1)


@pytest.mark.parametrize("tokens", [{}, REGISTERS])
@pytest.mark.parametrize(("height", "width"), [(32, 32), (40, 64), (96, 96), (48, 48)])
@torch.no_grad()
def test_features_are_those_with_positions_of_the_official_formula(tokens, height, width):
    network = vit(positions="dino", **tokens)
    first = 0 if tokens else 1
    fixed = vit(img_size=(height, width), dynamic_img_size=False, **tokens)
    fixed.load_state_dict({**network.state_dict(), "pos_embed": fixed.pos_embed})
    patches = network.pos_embed[:, first:]
    if (height, width) != (48, 48):
        patches = official(patches, height // 8, width // 8)
    fixed.pos_embed.copy_(torch.cat([network.pos_embed[:, :first], patches], 1))
    images = torch.randn(2, 3, height, width, dtype=torch.float64)
    torch.testing.assert_close(network(images), fixed(images), rtol=1e-10, atol=1e-10)
    antialiased = vit(**tokens)
    assert torch.allclose(network(images), antialiased(images)) == ((height, width) == (48, 48))


@torch.no_grad()
def test_copies_and_files_resample_as_well():
    network, images = vit(positions="dino"), torch.randn(1, 3, 32, 32, dtype=torch.float64)
    for again in (copy.deepcopy(network), pickle.loads(pickle.dumps(network))):
        assert torch.equal(again(images), network(images))


@torch.no_grad()
def test_dino_resamples_so_unless_asked_otherwise_and_so_does_its_exported_backbone():
    small = {"hidden_dim": 8, "bottleneck_dim": 6, "output_dim": 12}
    images = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    for arguments, positions in (({}, "dino"), ({"positions": "timm"}, "timm")):
        method = DINO("vit_tiny_patch16_224", backbone_kwargs={**VIT, **arguments}, **small).double().eval()
        plain = vit(positions=positions)
        plain.load_state_dict(method.backbone.state_dict())
        exported = read_backbone(method).network().double()
        for network in (method, method.teacher.backbone, exported):
            torch.testing.assert_close(network(images), plain(images), rtol=1e-10, atol=1e-10)


def test_where_there_are_no_such_positions():
    with pytest.raises(UsageError, match="is for vision transformers"):
        create_backbone("resnet18", positions="dino")
    with pytest.raises(UsageError, match="timm, dino"):
        create_backbone("vit_tiny_patch16_224", positions="dyno")
    with without_memory():
        assert create_backbone("vit_relpos_small_patch16_224", positions="dino").num_features == 384
