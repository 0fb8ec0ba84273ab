"""Attention of real transformers against a naive softmax, and what the sheet shows of it."""

import pytest
import timm
import torch
import torchvision
from torch import Tensor

from sslbolts.errors import UsageError
from sslbolts.networks.attention import class_attention
from sslbolts.pictures.attention import draw_attention


def naive(network: torch.nn.Module, images: Tensor, prefix: int) -> Tensor:
    """softmax(q k / sqrt(d)) of the class token in the last block, from the weights."""
    block = network.blocks[-1]
    tokens = []
    handle = block.norm1.register_forward_hook(lambda *args: tokens.append(args[2]))
    network(images)
    handle.remove()
    q, k, _ = block.attn.qkv(tokens[0]).chunk(3, dim=-1)
    heads, width = block.attn.num_heads, block.attn.head_dim
    rows = []
    for head in range(heads):
        part = slice(head * width, (head + 1) * width)
        rows.append(torch.softmax(q[:, 0, part][:, None] @ k[:, :, part].transpose(1, 2) / width**0.5, -1)[:, 0])
    return torch.stack(rows, 1)[..., prefix:]


@pytest.mark.parametrize(
    ("name", "prefix", "patch"), [("vit_tiny_patch16_224", 1, 16), ("vit_small_patch14_reg4_dinov2", 5, 14)]
)
@torch.no_grad()
def test_the_map_is_that_of_the_weights_and_the_network_is_as_before(name, prefix, patch):
    network = timm.create_model(name, img_size=(2 * patch, 3 * patch), depth=2, num_classes=0).eval()
    images = torch.randn(2, 3, 2 * patch, 3 * patch)
    before = network(images)
    fused = [block.attn.fused_attn for block in network.blocks]
    maps = class_attention(network, images)
    assert maps.shape[2:] == (2, 3)
    torch.testing.assert_close(maps.flatten(2), naive(network, images, prefix), rtol=1e-4, atol=1e-6)
    assert [block.attn.fused_attn for block in network.blocks] == fused
    assert torch.equal(network(images), before)


@torch.no_grad()
def test_multihead_attention_of_torchvision():
    network = torchvision.models.VisionTransformer(32, 8, 1, 2, 16, 32).eval()
    images = torch.randn(3, 3, 32, 32)
    layer = network.encoder.layers[0]
    x = layer.ln_1(network.encoder.dropout(_tokens(network, images) + network.encoder.pos_embedding))
    _, expected = layer.self_attention(x, x, x, need_weights=True, average_attn_weights=False)
    torch.testing.assert_close(class_attention(network, images).flatten(2), expected[:, :, 0, 1:])


def _tokens(network: torch.nn.Module, images: Tensor) -> Tensor:
    patches = network.conv_proj(images).flatten(2).transpose(1, 2)
    return torch.cat([network.class_token.expand(len(images), -1, -1), patches], 1)


@pytest.mark.parametrize(
    ("name", "settings", "who"),
    [
        ("vit_tiny_patch16_224", {}, "the class token"),
        ("vit_tiny_patch16_224", {"class_token": False, "global_pool": "avg"}, "the average patch"),
        (
            "vit_tiny_patch16_224",
            {"class_token": False, "reg_tokens": 2, "global_pool": "avg"},
            "the first register token",
        ),
        ("vit_base_patch16_siglip_224", {}, "the pooling"),
    ],
)
def test_the_title_says_whose_attention_it_is(name, settings, who):
    from sslbolts.data import CIFAR10MiniDataModule
    from sslbolts.evaluation import load_encoder
    from sslbolts.evaluation.pictures import DRAW, Subject

    network = timm.create_model(name, img_size=32, depth=1, num_classes=0, **settings).eval()
    data = CIFAR10MiniDataModule(num_workers=0)
    data.setup()
    figure = DRAW["attention"](Subject(load_encoder(network, image_size=32), data, 8, 8, 1))
    assert " ".join(figure.get_suptitle().split()).startswith(f"What {who} attends to: ")


@pytest.mark.parametrize(
    "name", ["vit_base_patch16_siglip_224", "vit_medium_patch16_gap_240", "eva02_tiny_patch14_224"]
)
def test_transformers_without_class_token_and_with_rotary_positions(name):
    patch = 14 if "patch14" in name else 16
    network = timm.create_model(name, img_size=4 * patch, depth=1, num_classes=0).eval()
    assert class_attention(network, torch.rand(1, 3, 4 * patch, 4 * patch)).shape[2:] == (4, 4)


def test_a_network_without_attention_is_refused():
    with pytest.raises(UsageError, match="ResNet has no attention"):
        class_attention(timm.create_model("resnet18", num_classes=0), torch.rand(1, 3, 32, 32))


def test_the_mask_row_leaves_the_patches_of_the_mask_as_they_are_and_fades_the_others():
    attention = torch.zeros(1, 1, 2, 2)
    attention[0, 0, 0, 1] = 0.9  # the upper right patch alone holds more than 60 %
    attention[0, 0, 1, 0] = 0.1
    images = torch.full((1, 3, 8, 8), 0.2)
    figure = draw_attention(images, attention)
    mask = next(axes for axes in reversed(figure.axes) if axes.images).images[0].get_array()
    assert mask[:4, 4:].max() == pytest.approx(0.2)
    assert mask[4:].min() > 0.5
    assert mask[:4, :4].min() > 0.5
