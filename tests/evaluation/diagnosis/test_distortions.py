"""What is done to images, against NumPy, torchvision and SciPy."""

import numpy as np
import pytest
import torch
from scipy.ndimage import sobel
from torchvision.transforms.functional import rgb_to_grayscale

from sslbolts import UsageError
from sslbolts.evaluation.diagnosis.distortions import DISTORTIONS, NOISE_STD


def distorted(name, images, label):
    drawn = torch.Generator().manual_seed(0)
    return DISTORTIONS[name](images, torch.full((len(images),), label), generator=drawn)


@pytest.mark.parametrize("name", DISTORTIONS)
def test_the_first_answer_is_the_image_as_it_is(name):
    images = torch.rand(4, 3, 8, 8)
    assert torch.equal(distorted(name, images, 0), images)


@pytest.mark.parametrize("name", DISTORTIONS)
def test_each_image_gets_its_own_answer_and_the_callers_images_stay(name):
    images = torch.rand(6, 3, 8, 8)
    before, labels = images.clone(), torch.arange(6) % len(DISTORTIONS[name].answers)
    mixed = DISTORTIONS[name](images, labels, generator=torch.Generator().manual_seed(0))
    for label in labels.unique().tolist():
        rows = labels == label
        assert torch.equal(mixed[rows], distorted(name, images, label)[rows])
    assert torch.equal(images, before)


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_rotation_is_numpys(quarters):
    images = torch.rand(2, 3, 8, 8)
    for image, turned in zip(images.numpy(), distorted("rotation", images, quarters).numpy()):
        np.testing.assert_array_equal(turned, np.rot90(image, quarters, (1, 2)))


def test_grayscale_is_torchvisions():
    images = torch.rand(2, 3, 8, 8)
    torch.testing.assert_close(
        distorted("color", images, 1), rgb_to_grayscale(images, num_output_channels=3), atol=2e-4, rtol=0
    )


def test_edges_are_scipys():
    images = torch.rand(2, 3, 8, 8)
    gray = (images * torch.tensor([0.299, 0.587, 0.114])[:, None, None]).sum(1)
    for image, edges in zip(gray.numpy(), distorted("sobel", images, 1).numpy()):
        slopes = np.hypot(*(sobel(image, axis=axis, mode="nearest") / 4 for axis in (0, 1)))
        for channel in edges:
            np.testing.assert_allclose(channel, slopes.clip(0, 1), atol=1e-6)


def test_noise_has_its_deviation_and_stays_within_the_range():
    gray = torch.full((4, 3, 64, 64), 0.5)
    assert distorted("noise", gray, 1).std().item() == pytest.approx(NOISE_STD, rel=0.03)
    noisy = distorted("noise", torch.ones(1, 1, 16, 16), 1)
    assert noisy.max() <= 1
    assert (noisy < 1).any()


@pytest.mark.parametrize("name", DISTORTIONS)
def test_answers_are_equally_often_and_drawn_from_the_seed(name):
    distortion = DISTORTIONS[name]
    labels = distortion.labels(100, 3, 1)
    assert labels.bincount().tolist() == [100 // len(distortion.answers)] * len(distortion.answers)
    assert torch.equal(labels, distortion.labels(100, 3, 1))
    assert not torch.equal(labels, distortion.labels(100, 4, 1))


@pytest.mark.parametrize("images", [torch.rand(2, 3, 8, 6), torch.rand(3, 8, 8), torch.ones(2, 3, 8, 8).byte()])
def test_what_cannot_be_distorted_is_refused(images):
    with pytest.raises(UsageError, match="cannot be distorted"):
        distorted("noise", images, 1)
