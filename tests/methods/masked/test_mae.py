"""MAE: initial weights and size of the official module, what is hidden, what is decayed and refused."""

from typing import Any

import pytest
import torch
from torch import nn

from sslbolts import MAE, UsageError
from sslbolts.losses import masked_patches
from sslbolts.losses.reconstruction import patchify, unpatchify
from sslbolts.methods.masked.masks import random_patches
from tests.helpers.nets import TinyBackbone, without_memory
from tests.helpers.trainers import quiet_trainer
from tests.helpers.views import noise_loader

VIT = {"img_size": 32, "patch_size": 8, "embed_dim": 16, "depth": 2, "num_heads": 2}


def mae(**arguments: Any) -> MAE:
    small = {"decoder_dim": 12, "decoder_depth": 1, "decoder_heads": 3}
    return MAE("vit_tiny_patch16_224", backbone_kwargs=VIT, **small | arguments)


def test_mae_has_the_official_number_of_parameters():
    with without_memory():
        method = MAE("vit_base_patch16_224")
    trained = sum(p.numel() for p in method.parameters() if p.requires_grad)
    fixed = method.backbone.pos_embed.numel() + method.decoder.positions.numel()
    assert (trained, trained + fixed) == (111_655_680, 111_907_840)
    assert sum(p.numel() for p in method.decoder.parameters()) + method.decoder.positions.numel() == 26_109_184


def test_mae_starts_as_the_official_module():
    torch.manual_seed(0)
    method = MAE("vit_small_patch16_224", decoder_dim=64, decoder_depth=1, decoder_heads=4)
    vit: Any = method.backbone
    width, values = 384, 3 * 16**2
    bounds = {  # of uniform numbers
        vit.blocks[0].attn.qkv.weight: (6 / (4 * width)) ** 0.5,  # queries, keys and values as one matrix
        vit.blocks[0].mlp.fc1.weight: (6 / (5 * width)) ** 0.5,
        vit.patch_embed.proj.weight: (6 / (width + values)) ** 0.5,
        vit.patch_embed.proj.bias: values**-0.5,
        method.decoder.head.weight: (6 / (64 + values)) ** 0.5,
    }
    for weight, bound in bounds.items():
        assert weight.abs().max() <= bound
        assert weight.abs().max() > 0.95 * bound
    assert all(not layer.bias.any() for layer in method.modules() if isinstance(layer, nn.Linear))
    for token in (vit.cls_token, method.decoder.mask_token):
        assert 0.01 < token.std() < 0.03
    assert not vit.pos_embed[0, 0].any()
    assert not vit.pos_embed.requires_grad


def test_a_pretrained_network_and_ones_own_keep_their_weights():
    import timm

    network = timm.create_model("vit_tiny_patch16_224", num_classes=0, **VIT)
    before = network.state_dict()["blocks.0.attn.qkv.weight"].clone()
    method = MAE(network, decoder_dim=12, decoder_depth=1, decoder_heads=3)
    assert torch.equal(method.backbone.state_dict()["blocks.0.attn.qkv.weight"], before)


@pytest.mark.parametrize(("patches", "seen"), [(196, 49), (64, 16), (49, 12), (50, 12), (10, 2)])
def test_mae_sees_the_official_number_of_patches(patches, seen):
    found = random_patches(torch.rand(3, patches), 0.75)
    assert found.keep.shape == (3, seen)
    assert (found.hidden.sum(1) == patches - seen).all()
    assert not found.hidden.gather(1, found.keep).any()
    assert torch.equal(found.restore.gather(1, found.keep), torch.arange(seen).expand(3, seen))


def test_patches_are_put_back():
    images = torch.rand(2, 3, 8, 12)
    patches = patchify(images, 4)
    assert torch.equal(patches[1, 4].view(4, 4, 3), images[1, :, 4:8, 4:8].permute(1, 2, 0))
    assert torch.equal(unpatchify(patches, 4, 8, 12), images)


def test_what_is_seen_has_no_part_in_the_loss():
    predictions, images = torch.randn(2, 16, 192, requires_grad=True), torch.rand(2, 3, 32, 32)
    patches = random_patches(torch.rand(2, 16), 0.75)
    masked_patches(predictions, images, patches.hidden, patch=8).backward()
    assert torch.equal(predictions.grad.abs().sum(2) > 0, patches.hidden)


def test_the_hidden_patches_do_not_reach_the_encoder():
    method, images = mae().eval(), torch.rand(2, 3, 32, 32)
    patches = random_patches(torch.rand(2, 16), 0.75)
    changed = unpatchify(patchify(images, 8) + 5 * patches.hidden[..., None], 8, 32, 32)
    torch.testing.assert_close(method.predict_patches(images, patches), method.predict_patches(changed, patches))


def test_predicting_the_mean_is_a_loss_of_almost_one():
    images = torch.rand(4, 3, 32, 32)
    found = masked_patches(torch.zeros(4, 16, 192), images, torch.ones(4, 16), patch=8).item()
    assert found == pytest.approx(191 / 192, rel=1e-4)  # the variance is unbiased


def test_tokens_are_decayed_and_vectors_are_not():
    method = mae()
    decayed, exempt = method.parameter_groups()
    assert {id(method.backbone.cls_token), id(method.decoder.mask_token)} <= {id(p) for p in decayed["params"]}
    assert all(p.ndim == 1 for p in exempt["params"])


def test_reconstructions_keep_what_is_seen():
    method = mae()
    images = torch.rand(3, 3, 32, 32)
    shown, output = method.eval().reconstruct(images)
    seen = (shown != 0).any(1, keepdim=True).expand_as(images)
    assert 0.2 < seen.float().mean() < 0.45
    assert torch.equal(output[seen], images[seen])
    assert (output[~seen] != images[~seen]).float().mean() > 0.9


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: MAE("resnet18"), "vision transformers of timm"),
        (lambda: MAE(TinyBackbone()), "TinyBackbone is none"),
        (lambda: mae(decoder_heads=5), "decoder_heads=5 must divide decoder_dim=12"),
        (lambda: mae(mask_ratio=1.5), "mask_ratio=1.5"),
    ],
)
def test_wrong_arguments(make, words):
    with pytest.raises(UsageError, match=words):
        make()


@pytest.mark.parametrize(
    ("method", "size", "words"),
    [
        (mae(), 16, r"made for images of \(32, 32\)"),
        (mae(mask_ratio=0.99), 32, "leaves 0 of 16 patches"),
    ],
)
def test_wrong_images(method, size, words):
    method.warmup_epochs = 0
    with pytest.raises(UsageError, match=words):
        quiet_trainer(max_steps=1).fit(method, noise_loader(8, 4, (size,)))
