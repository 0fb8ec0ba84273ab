"""Whitening filters for the first convolution."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from sslbolts.data import CIFAR10MiniDataModule
from sslbolts.errors import UsageError
from sslbolts.networks.whitened_filters import patches_for, set_whitening_filters_, whitenable_convolution


@pytest.fixture(scope="module")
def images():
    return CIFAR10MiniDataModule().load("train").data[::25].float() / 255


@pytest.mark.parametrize(("kernel", "channels"), [(3, 24), (3, 64), (5, 32)])
def test_outputs_on_real_images_are_uncorrelated_and_of_equal_variance(images, kernel, channels):
    convolution = nn.Conv2d(3, channels, kernel, stride=2, bias=False)
    patches = patches_for(convolution, images).flatten(0, 1)
    set_whitening_filters_(convolution, patches, eps=0.0)
    filters = min(channels // 2, 3 * kernel**2)
    outputs = patches @ convolution.weight.flatten(1).T
    torch.testing.assert_close(outputs[:, :filters].T.cov(correction=0), torch.eye(filters), atol=1e-3, rtol=0)
    assert torch.equal(convolution.weight[filters : 2 * filters], -convolution.weight[:filters])


def test_filters_beyond_the_patches_dimension_stay_as_they_were(images):
    convolution = nn.Conv2d(3, 64, 3)
    before = convolution.weight.detach().clone()
    set_whitening_filters_(convolution, patches_for(convolution, images).flatten(0, 1))
    assert torch.equal(convolution.weight[54:], before[54:])
    assert not torch.isclose(convolution.weight[:54], before[:54]).flatten(1).all(1).any()


def test_eps_holds_small_variances_down(images):
    norms = []
    for eps in (0.0, 0.1):
        convolution = nn.Conv2d(3, 54, 3)
        set_whitening_filters_(convolution, patches_for(convolution, images).flatten(0, 1), eps=eps)
        norms.append(convolution.weight.detach()[:27].flatten(1).norm(dim=1))
    assert norms[0][-1] > 10 * norms[1][-1]
    assert norms[0][0] / norms[1][0] == pytest.approx(1.1**0.5, rel=1e-4)


@pytest.mark.parametrize("size", [3, 8, 9, 10, 32, 33, 224])
def test_patches_are_those_of_the_image(size):
    image = torch.rand(1, 3, size, size)
    patches = patches_for(nn.Conv2d(3, 4, 3), image)
    every = F.unfold(image, 3).transpose(1, 2)
    assert 1 <= patches.shape[1] <= 36
    assert all((patch == every[0]).all(1).any() for patch in patches[0])


def test_what_cannot_be_whitened_is_named():
    with pytest.raises(UsageError, match="no convolution"):
        whitenable_convolution(nn.Linear(2, 2))
    with pytest.raises(UsageError, match="grouped"):
        whitenable_convolution(nn.Conv2d(4, 4, 3, groups=2))
    with pytest.raises(UsageError, match=r"\(2, 1, 8, 8\) do not go into a convolution of 3 channels and 3 x 3"):
        patches_for(nn.Conv2d(3, 4, 3), torch.rand(2, 1, 8, 8))
