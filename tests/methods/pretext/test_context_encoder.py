"""Context encoder: the official networks, what is hidden, what counts in the loss, and the discriminator's part."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from sslbolts import ContextEncoder, UsageError
from sslbolts.losses import masked_mse
from sslbolts.losses.inpainting import context_encoder
from sslbolts.networks.backbones import create_backbone
from sslbolts.networks.context_encoder import ContextEncoderNet, HoleDecoder, HoleDiscriminator
from sslbolts.transforms.holes import CANDIDATES, center, center_hole, noise_cells, overlap_weights, random_regions
from tests.helpers.nets import TinyBackbone
from tests.helpers.trainers import quiet_trainer, state_of
from tests.helpers.views import noise_loader
from tests.invariants import checks
from tests.invariants.cases import MethodCase, case_of


def encoder(**arguments: Any) -> ContextEncoder:
    torch.manual_seed(0)
    small = {"output_size": 16, "overlap": 2, "decoder_width": 4}
    return ContextEncoder(TinyBackbone(), **{**small, **arguments})


def count(*networks: nn.Module) -> int:
    return sum(p.numel() for network in networks for p in network.parameters())


# ------------------------------------------------------------------------------------------------------- networks


@pytest.mark.parametrize(("bottleneck", "alone", "together"), [(4000, 35_596_064, 71_130_531), (100, None, 7_221_231)])
def test_networks_have_the_official_numbers_of_parameters(bottleneck, alone, together):
    with torch.device("meta"):
        method = ContextEncoder(backbone_kwargs={"bottleneck_dim": bottleneck})
    assert alone in (None, count(method.backbone))
    assert count(method.backbone, method.decoder) == together
    assert count(method.discriminator) == 2_766_529


def test_networks_start_as_published_and_biases_of_convolutions_never_leave_zero():
    torch.manual_seed(0)
    for network in (ContextEncoderNet(bottleneck_dim=100), HoleDecoder(100, 64), HoleDiscriminator(64)):
        for layer in network.modules():
            if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
                assert layer.weight.std().item() == pytest.approx(0.02, rel=0.05)
                assert not layer.bias.any()
                assert not layer.bias.requires_grad
            elif isinstance(layer, nn.BatchNorm2d):
                assert abs(layer.weight.mean().item() - 1) < 0.01
                assert layer.weight.std().item() == pytest.approx(0.02, rel=0.4)
                assert not layer.bias.any()
    method = ContextEncoder(
        output_size=16, decoder_width=4, backbone_kwargs={"image_size": 32, "width": 4, "bottleneck_dim": 8}
    )
    quiet_trainer(max_steps=2).fit(method, noise_loader(8, 4, (32,)))
    biases = [m.bias for m in method.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)]
    assert len(biases) == 3 + 1 + 1 + 2 + 2 + 1  # encoder, bottleneck; decoder; discriminator
    assert not any(bias.any() for bias in biases)


@pytest.mark.parametrize(
    ("size", "widths"), [(32, [64, 128, 256]), (64, [64, 128, 256, 512]), (128, [64, 64, 128, 256, 512])]
)
def test_the_encoder_has_the_convolutions_for_a_size(size, widths):
    with torch.device("meta"):
        network = create_backbone("sslbolts/context_encoder", image_size=size, bottleneck_dim=10)
        assert network(torch.zeros(2, 3, size, size)).shape == (2, 10)
    assert [m.out_channels for m in network.layers if isinstance(m, nn.Conv2d)] == widths
    assert len([m for m in network.layers if isinstance(m, nn.BatchNorm2d)]) == len(widths) - 1


# ---------------------------------------------------------------------------------------------------------- holes


def test_the_hole_is_in_the_center_and_its_overlap_is_seen():
    hidden = encoder().draw_mask(torch.rand(2, 3, 32, 32), torch.Generator())
    rows, columns = hidden.nonzero().unbind(1)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (10, 21, 10, 21)
    assert hidden.sum() == 12**2
    with torch.device("meta"):
        method = ContextEncoder()  # the official one: 56 pixels of 128 are filled, 64 predicted
    assert method.draw_mask(torch.zeros(1, 3, 128, 128), torch.Generator()).sum() == 56**2
    assert method.output_size == 64


def test_what_is_hidden_has_the_official_color():
    method, images, seen = encoder(), torch.rand(2, 3, 32, 32), []
    method.backbone.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    method.reconstruct(images)
    hidden = center_hole(32, 32, 12)
    for channel, value in enumerate((-0.0824, -0.1843, -0.0353)):  # red, green, blue
        assert seen[0][0, channel][hidden].unique().item() == pytest.approx(value, abs=1e-4)
        torch.testing.assert_close(seen[0][0, channel][~hidden], 2 * images[0, channel][~hidden] - 1)


def test_random_regions_have_the_official_statistics():
    torch.manual_seed(0)
    cells = noise_cells()
    single = torch.stack([random_regions(torch.rand(1, cells, cells), torch.rand(1, 2), 128) for _ in range(600)])
    shares = single.float().mean((1, 2))
    right = (shares >= 0.2) & (shares <= 0.3)
    assert shares.mean().item() == pytest.approx(0.18, abs=0.015)
    assert right.float().mean().item() == pytest.approx(0.25, abs=0.06)
    assert shares[right].mean().item() == pytest.approx(0.23, abs=0.015)


@pytest.mark.parametrize("side", [32, 128])
def test_of_many_candidates_one_with_a_fifth_to_three_tenths_is_taken(side):
    torch.manual_seed(1)
    cells = noise_cells()
    masks = [random_regions(torch.rand(CANDIDATES, cells, cells), torch.rand(CANDIDATES, 2), side) for _ in range(20)]
    assert all(0.2 <= mask.float().mean() <= 0.3 for mask in masks)
    assert len({mask.sum().item() for mask in masks}) > 1
    torch.stack(masks).float().mean(0).std()


def test_noise_is_enlarged_as_by_torch_but_for_the_kind_of_cubic():
    """Constant noise stays what it is, and linear noise linear: what every cubic interpolation keeps."""
    cells = noise_cells()
    for value, share in ((0.2, 1.0), (0.3, 0.0)):
        found = random_regions(torch.full((1, cells, cells), value), torch.zeros(1, 2), 32)
        assert found.float().mean() == share
    slope = torch.linspace(-1, 2, cells).expand(1, cells, cells)
    found = random_regions(slope, torch.zeros(1, 2), 64)
    position = 2 + (torch.arange(64) + 0.5) * 7.68 / 64  # in cells
    assert torch.equal(found[0], -1 + (position - 0.5) * 3 / (cells - 1) < 0.25)
    assert torch.equal(found, found[:1].expand(64, 64))


# ----------------------------------------------------------------------------------------------------------- loss


def _loss(method: ContextEncoder, images: torch.Tensor) -> torch.Tensor:
    method.log = lambda *args, **settings: None
    method._trainer = quiet_trainer(max_epochs=1)
    batch = next(iter(noise_loader(len(images), len(images), (32,))))
    return method.training_step(replace_views(batch, images), 0)


def replace_views(batch: Any, images: torch.Tensor) -> Any:
    return batch._replace(views=[images])


def test_the_predicted_part_alone_enters_the_loss():
    method = encoder(adversarial_weight=0.0)
    method.decoder = _Constant(0.0)
    images = torch.rand(2, 3, 32, 32)
    outside = torch.where(center_hole(32, 32, 16), images, 1 - images)
    inside = torch.where(center_hole(32, 32, 16), 1 - images, images)
    assert torch.equal(_loss(method, images), _loss(method, outside))
    inside[:, :, 8:24, 8:24] *= 0.5
    assert not torch.equal(_loss(method, images), _loss(method, inside))


class _Constant(nn.Module):
    """Predictions of one value, with a parameter."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.full((1, 3, 16, 16), value))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return self.value.expand(len(features), -1, -1, -1)


def test_squared_errors_count_ten_times_on_the_border():
    method = encoder(adversarial_weight=0.0)
    method.decoder = _Constant(0.25)
    images = torch.rand(2, 3, 32, 32)
    total, targets = 0.0, (2 * images - 1)[:, :, 8:24, 8:24]
    for y in range(16):
        for x in range(16):
            ring = 10.0 if min(x, y) < 2 or max(x, y) >= 14 else 1.0
            total += ring * (0.25 - targets[:, :, y, x]).square().sum()
    torch.testing.assert_close(_loss(method, images), total / targets.numel(), rtol=1e-5, atol=0)


def test_copying_what_is_seen_gains_nothing_in_what_is_hidden():
    """A model that repeats its input has no error on the overlap, where the official L2 (printed) would reward it."""
    images = 2 * torch.rand(4, 3, 32, 32) - 1
    hidden = center_hole(32, 32, 12)
    gray = torch.zeros_like(images)
    copied = torch.where(hidden, gray, images)
    part = [center(x, 16) for x in (copied, gray, images)]
    assert context_encoder(part[0], part[2]) < context_encoder(part[1], part[2])
    errors = [masked_mse(x, images, hidden) for x in (copied, gray)]
    assert torch.equal(*errors)


def test_with_regions_all_is_predicted_and_what_is_seen_counts_ten_times():
    hidden = torch.rand(32, 32) < 0.25
    weights = encoder(masks="regions", output_size=32).error_weights(hidden)
    assert torch.equal(weights, torch.where(hidden, 1.0, 10.0))
    assert encoder(masks="regions", output_size=32, overlap=0).error_weights(hidden) is None
    assert torch.equal(overlap_weights(4, 0, 10.0), torch.ones(4, 4))


def test_a_fill_is_zero_only_where_it_is_the_mean():
    """In [-1, 1] the official color is not 0: a hole of zeros would be another one."""
    shown, _ = encoder().eval().reconstruct(torch.rand(1, 3, 32, 32))
    found = shown[0, :, 16, 16]
    torch.testing.assert_close(found, torch.tensor([117.0, 104.0, 123.0]) / 255)
    assert (found - 0.5).abs().min() > 0.01


# -------------------------------------------------------------------------------------------------- discriminator


def _two_optimizers(method: ContextEncoder, loader: Any, steps: int) -> None:
    """The naive loop: both losses of one forward pass, each with the gradients of its own networks."""
    first = [*method.backbone.parameters(), *(p for p in method.decoder.parameters() if p.requires_grad)]
    second = [p for p in method.discriminator.parameters() if p.requires_grad]
    adam = {"betas": (0.5, 0.999)}
    optimizers = torch.optim.Adam(first, lr=2e-3, **adam), torch.optim.Adam(second, lr=2e-4, **adam)
    weights = overlap_weights(16, 2, 10.0).double()
    bce = nn.functional.binary_cross_entropy_with_logits
    for batch in list(loader)[:steps]:
        images = 2 * batch.views[0] - 1
        filled = images.clone()
        for channel, value in enumerate((117, 104, 123)):
            filled[:, channel, 10:22, 10:22] = value / 255 * 2 - 1
        made, real = method.decoder(method.backbone(filled)), images[:, :, 8:24, 8:24]
        on_real, on_made = method.discriminator(real), method.discriminator(made)
        d = bce(on_real, torch.ones_like(on_real)) + bce(on_made, torch.zeros_like(on_made))
        g = 0.001 * bce(on_made, torch.ones_like(on_made)) + 0.999 * (weights * (made - real) ** 2).mean()
        gradients = torch.autograd.grad(g, first, retain_graph=True), torch.autograd.grad(d, second)
        for parameters, found, optimizer in zip((first, second), gradients, optimizers):
            for parameter, gradient in zip(parameters, found):
                parameter.grad = gradient
            optimizer.step()


def test_one_optimizer_does_what_two_do():
    """Weights and batch-norm buffers of all three networks, after four steps: the discriminator runs on real and made
    holes once each, and what it teaches the decoder leaves no trace in it."""
    ours, theirs = encoder().double(), encoder().double()
    loader = noise_loader(16, 4, (32,), dtype=torch.float64)
    quiet_trainer(max_steps=4).fit(ours, loader)
    _two_optimizers(theirs, loader, 4)
    start, found, expected = state_of(encoder().double()), state_of(ours), state_of(theirs)
    assert any("discriminator" in name and "num_batches_tracked" in name for name in expected)
    for name, value in expected.items():
        torch.testing.assert_close(
            found[name], value, rtol=1e-12, atol=1e-12, msg=lambda said, name=name: f"{name}: {said}"
        )
        assert name.endswith("bias") or not torch.equal(value, start[name]), f"{name} does not move"
    assert found["discriminator.layers.3.num_batches_tracked"] == 2 * 4


def test_a_discriminator_at_one_half_has_twice_ln_2():
    logged: dict[str, float] = {}
    method = encoder()
    nn.init.zeros_(method.discriminator.layers[-1].weight)
    method._trainer = quiet_trainer(max_epochs=1)
    method.log = lambda name, value, *args, **settings: logged.update({name: float(value.detach())})
    batch = next(iter(noise_loader(4, 4, (32,))))
    method.training_step(batch, 0)
    assert logged["train/discriminator_loss"] == pytest.approx(2 * 0.693147, abs=1e-5)


def test_encoder_and_decoder_learn_at_ten_times_the_rate_beside_a_discriminator_alone():
    for weight, scales in ((0.001, {10.0, 1.0}), (0.0, {1.0})):
        method = encoder(adversarial_weight=weight)
        assert (method.discriminator is None) == (weight == 0)
        groups = method.parameter_groups()
        assert {group.get("lr_scale", 1.0) for group in groups} == scales
        trained = [p for p in method.parameters() if p.requires_grad]
        assert {id(p) for group in groups for p in group["params"]} == set(map(id, trained))
        for group in groups:
            of_discriminator = group.get("lr_scale", 1.0) == 1.0 and weight > 0
            own = {id(p) for p in method.discriminator.parameters()} if method.discriminator else set()
            assert all((id(p) in own) == of_discriminator for p in group["params"])


# ------------------------------------------------------- invariants of the variants that the registry does not have

VARIANTS = {
    "alone": {"adversarial_weight": 0.0},
    "regions": {"masks": "regions", "output_size": 32, "decoder_width": 4},
}


@pytest.fixture(params=list(VARIANTS))
def variant(request) -> MethodCase:
    return replace(case_of("ContextEncoder"), arguments=VARIANTS[request.param])


def test_variants_on_two_processes_equal_one(variant, two_ranks):
    checks.two_processes_equal_one(variant, two_ranks)


def test_variants_are_resumed_bit_for_bit_and_not_changed_by_monitors(variant, tmp_path):
    watched = checks.watched_run(variant, tmp_path)
    checks.resumed_run_is_the_uninterrupted_one(variant, watched)
    checks.monitors_change_no_bit(variant, watched)


def test_variants_in_half_precision_stay_finite(variant):
    checks.half_precision_is_finite(variant, checks.losses_of_two_steps(variant))


# -------------------------------------------------------------------------------------------- pictures, and mistakes


@pytest.mark.parametrize("masks", ["center", "regions"])
def test_a_reconstruction_keeps_what_is_seen(masks):
    method, images = encoder(masks=masks, output_size=16 if masks == "center" else 32).eval(), torch.rand(2, 3, 32, 32)
    shown, output = method.reconstruct(images)
    seen = (shown == images).all(0).all(0)
    assert 0.7 <= seen.float().mean() <= 0.9
    assert torch.equal(output[..., seen], images[..., seen])
    assert (output[..., ~seen] != images[..., ~seen]).float().mean() > 0.99
    assert 0 <= output.min() <= output.max() <= 1


def test_examples_are_a_hole_and_regions():
    images = torch.rand(2, 3, 32, 32)
    hole, regions = ContextEncoder.examples(images, torch.Generator().manual_seed(0))
    assert (hole.images != images).any(1).float().mean().item() == pytest.approx(0.25, abs=1e-3)
    assert 0.2 <= (regions.images - images).abs().amax(1).gt(1e-3).float().mean() <= 0.3


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: encoder(masks="middle"), 'masks="middle": it must be one of center, regions'),
        (lambda: encoder(output_size=20), "output_size=20: it must be 4 doubled"),
        (lambda: encoder(overlap=8), "overlap=8 leaves nothing of a hole of output_size=16"),
        (lambda: encoder(adversarial_weight=1.0), "adversarial_weight=1.0"),
        (lambda: ContextEncoder(backbone_kwargs={"image_size": 100}), "image_size=100: it must be 4 doubled"),
        (lambda: ContextEncoder(stem="cifar"), "has a form for small images"),
        (lambda: ContextEncoder(backbone_kwargs={"depth": 3}), "does not take these backbone_kwargs"),
        (lambda: ContextEncoderNet(32, width=4, bottleneck_dim=8)(torch.zeros(1, 3, 64, 64)), "for 32 pixels"),
    ],
)
def test_wrong_arguments(make, words):
    with pytest.raises(UsageError, match=words):
        make()


@pytest.mark.parametrize(
    ("arguments", "size", "words"),
    [
        ({"output_size": 32}, 32, "nothing is around"),
        ({"masks": "regions"}, 32, "give output_size=32"),
    ],
)
def test_images_that_do_not_fit_are_refused(arguments, size, words):
    with pytest.raises(UsageError, match=words):
        quiet_trainer(max_steps=1).fit(encoder(**arguments), noise_loader(8, 4, (size,)))
