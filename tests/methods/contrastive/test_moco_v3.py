"""MoCo v3's heads, and what it does to a vision transformer."""

import math

import pytest
import torch
from torch import nn

from sslbolts import MoCoV3, UsageError
from tests.golden.reference import values
from tests.helpers.nets import TinyBackbone
from tests.helpers.trainers import quiet_trainer
from tests.helpers.views import noise_loader

VIT = {"img_size": 32, "patch_size": 8, "embed_dim": 24, "depth": 2, "num_heads": 3}
SMALL = {"hidden_dim": 16, "output_dim": 8, "lr_scaling": "none", "warmup_epochs": 0}


def _vit(**arguments) -> MoCoV3:
    torch.manual_seed(0)
    return MoCoV3("vit_tiny_patch16_224", backbone_kwargs=VIT, **{**SMALL, **arguments})


def test_heads_follow_the_backbone():
    layers = [[type(layer) for layer in head] for head in (_vit().projector, _vit().predictor)]
    block = [nn.Linear, nn.BatchNorm1d, nn.ReLU]
    assert layers == [[*block, *block, nn.Linear, nn.BatchNorm1d], [*block, nn.Linear, nn.BatchNorm1d]]
    resnet = MoCoV3(TinyBackbone(), **SMALL)
    layers = [[type(layer) for layer in head] for head in (resnet.projector, resnet.predictor)]
    assert layers == [[*block, nn.Linear, nn.BatchNorm1d], [*block, nn.Linear]]
    for head in (_vit().projector, _vit().predictor, resnet.projector, resnet.predictor):
        assert all(layer.bias is None for layer in head if isinstance(layer, nn.Linear))
    assert [head[-1].affine for head in (_vit().projector, _vit().predictor, resnet.projector)] == [False] * 3


def test_positions_are_the_reference_ones_with_the_row_first():
    columns_first = values("sincos_pos_embed_2d", "out", torch.float32)
    (reference,) = columns_first.values()
    reference = reference.reshape(-1, 8)
    vit = {**VIT, "img_size": 24, "embed_dim": 8, "num_heads": 2}
    method = MoCoV3("vit_tiny_patch16_224", backbone_kwargs=vit, **SMALL)
    positions = method.backbone.pos_embed[0]
    assert not positions[0].any(), "the class token has none"
    torch.testing.assert_close(positions[1:], torch.cat([reference[-9:, 4:], reference[-9:, :4]], 1))


def test_patch_embedding_and_positions_stay_as_they_start():
    method = _vit(optimizer=lambda params: torch.optim.AdamW(params, lr=0.01, weight_decay=0.1))
    before = {name: p.clone() for name, p in method.backbone.named_parameters()}
    trainer = quiet_trainer(max_steps=2)
    trainer.fit(method, noise_loader(16, 8))
    still = {name for name, p in method.backbone.named_parameters() if torch.equal(p, before[name])}
    assert still == {"pos_embed", "patch_embed.proj.weight", "patch_embed.proj.bias"}
    (group,) = trainer.optimizers[0].param_groups  # all of the others are decayed
    assert group["weight_decay"] == 0.1
    assert _vit(freeze_patch_embed=False).backbone.patch_embed.proj.weight.requires_grad


def test_queries_keys_and_values_are_matrices_of_their_own_when_they_start():
    block = _vit().backbone.blocks[0]
    for layer, fan_out in ((block.attn.qkv, 24), (block.attn.proj, 24), (block.mlp.fc1, 96)):
        bound = math.sqrt(6 / (24 + fan_out))
        assert 0.95 * bound < layer.weight.abs().max() <= bound
        assert not layer.bias.any()


def test_weights_that_are_given_are_kept():
    import timm

    network = timm.create_model("vit_tiny_patch16_224", num_classes=0, **VIT)
    before = {name: p.clone() for name, p in network.named_parameters()}
    method = MoCoV3(network, **SMALL)
    assert all(torch.equal(p, before[name]) for name, p in method.backbone.named_parameters())
    assert not method.backbone.patch_embed.proj.weight.requires_grad


def test_wrong_arguments_are_named():
    with pytest.raises(UsageError, match="temperature=0"):
        MoCoV3(TinyBackbone(), temperature=0)
    with pytest.raises(UsageError, match="multiple of 4"):
        MoCoV3("vit_tiny_patch16_224", backbone_kwargs={**VIT, "embed_dim": 18}, **SMALL)


def test_a_transformer_of_a_file_of_weights_keeps_them(tmp_path):
    trained = _vit().backbone
    for parameter in trained.parameters():
        nn.init.constant_(parameter, 0.5)
    torch.save(trained.state_dict(), tmp_path / "trained.pth")
    given = {**VIT, "checkpoint_path": str(tmp_path / "trained.pth")}
    method = MoCoV3("vit_tiny_patch16_224", backbone_kwargs=given, **SMALL)
    assert all((parameter == 0.5).all() for parameter in method.backbone.parameters())
