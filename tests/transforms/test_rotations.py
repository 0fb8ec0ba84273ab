"""Rotations by quarters: lossless, undone by turning back, and ruined by a flip that comes after them."""

import pytest
import torch

from sslbolts import UsageError
from sslbolts.transforms.rotations import rotate, rotation_labels, rotations


def images(count: int = 2, size: int = 5) -> torch.Tensor:
    return torch.randint(0, 256, (count, 3, size, size), dtype=torch.uint8)


@pytest.mark.parametrize("quarters", range(4))
def test_turning_back_is_the_identity(quarters):
    given = torch.rand(2, 3, 5, 7)
    assert torch.equal(rotate(rotate(given, quarters), -quarters), given)


@pytest.mark.parametrize("image_major", [True, False])
def test_every_row_is_the_image_turned_pixel_by_pixel(image_major):
    given = images()
    rows, labels = rotations(given, image_major=image_major), rotation_labels(len(given), image_major=image_major)
    size = given.shape[-1]
    for row, quarters in enumerate(labels.tolist()):
        expected = given[row // 4 if image_major else row % len(given)]
        for _ in range(
            quarters
        ):  # a quarter counter-clockwise: what was at row r, column c is now at row s-1-c, column r
            turned = torch.empty_like(expected)
            for r in range(size):
                for c in range(size):
                    turned[:, size - 1 - c, r] = expected[:, r, c]
            expected = turned
        assert torch.equal(rows[row], expected)


def test_no_pixel_is_made_up_or_lost():
    given = images()
    rows = rotations(given).unflatten(0, (2, 4))
    for image, turned in zip(given, rows):
        expected = image.flatten(1).sort(1).values
        assert all(torch.equal(row.flatten(1).sort(1).values, expected) for row in turned)


def test_labels_are_exactly_uniform():
    assert rotation_labels(7).bincount().tolist() == [7, 7, 7, 7]


def test_a_flip_after_the_rotation_takes_the_difference_between_quarters():
    """A batch and its mirror images, turned by 1 and then mirrored: the very rows of those turned by 3."""
    given = images()
    both = torch.cat([given, given.flip(-1)])
    after = rotations(both).flip(-1).unflatten(0, (4, 4))
    assert torch.equal(after[:, 1], rotate(both.flip(-1), 3))
    as_set = [{tuple(row.flatten().tolist()) for row in rows} for rows in (after[:, 1], rotate(both, 3))]
    assert as_set[0] == as_set[1]


def test_images_that_are_not_square_are_refused():
    with pytest.raises(UsageError, match=r"square images \(B, C, S, S\), got \(2, 3, 4, 6\)"):
        rotations(torch.zeros(2, 3, 4, 6))
