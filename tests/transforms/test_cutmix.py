"""Patches of neighbors."""

import pytest
import torch

from sslbolts.transforms.cutmix import cut_and_mix


def test_pixels_and_targets_are_mixed_in_equal_parts():
    images = torch.arange(6.0)[:, None, None, None].expand(6, 1, 20, 30)
    draws = torch.rand(6, 4)
    mixed, targets = cut_and_mix(images, torch.eye(6), draws, probability=1.0)
    for i, neighbor in enumerate([1, 0, 3, 2, 5, 4]):
        part = (mixed[i] == neighbor).float().mean().item()
        assert set(mixed[i].unique().tolist()) <= {float(i), float(neighbor)}
        assert targets[i, neighbor].item() == pytest.approx(part)
        assert targets[i, i].item() == pytest.approx(1 - part)


def test_a_patch_is_a_rectangle_of_the_drawn_area_around_the_drawn_center():
    images = torch.stack([torch.zeros(1, 100, 100), torch.ones(1, 100, 100)])
    draws = torch.tensor([[0.0, 0.16, 0.3, 0.7], [0.0, 0.16, 0.05, 0.5]])
    mixed, targets = cut_and_mix(images, torch.eye(2), draws)
    expected = torch.zeros(100, 100)
    expected[10:50, 50:90] = 1
    assert torch.equal(mixed[0, 0], expected)
    assert targets[1, 0].item() == pytest.approx(0.25 * 0.4)  # cut off at the upper edge


@pytest.mark.parametrize(("probability", "patched"), [(0.0, 0), (0.5, 2), (1.0, 4)])
def test_only_the_drawn_images_get_one(probability, patched):
    images = torch.arange(4.0)[:, None, None, None].expand(4, 1, 8, 8)
    draws = torch.tensor([[0.1, 0.5, 0.5, 0.5], [0.6, 0.5, 0.5, 0.5], [0.4, 0.5, 0.5, 0.5], [0.9, 0.5, 0.5, 0.5]])
    mixed, _ = cut_and_mix(images, torch.eye(4), draws, probability=probability)
    assert sum(len(image.unique()) == 2 for image in mixed) == patched


def test_the_last_of_an_odd_number_keeps_its_image():
    images = torch.rand(3, 1, 8, 8)
    mixed, targets = cut_and_mix(images, torch.eye(3), torch.full((3, 4), 0.3), probability=1.0)
    assert torch.equal(mixed[2], images[2])
    torch.testing.assert_close(targets[2], torch.eye(3)[2])
