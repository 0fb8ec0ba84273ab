"""Transformers in other libraries' checkpoints: their size, patches, tokens and heads."""

import pytest
import torch
import torchvision
from timm.models.vision_transformer import VisionTransformer

from sslbolts import UsageError, load_backbone
from sslbolts.export import read_backbone
from tests.checkpoints.test_foreign import IMAGES, ddp, head, lightning, under


def _transformer(seed: int = 0, **form):
    torch.manual_seed(seed)
    form = {"img_size": 32, "patch_size": 8, "embed_dim": 192, "depth": 2, "num_heads": 3, "num_classes": 0, **form}
    network = VisionTransformer(**form).eval()
    with torch.no_grad():
        for block in network.blocks:
            block.attn.qkv.weight.mul_(8)  # sharp attention, so that a wrong number of heads is seen in the features
    return network


@pytest.mark.parametrize(
    ("layout", "width", "heads", "make"),
    [
        ("plain", 192, 3, lambda s: s),
        ("plain", 384, 6, lambda s: {"arch": "vit_small_patch16_224", "state_dict": s}),
        ("dino", 192, 3, lambda s: {"student": {}, "teacher": {**under("backbone.", s), **head("head.mlp.0.weight")}}),
        ("mae", 192, 3, lambda s: {"model": {**s, **head("mask_token", "decoder_embed.weight", "decoder_pos_embed")}}),
        (
            "moco-v3",
            384,
            12,
            lambda s: {"state_dict": ddp({**under("base_encoder.", s), **head("base_encoder.head.0.x")})},
        ),
        (
            "moco-v3-linear",
            384,
            12,
            lambda s: {"arch": "vit_small", "state_dict": ddp({**s, **head("head.weight", "head.bias")})},
        ),
        (
            "solo-learn-mae",
            192,
            12,
            lambda s: lightning(
                {**under("backbone.", s), **head("classifier.bias", "decoder.decoder_embed.weight", "decoder.x")}
            ),
        ),
        (
            "lightly",
            192,
            3,
            lambda s: lightning(
                {
                    **under("backbone.vit.", s),
                    **head("backbone.mask_token", "backbone.vit.head.weight", "decoder.decoder_embed.weight"),
                }
            ),
        ),
    ],
)
def test_transformers_with_their_size_patches_and_heads(layout, width, heads, make, tmp_path):
    network = _transformer(embed_dim=width, num_heads=heads)
    torch.save(make(network.state_dict()), tmp_path / "vit.pth")
    read = read_backbone(tmp_path / "vit.pth", teacher=layout == "dino")
    assert read.report.layout == layout
    torch.testing.assert_close(read.network()(IMAGES), network(IMAGES), rtol=1e-4, atol=1e-5)
    assert read.spec["backbone_kwargs"]["patch_size"] == 8
    assert read.preprocessing is None or read.preprocessing.image_size == 32


def test_transformers_of_which_heads_cannot_be_told_are_asked_for(tmp_path):
    import timm

    network = timm.create_model("vit_tiny_patch16_224", num_classes=0, img_size=32, patch_size=8).eval()
    torch.save(
        lightning({**under("backbone.", network.state_dict()), **head("classifier.bias")}), tmp_path / "vit.ckpt"
    )
    with pytest.raises(UsageError, match=r"3 attention heads.*or 12.*num_heads=12"):
        load_backbone(tmp_path / "vit.ckpt")
    loaded = load_backbone(tmp_path / "vit.ckpt", backbone="vit_tiny_patch16_224")
    torch.testing.assert_close(loaded(IMAGES), network(IMAGES), rtol=1e-4, atol=1e-5)


def test_both_networks_of_lightlys_msn(tmp_path):
    student, teacher = _transformer(0), _transformer(1)
    tensors = {**under("anchor_backbone.vit.", student.state_dict()), **under("backbone.vit.", teacher.state_dict())}
    left = head("anchor_backbone.mask_token", "backbone.mask_token", "prototypes", "projection_head.layers.0.weight")
    torch.save(lightning({**tensors, **left}), tmp_path / "msn.ckpt")
    read = read_backbone(tmp_path / "msn.ckpt")
    assert read.report.layout == "lightly-msn"
    assert {"mask_token", "prototypes"} <= set(read.report.left_in_file)
    torch.testing.assert_close(read.network()(IMAGES), student(IMAGES), rtol=1e-4, atol=1e-5)
    loaded = load_backbone(tmp_path / "msn.ckpt", teacher=True)
    torch.testing.assert_close(loaded(IMAGES), teacher(IMAGES), rtol=1e-4, atol=1e-5)


def test_lightlys_transformer_of_torchvision_by_name(tmp_path, monkeypatch):
    whole = torchvision.models.vision_transformer._vision_transformer
    small = {"num_layers": 2, "num_heads": 3, "hidden_dim": 48, "mlp_dim": 96}
    monkeypatch.setattr(torchvision.models.vision_transformer, whole.__name__, lambda **form: whole(**form | small))
    torch.manual_seed(0)
    network = torchvision.models.vit_b_32().eval()
    left = head("backbone.mask_token", "decoder.decoder_embed.weight")
    torch.save(lightning({**under("backbone.vit.", network.state_dict()), **left}), tmp_path / "mae.ckpt")
    with pytest.raises(UsageError, match="name the network"):
        load_backbone(tmp_path / "mae.ckpt")
    read = read_backbone(tmp_path / "mae.ckpt", backbone="torchvision/vit_b_32")
    assert {"mask_token", "heads.head.weight", "heads.head.bias"} <= set(read.report.left_in_file)
    network.heads = torch.nn.Identity()
    images = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(3))
    torch.testing.assert_close(read.network()(images), network(images), rtol=1e-4, atol=1e-5)


def test_official_and_published_linear_networks_differ_in_heads_alone(tmp_path):
    network = _transformer(embed_dim=384, num_heads=12)
    torch.save({"arch": "vit_small", "state_dict": ddp(network.state_dict())}, tmp_path / "linear.pth.tar")
    loaded = load_backbone(tmp_path / "linear.pth.tar")
    assert loaded.blocks[0].attn.num_heads == 12
    six = load_backbone(tmp_path / "linear.pth.tar", layout="plain")
    assert (six(IMAGES) - network(IMAGES)).abs().max() > 1e-2
    assert read_backbone(tmp_path / "linear.pth.tar").preprocessing.mean == (0.485, 0.456, 0.406)


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("vit_tiny_patch16_224", {"reg_tokens": 4, "no_embed_class": True}),
        ("vit_tiny_patch16_224", {"reg_tokens": 4}),
        ("vit_tiny_patch16_224", {"no_embed_class": True}),
        ("vit_tiny_patch16_224", {"class_token": False, "global_pool": "avg"}),
    ],
)
def test_a_named_transformer_with_other_tokens(name, form, tmp_path):
    import timm

    network = _transformer(**form)
    torch.save(network.state_dict(), tmp_path / "vit.pth")
    with pytest.raises(UsageError, match="name the network"):
        load_backbone(tmp_path / "vit.pth")
    module = timm.create_model(name, num_classes=0, img_size=32, patch_size=8, depth=2, **form)
    loaded = load_backbone(tmp_path / "vit.pth", backbone=module)
    torch.testing.assert_close(loaded(IMAGES), network(IMAGES), rtol=1e-4, atol=1e-5)


def test_a_named_transformer_of_timm_with_registers(tmp_path, monkeypatch):
    import timm

    whole = timm.models.vision_transformer._create_vision_transformer
    short = lambda *name, **form: whole(*name, **form | {"depth": 2})  # noqa: E731
    monkeypatch.setattr(timm.models.vision_transformer, whole.__name__, short)
    torch.manual_seed(0)
    form = {"img_size": 28, "patch_size": 14}
    network = timm.create_model("vit_small_patch14_reg4_dinov2", num_classes=0, **form).eval()
    torch.save(network.state_dict(), tmp_path / "dinov2.pth")
    read = read_backbone(tmp_path / "dinov2.pth", backbone="vit_small_patch14_reg4_dinov2")
    assert read.spec["backbone_kwargs"] == form
    images = IMAGES[..., :28, :28]
    torch.testing.assert_close(read.network()(images), network(images), rtol=1e-4, atol=1e-5)


def test_where_dino_released_the_teacher_alone_it_says_so(tmp_path):
    network = _transformer(depth=12)  # all of them, as they are published
    torch.save({"teacher": under("backbone.", network.state_dict()) | head("head.x")}, tmp_path / "dino.pth")
    with pytest.warns(UserWarning, match="holds no student: these are the teacher's weights"):
        loaded = load_backbone(tmp_path / "dino.pth")
    torch.testing.assert_close(loaded(IMAGES), network(IMAGES), rtol=1e-4, atol=1e-5)
