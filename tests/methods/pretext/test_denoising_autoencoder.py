"""Denoising autoencoder: what is corrupted, that it is drawn anew, what counts in the loss, and what is refused."""

from typing import Any

import pytest
import torch

from sslbolts import DenoisingAutoencoder, UsageError
from sslbolts.data import CIFAR10MiniDataModule
from sslbolts.losses import denoising
from sslbolts.networks.deconvolution import MapDecoder, map_form
from sslbolts.transforms.corruption import corrupt
from tests.helpers.nets import SmallConvNet, TinyBackbone
from tests.helpers.trainers import Recorder, quiet_trainer
from tests.helpers.views import noise_loader


def autoencoder(backbone: Any = None, **arguments: Any) -> DenoisingAutoencoder:
    torch.manual_seed(0)
    return DenoisingAutoencoder(backbone or TinyBackbone(), **{"decoder_dim": 16, **arguments})


def images_and(draw: Any) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    return 0.1 + 0.8 * torch.rand(16, 3, 32, 32), draw(16, 3, 32, 32)


@pytest.mark.parametrize("amount", [0.1, 0.25, 0.5])
def test_masking_sets_the_share_of_entries_to_zero_and_leaves_the_others(amount):
    images, noise = images_and(torch.rand)
    found, where = corrupt(images, noise, kind="masking", amount=amount)
    assert where.float().mean().item() == pytest.approx(amount, abs=0.01)
    assert torch.equal(found == 0, where)  # no image has a 0 of its own
    assert torch.equal(found[~where], images[~where])
    by_channel = where.any(1) & ~where.all(1)
    assert by_channel.any(), "channels of a pixel are masked by themselves"


def test_salt_and_pepper_are_half_and_half():
    images, noise = images_and(torch.rand)
    found, where = corrupt(images, noise, kind="salt_and_pepper", amount=0.4)
    for value in (0, 1):
        assert (found == value).float().mean().item() == pytest.approx(0.2, abs=0.01)
    assert torch.equal(found[~where], images[~where])


def test_gaussian_noise_has_its_deviation_and_is_everywhere():
    images, noise = images_and(torch.randn)
    found, where = corrupt(images, noise, kind="gaussian", amount=0.3)
    assert where.all()
    assert (found - images).std().item() == pytest.approx(0.3, rel=0.02)
    assert abs((found - images).mean().item()) < 0.01


@pytest.mark.parametrize("kind", ["masking", "gaussian", "salt_and_pepper"])
def test_without_corruption_it_is_an_autoencoder(kind):
    images, noise = images_and(torch.randn if kind == "gaussian" else torch.rand)
    assert torch.equal(corrupt(images, noise, kind=kind, amount=0.0).images, images)


def _seen(epochs: int, **arguments: Any) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """The backbone's inputs in the batches of a run over one image batch, and their losses."""
    method, recorder, seen = autoencoder(**arguments), Recorder(), []
    method.backbone.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].clone()))
    loader = noise_loader(8, 4, (32,))
    quiet_trainer(max_epochs=epochs, callbacks=[recorder]).fit(method, loader)
    return seen, recorder.losses


def test_corruption_differs_between_batches_and_epochs_and_not_between_runs():
    first, _ = _seen(2)
    zeros = [batch == 0 for batch in first]
    assert len(zeros) == 4
    for place, mask in enumerate(zeros):
        assert all(not torch.equal(mask, other) for other in zeros[place + 1 :])
    again, _ = _seen(2)
    assert all(map(torch.equal, first, again))


def test_the_target_is_the_clean_image():
    method = autoencoder(amount=0.5)
    batch = next(iter(noise_loader(4, 4, (32,))))
    seen = []
    method.backbone.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    method.log = lambda *args, **settings: None
    method._trainer = quiet_trainer(max_epochs=1)
    loss = method.training_step(batch, 0)
    outputs = method.decode(seen[0])
    clean = batch.views[0]
    expected = sum(
        (1 + output.exp()).log() - target * output for output, target in zip(outputs.flatten(), clean.flatten())
    )
    torch.testing.assert_close(loss, expected / 4, rtol=1e-4, atol=0)


def test_with_emphasis_gradients_reach_corrupted_entries_alone():
    clean, noise = images_and(torch.rand)
    outputs = torch.randn(clean.shape, requires_grad=True)
    where = corrupt(clean, noise, kind="masking", amount=0.25).where
    for kind in ("bce", "mse"):
        (gradient,) = torch.autograd.grad(denoising(outputs, clean, kind=kind, weights=where * 2.0), outputs)
        (plain,) = torch.autograd.grad(denoising(outputs, clean, kind=kind), outputs)
        torch.testing.assert_close(gradient[where], 2 * plain[where])
        assert not gradient[~where].any()


def test_emphasis_of_the_method_is_that_of_the_loss():
    _, (plain, *_) = _seen(1, amount=0.3)
    _, (corrupted, *_) = _seen(1, amount=0.3, corrupted_weight=1.0, intact_weight=0.0)
    _, (intact, *_) = _seen(1, amount=0.3, corrupted_weight=0.0, intact_weight=3.0)
    torch.testing.assert_close(corrupted + intact / 3, plain)
    assert 0.25 * plain < corrupted < 0.35 * plain  # an untrained network is as wrong everywhere


def test_copying_the_input_is_no_solution():
    clean, noise = images_and(torch.rand)
    for amount, best in ((0.0, True), (0.5, False)):
        copied = corrupt(clean, noise, kind="masking", amount=amount).images
        mean = clean.mean((2, 3), keepdim=True).expand_as(clean)
        assert (denoising(copied, clean, kind="mse") < denoising(mean, clean, kind="mse")) == best


def test_the_decoder_undoes_the_strides():
    assert map_form(SmallConvNet(), "layers.11") == (128, 16)
    decoder = MapDecoder(128, 3, 16, dim=64)
    assert decoder(torch.zeros(2, 128, 2, 2)).shape == (2, 3, 32, 32)
    widths = [layer.out_channels for layer in decoder if hasattr(layer, "out_channels")]
    assert widths == [64, 32, 16, 16, 3]
    assert MapDecoder(8, 3, 1, dim=64)(torch.zeros(2, 8, 5, 5)).shape == (2, 3, 5, 5)


@pytest.mark.parametrize("kind", ["masking", "gaussian", "salt_and_pepper"])
def test_a_reconstruction_shows_what_was_seen(kind):
    method, images = autoencoder(corruption=kind).eval(), images_and(torch.rand)[0][:3]
    shown, output = method.reconstruct(images)
    assert shown.shape == output.shape == images.shape
    assert 0 <= output.min() <= output.max() <= 1
    changed = (shown != images).float().mean().item()
    assert changed == pytest.approx(1 if kind == "gaussian" else 0.25, abs=0.05)


def test_examples_are_one_column_for_each_corruption():
    images = images_and(torch.rand)[0][:2]
    columns = DenoisingAutoencoder.examples(images, torch.Generator().manual_seed(0))
    assert len(columns) == 3
    for shown, labels in columns:
        assert shown.shape == images.shape
        assert not torch.equal(shown, images)
        assert len(labels) == 2


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: autoencoder(corruption="mask"), 'corruption="mask": it must be one of'),
        (lambda: autoencoder(amount=1.5), r"amount=1.5: it must be in 0 to 1"),
        (lambda: autoencoder(loss="l2"), 'loss="l2"'),
        (lambda: autoencoder(corruption="gaussian", intact_weight=0.5), "changes every entry"),
        (lambda: autoencoder(corrupted_weight=0, intact_weight=0), "leave no loss"),
        (lambda: autoencoder(SmallConvNet()), "stages of SmallConvNet are not known"),
        (lambda: DenoisingAutoencoder("vit_tiny_patch16_224"), "not maps"),
    ],
)
def test_wrong_arguments(make, words):
    with pytest.raises(UsageError, match=words):
        make()


def test_noise_of_any_deviation_is_taken():
    assert autoencoder(corruption="gaussian", amount=1.5).amount == 1.5


def test_images_that_the_strides_do_not_divide_are_refused():
    with pytest.raises(UsageError, match="multiple of 4"):
        quiet_trainer(max_steps=1).fit(autoencoder(), noise_loader(8, 4, (30,)))


def test_normalized_images_are_refused():
    data = CIFAR10MiniDataModule(batch_size=8, num_workers=0, views="mae")
    with pytest.raises(UsageError, match="normalizes its images"):
        quiet_trainer(max_steps=1).fit(autoencoder(), data)
