"""CPC: the grid, what contexts see, and the noise on patches."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from sslbolts import CPC, UsageError
from sslbolts.losses import cpc
from sslbolts.methods.contrastive.cpc import MaskedContext
from tests.golden import naive_losses as naive
from tests.helpers.nets import SmallConvNet, TinyBackbone
from tests.helpers.trainers import quiet_trainer
from tests.helpers.views import noise_loader


def small(backbone=None, **arguments):
    sizes = {"patch_size": 8, "stride": 4, "context_dim": 8, "target_dim": 4, "warmup_epochs": 0.0}
    return CPC(backbone or TinyBackbone(), **{**sizes, **arguments})


def noisy(method, patches, batch_idx=0):
    """Patches with noise, from a module that no Trainer drives."""
    method._seed = 3
    method._trainer = type("Position", (), {"current_epoch": 0})()
    return method._with_noise(patches, batch_idx)


@pytest.mark.parametrize(
    ("side", "size", "stride", "grid", "first"),
    [(32, 8, 4, 7, 2), (260, 80, 36, 6, 3), (256, 64, 32, 7, 2), (32, 8, 8, 4, 1)],
)
def test_the_grid_and_the_first_row_without_overlap_are_the_papers(side, size, stride, grid, first):
    method = small(patch_size=size, stride=stride)
    x = torch.randn(2, 3, side, side)
    patches = method.patches(x)
    assert patches.shape == (grid, grid, 2, 3, size, size)
    assert torch.equal(patches[1, 2, 1], x[1, :, stride : stride + size, 2 * stride : 2 * stride + size])
    assert method.first_offset == first
    assert first * stride >= size > (first - 1) * stride


def test_features_are_the_mean_over_patches_without_noise():
    method = small(patch_margin=2, color_drop=1.0)
    x = torch.randn(2, 3, 32, 32)
    expected = torch.stack([method.backbone(method.patches(x)[r, c]) for r in range(7) for c in range(7)]).mean(0)
    for mode in (True, False):
        torch.testing.assert_close(method.train(mode)(x), expected)


@pytest.mark.parametrize("row", range(5))
def test_a_context_sees_its_own_row_and_those_above_alone(row):
    grid = torch.randn(1, 4, 5, 5, requires_grad=True)
    MaskedContext(4, hidden_dim=8)(grid)[0, :, row].sum().backward()
    seen = grid.grad.abs().sum((0, 1, 3)) > 0
    assert seen.tolist() == [other <= row for other in range(5)]


def test_what_is_put_on_top_of_the_grid_is_zero():
    block = MaskedContext(2, hidden_dim=3).blocks[0]
    grid = torch.randn(1, 2, 3, 3)
    lifted = block[2](block[1](block[0](grid)))
    by_hand = F.conv2d(torch.cat([torch.zeros_like(lifted[:, :, :1]), lifted], 2), block[4].weight, block[4].bias)
    torch.testing.assert_close(block(grid), block[6](by_hand.relu()))
    assert [type(layer) for layer in block].count(nn.Conv2d) == 4


def test_the_loss_is_the_mean_over_steps_and_directions():
    method = small(steps=2, directions=4, patch_margin=0, color_drop=0.0)
    method.log = lambda *_, **__: None
    method._trainer = type("Position", (), {"current_epoch": 0})()
    batch = next(iter(noise_loader(2, 2, (24,))))
    grid = method.patches(batch.views[0])
    z = torch.stack([torch.stack([method.backbone(patches) for patches in row]) for row in grid])  # (5, 5, B, D)
    down = z.permute(2, 3, 0, 1)
    # Down; up: rows in reverse; and both sides: columns become rows.
    turned = [down, down.flip(2, 3), down.transpose(2, 3).flip(2), down.transpose(2, 3).flip(3)]
    expected = []
    for grid, context, heads in zip(turned, method.contexts, method.heads):
        for head, offset in zip(heads, (2, 3)):
            prediction, target = head(context(grid)).permute(0, 2, 3, 1), method.target(grid).permute(0, 2, 3, 1)
            expected.append(naive.cpc_rows(naive.L2(prediction), naive.L2(target), offset, 0.1))
    torch.testing.assert_close(
        method.training_step(batch, 0), torch.stack(expected).mean().float(), rtol=1e-5, atol=1e-5
    )


def test_every_step_and_direction_has_a_head_of_its_own():
    method = small(steps=3, directions=2)
    assert len(method.contexts) == len(method.heads) == 2
    assert [len(heads) for heads in method.heads] == [3, 3]
    assert len({id(head) for heads in method.heads for head in heads}) == 6


def test_a_patch_is_moved_inside_its_frame():
    method = small(patch_margin=1, color_drop=0.0)
    patches = torch.randn(7, 6, 3, 8, 8)
    moved = noisy(method, patches)
    assert moved.shape == patches.shape
    assert (F.pad(moved[..., 1:-1, 1:-1], [1] * 4) == moved).all()  # a frame of zeros
    found = set()
    for patch, result in zip(patches.flatten(0, 1), moved.flatten(0, 1)):
        places = [
            (top, left)
            for top in range(3)
            for left in range(3)
            if torch.equal(patch[:, top : top + 6, left : left + 6], result[:, 1:-1, 1:-1])
        ]
        assert len(places) == 1
        found.update(places)
    assert len(found) == 9


def test_dropped_colors_leave_one_channel_of_each_patch():
    patches = torch.randn(40, 10, 3, 8, 8)
    dropped = noisy(small(patch_margin=0, color_drop=0.25), patches)
    left = (dropped == patches).flatten(3).all(3)
    assert ((dropped == 0).flatten(3).all(3) | left).all()
    counts = left.sum(2).flatten()
    assert set(counts.tolist()) == {1, 3}
    assert abs((counts == 1).float().mean() - 0.25) < 0.08
    assert (left[left.sum(2) == 1].float().mean(0) - 1 / 3).abs().max() < 0.2
    assert not torch.equal(noisy(small(patch_margin=0), patches, 0), noisy(small(patch_margin=0), patches, 1))


def test_a_grid_too_small_for_the_steps_is_refused_before_the_first_batch():
    with pytest.raises(UsageError, match=r"images of 32 pixels give 7 rows .* takes 8"):
        quiet_trainer(max_steps=1).fit(small(steps=6), noise_loader(16, 8, (32,)))
    with pytest.raises(UsageError, match="give 0 rows"):
        quiet_trainer(max_steps=1).fit(small(patch_size=40, stride=20), noise_loader(16, 8, (32,)))


def test_a_named_backbone_gets_layer_norm_and_batch_norm_is_warned_of(recwarn):
    method = small("resnet10t", stem="cifar")
    norms = {type(m).__name__ for m in method.backbone.modules() if "Norm" in type(m).__name__}
    assert norms == {"GroupNorm1"}
    assert not [w for w in recwarn if "batch norm" in str(w.message)]
    with pytest.warns(UserWarning, match="CPC's backbone has batch norm"):
        small(SmallConvNet())


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"stride": 9}, "stride=9"),
        ({"patch_margin": 4}, "patch_margin=4"),
        ({"color_drop": 1.5}, "color_drop=1.5"),
        ({"steps": 0}, "steps=0"),
        ({"directions": 5}, "1 to 4 directions"),
    ],
)
def test_wrong_values_are_named(wrong, message):
    with pytest.raises(UsageError, match=message):
        small(**wrong)


def test_wrong_shapes_and_offsets_of_the_loss_are_named():
    grid = torch.randn(2, 4, 3, 5)
    with pytest.raises(UsageError, match="one shape"):
        cpc(grid, grid[:, 1:], 1)
    for offset in (0, 4):
        with pytest.raises(UsageError, match=f"offset={offset}: a grid of 4 rows"):
            cpc(grid, grid, offset)
