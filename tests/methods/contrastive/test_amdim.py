"""AMDIM: its network, and what is compared with what."""

import pytest
import torch
from torch import nn

from sslbolts import AMDIM, UsageError
from sslbolts.losses import amdim
from sslbolts.networks.amdim import AMDIMEncoder
from sslbolts.networks.backbones import create_backbone
from tests.golden import naive_losses as naive
from tests.helpers.nets import TinyBackbone
from tests.helpers.views import noise_loader

SMALL = {"image_size": 32, "width": 4, "n_rkhs": 16, "depth": 2}


def drawing(method):
    """The module where no Trainer drives it."""
    method._seed = 3
    method._trainer = type("Position", (), {"current_epoch": 0})()
    method.log = lambda *_, **__: None
    return method


@pytest.mark.parametrize("size", [32, 64, 128])
def test_every_form_has_maps_of_5_and_7_locations(size):
    with torch.device("meta"):
        encoder = AMDIMEncoder(size, width=4, n_rkhs=32, depth=1)
        maps = []
        r1 = encoder(torch.empty(2, 3, size, size), maps)
    assert [tuple(t.shape) for t in (r1, *maps)] == [(2, 32), (2, 32, 5, 5), (2, 32, 7, 7)]


@pytest.mark.parametrize("size", [32, 64])
def test_no_location_knows_where_it_stands(size):
    """In a constant image without padding all locations are equal; a padded network would tell borders apart."""
    encoder = AMDIMEncoder(size, width=4, n_rkhs=32, depth=1).eval()
    for module in encoder.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.normal_(module.weight, std=0.1)  # the branches too, which begin at zero
    maps = []
    encoder(torch.ones(1, 3, size, size), maps)
    for features in maps:
        torch.testing.assert_close(features, features[..., :1, :1].expand_as(features), rtol=1e-4, atol=1e-5)
    assert all(m.padding == (0, 0) for m in encoder.modules() if isinstance(m, nn.Conv2d))


def test_residual_branches_begin_at_zero_and_the_heads_near_the_identity():
    encoder = AMDIMEncoder(**SMALL)
    branches = [m for m in encoder.modules() if hasattr(m, "branch")]
    assert len(branches) == 1 + 4 * 2 + 1 + 2
    assert all((m.branch[-1].weight == 0).all() for m in branches)
    shortcut = encoder.head_5.shortcut.weight[..., 0, 0]
    assert (shortcut.diagonal() == 1).all()
    assert (shortcut - torch.eye(*shortcut.shape)).abs().max() <= 0.01


def test_the_network_is_made_by_name():
    encoder = create_backbone("sslbolts/amdim", in_chans=1, **SMALL)
    assert isinstance(encoder, AMDIMEncoder)
    assert encoder(torch.rand(2, 1, 32, 32)).shape == (2, 16)
    with pytest.raises(UsageError, match="does not take these backbone_kwargs"):
        create_backbone("sslbolts/amdim", layers=3)
    with pytest.raises(UsageError, match="image_size=32"):
        create_backbone("sslbolts/amdim", stem="cifar")
    with pytest.raises(UsageError, match="forms for 32, 64 and 128"):
        create_backbone("sslbolts/amdim", image_size=96)
    with pytest.raises(UsageError, match="for 32 pixels got images of 64x64"):
        encoder(torch.rand(2, 1, 64, 64))


def test_the_loss_is_the_sum_over_scales_of_the_mean_over_directions():
    method = drawing(AMDIM(backbone_kwargs=SMALL, clip=20.0)).double().train()
    batch = next(iter(noise_loader(3, 3, dtype=torch.float64)))
    state = {name: value.clone() for name, value in method.state_dict().items()}
    loss = method.training_step(batch, 0)
    method.load_state_dict(state)
    (g1, a5, a7), (g2, b5, b7) = map(method._scales, batch.views)
    s1, s2 = method._random_locations((a5, b5), 0)
    expected = 0.0
    for source, target in ((g1, b5), (g2, a5), (g1, b7), (g2, a7), (s1, b5), (s2, a5)):
        nce, regularization = naive.amdim_g2l(naive.L2(source), nested(target), 20.0)
        expected = expected + (nce + regularization) / 2
    torch.testing.assert_close(loss, expected)


def nested(x):
    return [[list(location) for location in image] for image in x]


def test_the_random_location_is_one_of_each_images_own_and_changes_from_batch_to_batch():
    method = drawing(AMDIM(backbone_kwargs=SMALL))
    places = torch.arange(25.0)[None, :, None] + 100 * torch.arange(400.0)[:, None, None]  # (400, 25, 1)
    first, second = method._random_locations((places, places), 0)
    for chosen in (first, second):
        assert torch.equal(chosen[:, 0] // 100, torch.arange(400.0))
        assert set((chosen[:, 0] % 100).tolist()) == set(range(25))
    assert not torch.equal(first, second)
    assert not torch.equal(first, method._random_locations((places, places), 1)[0])
    assert torch.equal(first, method._random_locations((places, places), 0)[0])


def test_scores_are_clipped_and_regularized_as_they_were_before():
    source, target = 100 * torch.eye(3, 8), 100 * torch.eye(3, 8)[:, None].expand(-1, 4, -1)
    raw = 1e4 / 8**0.5  # between equal images; 0 between others
    expected = torch.tensor(5.0).neg().exp().mul(2 * 4).log1p() + 0.05 * raw**2 / 3
    torch.testing.assert_close(amdim(source, target, clip=5.0), expected)
    far = amdim(source, target, clip=5.0, regularization=0.0)
    torch.testing.assert_close(far, torch.tensor(5.0).neg().exp().mul(8).log1p())


def test_wrong_uses_are_named():
    with pytest.raises(UsageError, match="TinyBackbone does not give"):
        AMDIM(TinyBackbone())
    with pytest.raises(UsageError, match="clip=0"):
        AMDIM(backbone_kwargs=SMALL, clip=0.0)
    with pytest.raises(UsageError, match="milestones"):
        AMDIM(backbone_kwargs=SMALL, milestones=(30, 45))
    with pytest.raises(UsageError, match="two images or more"):
        amdim(torch.randn(1, 4), torch.randn(1, 3, 4))
    with pytest.raises(UsageError, match=r"sources \(B, D\)"):
        amdim(torch.randn(2, 4), torch.randn(2, 3, 5))


def test_the_learning_rate_falls_to_a_fifth_at_each_milestone():
    method = AMDIM(backbone_kwargs=SMALL)
    factors = [method.lr_factor(step, total=50, warmup=5) for step in (0, 3, 4, 5, 30, 31, 45, 46, 49)]
    assert factors == pytest.approx([0.2, 0.8, 1, 1, 1, 0.2, 0.2, 0.04, 0.04])
