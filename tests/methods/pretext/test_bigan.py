"""BiGAN: the official networks, one optimizer that does what two do, the learning rate, and signs of its health."""

import math
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.optim import Adam
from torch.utils.data import DataLoader

from sslbolts import BiGAN, UsageError
from sslbolts.batch import ViewBatch
from sslbolts.losses import adversarial
from sslbolts.networks.backbones import create_backbone
from sslbolts.networks.bigan import BiGANGenerator, JointDiscriminator
from sslbolts.networks.frozen import frozen_call
from sslbolts.optim import OptimizerSpec
from tests.helpers.nets import TinyBackbone, WithBatchNorm
from tests.helpers.trainers import quiet_trainer, state_of
from tests.helpers.views import noise_loader
from tests.invariants import checks
from tests.invariants.cases import case_of


def bigan(backbone: type[nn.Module] = TinyBackbone, **arguments: Any) -> BiGAN:
    torch.manual_seed(0)
    small = {"latent_dim": 8, "generator_size": 16, "width": 4}
    return BiGAN(backbone(), **{**small, **arguments})


def count(*networks: nn.Module) -> int:
    return sum(p.numel() for network in networks for p in network.parameters())


# ------------------------------------------------------------------------------------------------------- networks


def test_networks_have_the_official_numbers_of_parameters():
    with torch.device("meta"):
        method = BiGAN()
    numbers = [count(part) / 1e6 for part in (nn.ModuleList([method.backbone, method.projector]), method.decoder)]
    assert [round(number, 2) for number in (*numbers, count(method.discriminator) / 1e6)] == [3.15, 6.05, 4.49]


@pytest.mark.parametrize(("size", "features"), [(64, 256 * 4**2), (112, 256 * 7**2), (32, 256 * 2**2)])
def test_the_encoders_last_maps_have_the_official_size(size, features):
    with torch.device("meta"):
        network = create_backbone("sslbolts/bigan", image_size=size)
        assert network(torch.zeros(2, 3, size, size)).shape == (2, features)
    assert network.num_features == features


@pytest.mark.parametrize(
    ("size", "made", "judged"),
    [(64, [512, 256, 128, 64, 3], [64, 128, 256, 512]), (32, [512, 256, 128, 3], [64, 128, 256])],
)
def test_generator_and_discriminator_have_the_layers_for_a_size(size, made, judged):
    with torch.device("meta"):
        generator, discriminator = BiGANGenerator(200, size), JointDiscriminator(200, size)
        assert generator(torch.zeros(2, 200)).shape == (2, 3, size, size)
    widths = [m.out_channels for m in generator.modules() if isinstance(m, nn.ConvTranspose2d)]
    assert [generator.start[0].out_features // 16, *widths] == made
    assert [m.out_channels for m in discriminator.modules() if isinstance(m, nn.Conv2d)] == judged


def test_networks_start_as_published():
    torch.manual_seed(0)
    method = BiGAN(generator_size=32)
    for name, module in method.named_modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            assert module.bias is None
            assert module.weight.std().item() == pytest.approx(0.02, rel=0.05)
        elif isinstance(module, nn.Linear) and name != "discriminator.last":
            conditional = name.endswith(".bias")  # a channel's bias, beside a kernel of 5x5
            assert module.weight.std().item() == pytest.approx(0.5 if conditional else 0.02, rel=0.05), name
        elif isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d) and not name.startswith("backbone"):
            assert module.eps == 1e-8
    assert not method.discriminator.last.weight.any()
    assert all(m.eps == 1e-8 for m in method.backbone.modules() if isinstance(m, nn.BatchNorm2d))


def test_latents_are_biases_before_the_batch_norm_of_all_but_the_first_convolution():
    """What every image of a batch had in common, batch norm would take away: it is their differences that are seen."""
    torch.manual_seed(0)
    discriminator = JointDiscriminator(8, 16, width=4)
    nn.init.normal_(discriminator.last.weight)
    images, z = torch.rand(4, 3, 16, 16), torch.rand(4, 8)
    logits = discriminator(images, z)
    assert not torch.allclose(logits, discriminator(images, z.flip(0)))
    torch.testing.assert_close(logits, discriminator(images, z + torch.rand(1, 8)), rtol=1e-3, atol=1e-4)
    layer = discriminator.layers[0]
    before = layer.layer(discriminator.first(images))  # (B, C, h, w)
    shifted = before + (z @ layer.bias.weight.T)[:, :, None, None]
    mean, var = shifted.mean((0, 2, 3), keepdim=True), shifted.var((0, 2, 3), correction=0, keepdim=True)
    normalized = (shifted - mean) / (var + 1e-8).sqrt()
    expected = F.linear(F.leaky_relu(normalized, 0.2).flatten(1), discriminator.last.weight).flatten()
    torch.testing.assert_close(logits, expected)


# ---------------------------------------------------------------------------------------------- losses and training


def _step(method: BiGAN, batch: Any) -> dict[str, float]:
    logged: dict[str, float] = {}
    method._trainer = quiet_trainer(max_epochs=1)
    method.log = lambda name, value, *args, **settings: logged.update({name: float(value.detach())})
    logged["total"] = float(method.training_step(batch, 0).detach())
    return logged


def test_at_the_start_every_pair_gets_one_half_and_both_losses_are_ln_2():
    logged = _step(bigan(), next(iter(noise_loader(8, 8, (32,)))))
    assert logged["train/loss"] == pytest.approx(math.log(2), abs=1e-6)
    assert logged["train/discriminator_loss"] == pytest.approx(math.log(2), abs=1e-6)
    assert logged["total"] == pytest.approx(2 * math.log(2), abs=1e-6)
    assert logged["train/discriminator_accuracy"] == 0.5


@pytest.mark.parametrize(("margin", "accuracy"), [(0.0, 0.5), (0.5, 1.0), (20.0, 1.0)])
def test_a_sure_discriminator_has_no_loss_and_a_blind_one_ln_2(margin, accuracy):
    real, fake = torch.full((6,), margin), torch.full((6,), -margin)
    expected = math.log(1 + math.exp(-margin))
    assert adversarial(real, fake).item() == pytest.approx(expected, rel=1e-5)
    assert adversarial(fake, real).item() == pytest.approx(margin + expected, rel=1e-5)
    indicators = {indicator.metric: indicator for indicator in BiGAN.indicators}
    assert indicators["train/discriminator_loss"].is_bad(expected) == (margin == 20)
    assert indicators["train/discriminator_accuracy"].is_bad(accuracy) == (margin == 0)


def _two_optimizers(method: BiGAN, loader: Any, steps: int, latents: list[torch.Tensor]) -> None:
    """The naive loop: both losses of one forward pass, each with the gradients of its own networks."""
    makers = [*method.backbone.parameters(), *method.projector.parameters(), *method.decoder.parameters()]
    judges = list(method.discriminator.parameters())

    def adam(parameters: list[nn.Parameter]) -> torch.optim.Adam:
        owners = [m for m in method.modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d)]
        scales = {id(m.weight) for m in owners}
        groups = [{"params": [p], "weight_decay": 0.0 if id(p) in scales else 2.5e-5} for p in parameters]
        return torch.optim.Adam(groups, lr=2e-4, betas=(0.5, 0.999))

    optimizers = adam(makers), adam(judges)
    for batch, z in zip(list(loader)[:steps], latents):
        x = 2 * batch.views[0] - 1
        outputs = method.projector(method.backbone(x))
        codes, made = 2 * outputs.sigmoid() - 1, method.decoder(z)
        small = F.interpolate(x, (16, 16), mode="bilinear", antialias=True)
        real, fake = method.discriminator(small, codes).sigmoid(), method.discriminator(made, z).sigmoid()
        ones, zeros = torch.ones_like(real), torch.zeros_like(real)
        judged = (F.binary_cross_entropy(real, ones) + F.binary_cross_entropy(fake, zeros)) / 2
        fooled = (F.binary_cross_entropy(real, zeros) + F.binary_cross_entropy(fake, ones)) / 2
        gradients = torch.autograd.grad(fooled, makers, retain_graph=True), torch.autograd.grad(judged, judges)
        for parameters, found, optimizer in zip((makers, judges), gradients, optimizers):
            for parameter, gradient in zip(parameters, found):
                parameter.grad = gradient
            optimizer.step()


def test_one_optimizer_does_what_two_do():
    """Weights and batch-norm buffers of all three networks, after five steps: the discriminator runs on both kinds of
    pairs once each, and what it teaches the others leaves no trace in it."""
    ours, theirs = (bigan(WithBatchNorm, decay_from=1.0).double() for _ in range(2))
    loader, latents = noise_loader(40, 8, (32,), dtype=torch.float64), []

    def draw(*args: Any) -> torch.Tensor:
        latents.append(BiGAN.draw_latents(ours, *args))
        return latents[-1]

    ours.draw_latents = draw  # type: ignore[method-assign]
    ours.lr_factor = lambda step, **settings: 1.0  # type: ignore[method-assign]
    quiet_trainer(max_steps=5).fit(ours, loader)
    assert len(latents) == 5
    assert all(-1 <= z.min() < -0.5 < 0.5 < z.max() < 1 for z in latents)
    start = state_of(theirs)
    _two_optimizers(theirs, loader, 5, latents)
    found = state_of(ours)
    for name, value in state_of(theirs).items():
        torch.testing.assert_close(
            found[name], value, rtol=1e-12, atol=1e-12, msg=lambda said, name=name: f"{name}: {said}"
        )
        assert not torch.equal(value, start[name]), f"{name} does not move"
    tracked = {name: int(value) for name, value in found.items() if name.endswith("num_batches_tracked")}
    assert all(value == (10 if name.startswith("discriminator") else 5) for name, value in tracked.items())
    assert len([name for name in tracked if name.startswith("discriminator")]) == 1


def _errors(method: BiGAN, gray: torch.Tensor) -> tuple[float, float]:
    """Of the latents that come back from the generator's images, and of gray images that come back from their latents:
    1 where nothing of them comes back."""
    method.eval()
    with torch.no_grad():
        z, x = 2 * torch.rand(256, 1) - 1, 2 * gray - 1
        latents = 3 * (method.encode(method.decoder(z)) - z).square().mean()
        images = 3 * (method.decoder(method.encode(x)) - x).square().mean()
    method.train()
    return latents.item(), images.item()


@pytest.mark.slow
def test_encoder_and_generator_become_each_others_inverse():
    """On images of one gray each, uniform as the only latent is, in 200 steps.

    The larger error falls to .358, .347 and .302 with seeds 0, 1 and 2.
    """
    method = bigan(latent_dim=1, width=8, decay_from=1.0)
    gray = torch.rand(32 * 200, 1, 1, 1).expand(-1, 3, 16, 16)
    before = _errors(method, gray[:256])
    method.optimizer = OptimizerSpec(partial(Adam, lr=5e-4, betas=(0.5, 0.999), weight_decay=2.5e-5))
    method.log = lambda *args, **settings: None
    rows = [ViewBatch([x], torch.tensor(-1), torch.tensor(0)) for x in gray]
    quiet_trainer(max_epochs=1).fit(method, DataLoader(rows, batch_size=32))
    after = _errors(method, gray[:256])
    assert min(before) > 0.8
    assert max(after) < 0.6


def test_a_frozen_call_computes_the_same_and_changes_nothing():
    discriminator = JointDiscriminator(8, 16, width=4)
    nn.init.normal_(discriminator.last.weight)
    x, z = torch.rand(4, 3, 16, 16, requires_grad=True), torch.rand(4, 8, requires_grad=True)
    before = state_of(discriminator)
    logits = frozen_call(discriminator, x, z)
    logits.sum().backward()
    assert all(p.grad is None for p in discriminator.parameters())
    assert all(torch.equal(value, before[name]) for name, value in discriminator.state_dict().items())
    gradients = x.grad, z.grad
    x.grad, z.grad = None, None
    again = discriminator(x, z)
    again.sum().backward()
    assert torch.equal(again, logits)
    torch.testing.assert_close((x.grad, z.grad), gradients, rtol=0, atol=0)
    assert not all(torch.equal(value, before[name]) for name, value in discriminator.state_dict().items())


def test_all_but_the_scales_of_batch_norms_is_decayed():
    method = bigan(WithBatchNorm)
    decayed, exempt = method.parameter_groups()
    norms = [m for m in method.modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d)]
    assert {id(p) for p in exempt["params"]} == {id(m.weight) for m in norms}
    assert {id(m.bias) for m in norms} <= {id(p) for p in decayed["params"]}
    assert exempt["weight_decay"] == 0
    assert len(decayed["params"]) + len(exempt["params"]) == len(list(method.parameters()))


@pytest.mark.parametrize(
    ("run", "expected"),
    [
        ({"max_epochs": 4}, [1, 1, 1, 1, 0.1, 0.1, 0.01, 0.01]),  # two batches in an epoch
        ({"max_epochs": 1}, [1, 0.01]),  # from step to step
        (
            {"max_epochs": 5},
            [1, 1, 1, 1, 0.01 ** (1 / 3), 0.01 ** (1 / 3), 0.01 ** (2 / 3), 0.01 ** (2 / 3), 0.01, 0.01],
        ),
    ],
)
def test_the_learning_rate_is_constant_and_then_falls_from_epoch_to_epoch(run, expected):
    method, seen = bigan(), []
    method.on_train_batch_end = lambda *args: seen.append(method.optimizers().param_groups[0]["lr"] / 2e-4)
    quiet_trainer(**run).fit(method, noise_loader(8, 4, (32,)))
    before = [1.0, *seen[:-1]]  # the scheduler steps before this hook
    assert before == pytest.approx(expected)


def test_larger_images_are_the_encoders_alone():
    """112 pixels for the encoder beside 64 for generator and discriminator, here 32 and 16."""
    method, seen = bigan(), []
    method.discriminator.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].shape[-1]))
    method.backbone.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].shape[-1]))
    _step(method, next(iter(noise_loader(4, 4, (32,)))))
    assert seen == [32, 16, 16, 16, 16]


def test_validation_measures_what_comes_back():
    from sslbolts.data import CIFAR10MiniDataModule

    method = bigan()
    trainer = quiet_trainer(max_epochs=1, limit_train_batches=1, limit_val_batches=1)
    trainer.fit(method, CIFAR10MiniDataModule(batch_size=8, num_workers=0, views="bigan", eval_batch_size=50))
    found = {name: float(trainer.callback_metrics[name]) for name in ("val/error_of_mean", "val/latent_error")}
    assert 0.5 < found["val/latent_error"] < 1.5  # nearly what zeros would have
    assert found["val/error_of_mean"] > 0.9


def test_what_an_inverse_gives_back_has_no_error():
    method = bigan(generator_size=16).eval()
    logged: dict[str, float] = {}
    method.log = lambda name, value, **settings: logged.update({name: float(value.detach())})
    z = torch.rand(4, 8) * 2 - 1
    images = torch.rand(4, 3, 16, 16)
    method.draw_latents = lambda *args: z  # type: ignore[method-assign]
    method.generator = lambda *args, **settings: None  # type: ignore[method-assign,assignment,return-value]
    method.encode = lambda x: z if x.shape[-1] == 16 else None  # type: ignore[method-assign,return-value]
    method.decoder = _Fixed(2 * images - 1)
    method.validation_step((images,), 0)
    assert logged == pytest.approx({"val/error_of_mean": 0.0, "val/latent_error": 0.0}, abs=1e-6)


class _Fixed(nn.Module):
    """A generator of the same images always."""

    def __init__(self, images: torch.Tensor) -> None:
        super().__init__()
        self.register_buffer("images", images)

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return self.images


def test_features_are_what_comes_before_the_latents():
    method, images = bigan().eval(), torch.rand(3, 3, 32, 32)
    torch.testing.assert_close(method(images), method.backbone(2 * images - 1))
    assert method(images).shape == (3, 16)
    codes = method.encode(2 * images - 1)
    torch.testing.assert_close(codes, 2 * torch.sigmoid(method.projector(method(images))) - 1)


def test_a_reconstruction_is_the_generators_image_of_the_encoders_latents():
    method, images = bigan().eval(), torch.rand(3, 3, 32, 32)
    shown, output = method.reconstruct(images)
    assert torch.equal(shown, images)
    assert output.shape == images.shape
    small = (method.decoder(method.encode(2 * images - 1)) + 1) / 2
    torch.testing.assert_close(output, F.interpolate(small, (32, 32), mode="bilinear", antialias=True))


def test_with_a_norm_over_the_batch_it_is_resumed_bit_for_bit(tmp_path):
    case = replace(case_of("BiGAN"), arguments={"generator_size": 32, "width": 4})
    watched = checks.watched_run(case, tmp_path)
    checks.resumed_run_is_the_uninterrupted_one(case, watched)
    checks.monitors_change_no_bit(case, watched)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: bigan(generator_size=24), "generator_size=24: it must be 4 doubled"),
        (lambda: bigan(generator_size=8), "4 doubled some times: 16, 32, 64, 128"),  # no latents would be seen
        (lambda: bigan(final_lr=0.0), "final_lr=0.0: it must be positive"),
        (lambda: bigan(decay_from=1.5), "decay_from=1.5"),
        (lambda: BiGAN(stem="cifar"), "has a form for small images"),
        (lambda: BiGAN(backbone_kwargs={"image_size": 4}), "8 pixels and more"),
        (lambda: create_backbone("sslbolts/bigan")(torch.zeros(1, 3, 32, 32)), "for 64 pixels"),
    ],
)
def test_wrong_arguments(make, words):
    with pytest.raises(UsageError, match=words):
        make()


def test_images_smaller_than_the_generators_are_refused():
    with pytest.raises(UsageError, match="give a smaller generator_size"):
        quiet_trainer(max_steps=1).fit(bigan(generator_size=32), noise_loader(8, 4, (16,)))
