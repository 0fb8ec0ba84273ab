"""Pictures of what networks are shown: of every method that draws them."""

import pytest
import torch

from sslbolts import METHODS
from sslbolts.methods.registry import get_method

DRAWN = [name for name in METHODS if hasattr(get_method(name), "examples")]


def test_every_pretext_method_draws_them():
    assert {name for name, line in METHODS.items() if line.family == "pretext"} <= set(DRAWN)


@pytest.mark.parametrize("size", [32, 96])
@pytest.mark.parametrize("name", DRAWN)
def test_columns_have_a_picture_and_a_text_for_each_image(name, size):
    images = torch.rand(3, 3, size, size)
    before = images.clone()
    columns = get_method(name).examples(images, torch.Generator().manual_seed(0))
    again = get_method(name).examples(images, torch.Generator().manual_seed(0))
    assert columns
    assert torch.equal(images, before)
    for (pictures, labels), (same, said) in zip(columns, again, strict=True):
        assert pictures.shape[:2] == (3, 3)
        assert pictures.min() >= 0
        assert pictures.max() <= 1
        assert len(labels) == 3
        assert all(isinstance(label, str) and len(label) <= 20 for label in labels)
        assert torch.equal(pictures, same)
        assert labels == said
