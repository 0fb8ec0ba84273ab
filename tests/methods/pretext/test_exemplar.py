"""Exemplar: its objectives, what is shared by the views of an image, and what is refused."""

import colorsys
import math

import pytest
import torch
from torch import Tensor

from sslbolts import Exemplar, UsageError
from sslbolts.batch import ViewBatch
from sslbolts.losses import batch_hard_triplet
from sslbolts.transforms.color_defenses import standardize
from sslbolts.transforms.exemplars import hsv_noise
from tests.helpers.nets import TinyBackbone
from tests.helpers.trainers import quiet_trainer
from tests.helpers.views import noise_loader


def exemplar(**arguments: object) -> Exemplar:
    size = {} if arguments.get("objective") == "softmax" else {"output_dim": 8}
    return Exemplar(TinyBackbone(), **{"warmup_epochs": 0.0, **size, **arguments})


def naive_batch_hard(z: Tensor, labels: list[int]) -> Tensor:
    terms = []
    for i, label in enumerate(labels):
        distances = [(z[i] - other).square().sum().sqrt() for other in z]
        positive = max(d for j, d in enumerate(distances) if labels[j] == label and j != i)
        negative = min(d for j, d in enumerate(distances) if labels[j] != label)
        terms.append((positive - negative).exp().log1p())
    return torch.stack(terms).mean()


@pytest.mark.parametrize("seed", range(3))
def test_the_hardest_triplets_are_a_loop_over_anchors(seed):
    z = torch.randn(9, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    labels = [0, 1, 0, 2, 1, 2, 0, 1, 2]
    assert batch_hard_triplet(z, torch.tensor(labels)).item() == pytest.approx(naive_batch_hard(z, labels).item(), 1e-9)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"objective": "semi_hard"}, 0.5),
        ({"objective": "semi_hard", "margin": 0.2}, 0.2),
        ({"objective": "batch_hard"}, math.log(2)),
        ({"objective": "softmax", "num_images": 30}, math.log(30)),
    ],
)
def test_equal_embeddings_have_the_loss_of_collapse_and_finite_gradients(arguments, expected):
    method = exemplar(**arguments)
    z = torch.ones(8, method.projector.out_features, requires_grad=True)
    loss, of_equal = method.compare(z, torch.arange(4).repeat(2))
    loss.backward()
    assert loss.item() == pytest.approx(expected, rel=1e-4)
    assert of_equal == pytest.approx(expected)
    assert z.grad.isfinite().all()


def test_embeddings_are_normalized_each():
    method, z, images = exemplar(), torch.randn(8, 8), torch.arange(4).repeat(2)
    scaled = z * torch.linspace(0.1, 9, 8)[:, None]
    torch.testing.assert_close(method.compare(scaled, images)[0], method.compare(z, images)[0])


def test_views_of_an_image_are_all_gray_or_none():
    views = torch.rand(5, 400, 3, 4, 4)
    found = exemplar().recolored(views, 0)
    gray = (found == views.mean(2, keepdim=True)).flatten(2).all(2)  # (V, B)
    kept = (found == views).flatten(2).all(2)
    assert (gray ^ kept).all()
    assert (gray == gray[0]).all()
    assert gray[0].float().mean().item() == pytest.approx(0.66, abs=4 * (0.66 * 0.34 / 400) ** 0.5)


@pytest.mark.parametrize("seed", range(4))
def test_color_noise_is_a_loop_over_pixels(seed):
    generator = torch.Generator().manual_seed(seed)
    images = torch.rand(3, 3, 2, 2, generator=generator, dtype=torch.float64)
    draws = torch.rand(3, 7, generator=generator, dtype=torch.float64)
    found = hsv_noise(images, draws)
    for number, numbers in enumerate(draws.tolist()):
        between = [low + (high - low) * u for u, (low, high) in zip(numbers, [(-2, 2), (-0.5, 0.5), (-0.1, 0.1)] * 3)]
        for row in range(2):
            for column in range(2):
                h, s, v = colorsys.rgb_to_hsv(*images[number, :, row, column].tolist())
                s, v = (min(1, max(0, x**2**a * 2**b + c)) for x, (a, b, c) in ((s, between[:3]), (v, between[3:6])))
                turned = (h + -0.1 + 0.2 * numbers[6]) % 1
                expected = torch.tensor(colorsys.hsv_to_rgb(turned, s, v), dtype=torch.float64)
                torch.testing.assert_close(found[number, :, row, column], expected, rtol=1e-5, atol=1e-6)


def test_color_noise_differs_between_views_and_leaves_gray_images_gray():
    views = torch.rand(1, 6, 3, 4, 4).expand(2, -1, -1, -1, -1)
    first, second = exemplar(color_noise=True, grayscale_p=0.0).recolored(views, 0)
    assert ((first - second).abs().flatten(1).amax(1) > 1e-3).all()
    gray = exemplar(color_noise=True, grayscale_p=1.0).recolored(views, 0)
    assert (gray.amax(2) - gray.amin(2)).max() < 1e-5


def test_brightness_and_contrast_of_an_image_tell_nothing():
    """What would tell images apart without their contents: each is standardized, in training and evaluation."""
    method, images = exemplar().double().eval(), torch.rand(4, 3, 16, 16, dtype=torch.float64)
    other = images * torch.tensor([0.3, 1.7, 0.9, 0.5]).view(4, 1, 1, 1) + 0.1
    torch.testing.assert_close(method(other), method(images), rtol=1e-6, atol=1e-8)
    flat = standardize(torch.full((1, 3, 16, 16), 0.3))
    assert flat.abs().max() < 1e-4  # the least deviation is the root of 1 / 768


def test_the_objectives_learn_images_by_heart():
    torch.manual_seed(0)
    views = torch.rand(8, 3, 16, 16)
    batch = ViewBatch([views + 0.05 * torch.rand_like(views) for _ in range(3)], torch.arange(8), torch.arange(8))
    for arguments in ({}, {"objective": "batch_hard"}, {"objective": "softmax", "num_images": 8}):
        method = exemplar(grayscale_p=0.0, **arguments)
        method.log = lambda *args, **settings: None  # type: ignore[method-assign]
        optimizer = torch.optim.Adam(method.parameters(), lr=0.01)
        before = method.training_step(batch, 0).item()
        for _ in range(100):
            optimizer.zero_grad()
            method.training_step(batch, 0).backward()
            optimizer.step()
        assert method.training_step(batch, 0).item() < 0.6 * before, arguments


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"objective": "softmax"}, "give num_images="),
        ({"objective": "softmax", "num_images": 9, "margin": 0.1}, 'margin=0.1 has no effect with objective="softmax"'),
        ({"objective": "softmax", "num_images": 9, "output_dim": 4}, "output_dim=4 has no effect"),
        ({"objective": "batch_hard", "margin": 0.1}, 'margin=0.1 has no effect with objective="batch_hard"'),
        ({"num_images": 9}, 'num_images=9 has no effect with objective="semi_hard"'),
        ({"objective": "hard"}, 'objective="hard"'),
    ],
)
def test_wrong_arguments(arguments, words):
    with pytest.raises(UsageError, match=words):
        exemplar(**arguments)


@pytest.mark.parametrize(
    ("arguments", "sizes", "words"),
    [
        ({}, (32,), "two or more views"),
        ({}, (32, 16), "views of one size"),
        ({"objective": "softmax", "num_images": 4}, (32, 32), "8 training images, but num_images=4: give num_images=8"),
    ],
)
def test_wrong_batches(arguments, sizes, words):
    with pytest.raises(UsageError, match=words):
        quiet_trainer(max_steps=1).fit(exemplar(**arguments), noise_loader(8, 4, sizes))
