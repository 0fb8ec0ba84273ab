"""SimMIM: size and initial weights of the official ViT, what is hidden, what is decayed and refused."""

from typing import Any

import pytest
import torch

from sslbolts import SimMIM, UsageError
from sslbolts.losses import masked_pixels
from sslbolts.methods.masked.masks import random_cells
from tests.helpers.nets import TinyBackbone, without_memory
from tests.helpers.trainers import Recorder, quiet_trainer
from tests.helpers.views import noise_loader

VIT = {"img_size": 32, "patch_size": 4, "embed_dim": 16, "depth": 2, "num_heads": 2}
BEIT = {"use_abs_pos_emb": False, "use_rel_pos_bias": False, "use_shared_rel_pos_bias": True, "init_values": 0.1}
SWIN = {"img_size": 32, "patch_size": 2, "window_size": 4, "embed_dim": 8, "depths": (1, 1), "num_heads": (2, 2)}
NETWORKS = {
    "vit_tiny_patch16_224": VIT,
    "beit_base_patch16_224": {**VIT, **BEIT},
    "swin_tiny_patch4_window7_224": SWIN,
}


def simmim(backbone: Any = "vit_tiny_patch16_224", **arguments: Any) -> SimMIM:
    return SimMIM(backbone, **{"backbone_kwargs": NETWORKS.get(backbone), "mask_size": 8, **arguments})


def test_the_papers_vit_has_the_official_number_of_parameters():
    with without_memory():
        method = SimMIM("beit_base_patch16_224", backbone_kwargs={**BEIT, "global_pool": "token"})
    assert sum(p.numel() for p in method.parameters() if p.requires_grad) == 86_256_720


def test_it_starts_as_the_official_code():
    torch.manual_seed(0)
    method = SimMIM("beit_base_patch16_224", backbone_kwargs={**VIT, **BEIT, "embed_dim": 192, "depth": 3}, mask_size=8)
    vit: Any = method.backbone
    weights = [(vit.blocks[0].attn.qkv, 1), (vit.patch_embed.proj, 1)]
    weights += [(layer, 2 * n) for n, b in enumerate(vit.blocks, 1) for layer in (b.attn.proj, b.mlp.fc2)]
    for layer, divisor in weights:
        scaled = layer.weight.detach() * divisor**0.5
        assert 0.0195 < scaled.abs().max() < 0.02001
        assert scaled.std().item() == pytest.approx(0.0108, abs=3e-4)  # of a normal of 0.02 cut at one deviation
        assert layer.bias is None or not layer.bias.any()
    assert method.mask_token.std().item() == pytest.approx(0.0108, abs=1e-3)
    assert not vit.rel_pos_bias.relative_position_bias_table.any()
    assert (vit.blocks[2].gamma_1 == 0.1).all()


def test_ones_own_network_keeps_its_weights():
    import timm

    network = timm.create_model("vit_tiny_patch16_224", num_classes=0, **VIT)
    before = network.blocks[0].attn.qkv.weight.clone()
    assert torch.equal(SimMIM(network, mask_size=8).backbone.blocks[0].attn.qkv.weight, before)


@pytest.mark.parametrize(("side", "hidden"), [(6, 22), (7, 30), (4, 10)])
def test_the_official_number_of_cells_is_hidden_in_every_image(side, hidden):
    mask = random_cells(torch.rand(5, side, side), 0.6)
    assert mask.shape == (5, side, side)
    assert (mask.sum((1, 2)) == hidden).all()
    assert not torch.equal(mask[0], mask[1])


def test_pixels_that_are_seen_have_no_part_in_the_loss():
    predictions, images = torch.randn(2, 3, 32, 32, requires_grad=True), torch.rand(2, 3, 32, 32)
    mask = random_cells(torch.rand(2, 4, 4), 0.6)
    masked_pixels(predictions, images, mask).backward()
    for image in range(2):
        for row in range(32):
            for column in range(32):
                gradient = predictions.grad[image, :, row, column]
                assert bool((gradient != 0).all() if mask[image, row // 8, column // 8] else (gradient == 0).all())


@pytest.mark.parametrize("backbone", NETWORKS)
def test_hidden_cells_do_not_reach_the_encoder_and_seen_ones_do(backbone):
    method, images = simmim(backbone).eval(), torch.rand(2, 3, 32, 32)
    mask = random_cells(torch.rand(2, 4, 4), 0.6)
    hidden = torch.kron(mask.float(), torch.ones(8, 8))[:, None]
    expected = method.predict_pixels(images, mask)
    assert expected.shape == images.shape
    torch.testing.assert_close(method.predict_pixels(images + 5 * hidden, mask), expected)
    assert not torch.allclose(method.predict_pixels(images + 5 * (1 - hidden), mask), expected)
    assert method(images).shape == (2, method.num_features)


def test_a_tokens_prediction_stands_where_its_patch_is():
    method = simmim()
    with torch.no_grad():
        method.decoder.layers[0].weight.zero_()
        method.decoder.layers[0].bias.copy_(torch.arange(48.0))  # channel, row, column, as PixelShuffle has them
        output = method.predict_pixels(torch.rand(1, 3, 32, 32), torch.zeros(1, 4, 4, dtype=torch.bool))
    expected = torch.arange(48.0).view(3, 4, 4).repeat(1, 8, 8)
    torch.testing.assert_close(output[0], expected)


def test_the_mask_token_learns_and_only_it_stands_for_hidden_patches():
    method = simmim()
    images, mask = torch.rand(2, 3, 32, 32), torch.ones(2, 4, 4, dtype=torch.bool)
    method.compare(method.predict_pixels(images, mask), images, mask).backward()
    assert method.mask_token.grad.any()
    assert not method.backbone.patch_embed.proj.weight.grad.any()


def test_the_mask_token_is_decayed_in_vit_and_not_in_swin():
    for backbone in NETWORKS:
        method = simmim(backbone)
        decayed, exempt = method.parameter_groups()
        group = exempt if "swin" in backbone else decayed
        assert id(method.mask_token) in {id(p) for p in group["params"]}
        assert all(p.ndim == 1 for p in exempt["params"])


@pytest.mark.parametrize("backbone", list(NETWORKS)[1:])
def test_other_transformers_train(backbone):
    recorder = Recorder()
    method = simmim(backbone, warmup_epochs=0, lr_scaling="none", optimizer=lambda p: torch.optim.AdamW(p, lr=0.01))
    quiet_trainer(max_steps=2, callbacks=[recorder]).fit(method, noise_loader(16, 8, (32,)))
    assert all(gradient.isfinite().all() for gradient in recorder.gradients[1].values())
    assert {"mask_token", "decoder.layers.0.weight"} <= recorder.gradients[1].keys()


def test_the_loss_of_the_mean_is_that_of_what_is_seen():
    method, seen = simmim(), {}
    method.log = lambda name, value, **_: seen.update({name: value})  # type: ignore[method-assign]
    method.generator = lambda *_, device: torch.Generator().manual_seed(3)  # type: ignore[method-assign]
    images = torch.rand(2, 3, 32, 32)
    loss = method.training_step(next(iter(noise_loader(2, 2, (32,))))._replace(views=[images]), 0)
    noise = torch.rand(2, 4, 4, generator=torch.Generator().manual_seed(3))
    mask, by_mean, pixels = random_cells(noise, 0.6), 0.0, 0
    for image, cells in zip(images, mask):
        hidden = torch.kron(cells.float(), torch.ones(8, 8)).bool()
        for channel in image:
            by_mean += (channel[hidden] - channel[~hidden].mean()).abs().sum().item()
            pixels += int(hidden.sum())
    assert seen["train/loss_of_mean"].item() == pytest.approx(loss.item() / (by_mean / pixels), rel=1e-4)


def test_reconstructions_keep_what_is_seen():
    images = torch.rand(3, 3, 32, 32) + 0.1
    shown, output = simmim().eval().reconstruct(images)
    seen = (shown != 0).any(1, keepdim=True).expand_as(images)
    assert seen.float().mean() == 6 / 16
    assert torch.equal(output[seen], images[seen])
    assert (output[~seen] != images[~seen]).float().mean() > 0.9


def test_the_learning_rate_drops_at_seven_eighths():
    method = simmim(milestones=(0.875,))
    factors = [method.lr_factor(step, total=800, warmup=10) for step in (5, 10, 699, 700, 799)]
    assert factors == pytest.approx([0.5, 1, 1, 0.1, 0.1])


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: SimMIM("resnet18"), "Swin of timm, and ResNet is none"),
        (lambda: SimMIM(TinyBackbone()), "TinyBackbone is none"),
        (lambda: simmim(mask_ratio=1.5), "mask_ratio=1.5"),
        (lambda: simmim(mask_ratio=0.95), "mask_ratio=0.95 leaves 0 of 16"),
        (lambda: simmim(mask_size=6), "mask_size=6: .* patches of 4 pixels.* give e.g. mask_size=8"),
        (lambda: simmim(mask_size=12), "fill its images of 32 x 32"),
        (lambda: simmim(milestones=(0.5,), final_lr=0.1), "final_lr=0.1 has no effect"),
    ],
)
def test_wrong_arguments(make, words):
    with pytest.raises(UsageError, match=words):
        make()


def test_images_of_another_size_are_refused():
    with pytest.raises(UsageError, match=r"made for images of \(32, 32\)"):
        quiet_trainer(max_steps=1).fit(simmim(warmup_epochs=0), noise_loader(8, 4, (16,)))
