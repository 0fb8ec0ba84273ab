"""What a recipe says reaches the view of which it says it, and no other, however views are made."""

import dataclasses
import functools

import pytest
import torch
from torch.utils.data import TensorDataset

from sslbolts.data import DatasetDataModule
from sslbolts.transforms import MultiCrop, View
from tests.transforms.pictures import pictures

# A change to each field of a view, and nothing else; blur, solarize, noise and erasing are switched on to be seen.
CHANGES = [
    ("size", 24),
    ("scale", (0.3, 0.6)),
    ("ratio", (1.0, 1.0)),
    ("interpolation", "bicubic"),
    ("flip", 0.2),
    ("jitter", (0.1, 0.4, 0.4, 0.1)),
    ("jitter", (0.4, 0.1, 0.4, 0.1)),
    ("jitter", (0.4, 0.4, 0.1, 0.1)),
    ("jitter", (0.4, 0.4, 0.4, 0.3)),
    ("jitter_p", 0.3),
    ("grayscale_p", 0.7),
    ("blur_p", 0.9),
    ("blur_sigma", (1.0, 1.5)),
    ("blur_kernel", 7),
    ("solarize_p", 0.9),
    ("solarize_threshold", 60.0),
    ("color_first", True),
    ("padding", 0.25),
    ("vertical_flip", 0.5),
    ("quarter_turns", 0.75),
    ("rotation", 20.0),
    ("noise_p", 0.9),
    ("noise_sigma", (0.2, 0.3)),
    ("erase_p", 0.9),
    ("erase_scale", (0.3, 0.5)),
    ("erase_ratio", (1.0, 1.0)),
    ("custom", lambda images, generator: 1 - images),
]
BASE = View(
    32,
    jitter=(0.4, 0.4, 0.4, 0.1),
    grayscale_p=0.2,
    blur_p=0.5,
    blur_kernel=5,
    solarize_p=0.3,
    noise_p=0.5,
    erase_p=0.3,
)


def test_the_changes_cover_every_field():
    assert {name for name, _ in CHANGES} == {field.name for field in dataclasses.fields(View)}


def views_of(recipe, *, in_memory, augment_on):
    """Of one batch, as the network gets it: images in memory are cropped in batches, others one by one."""
    data = DatasetDataModule(
        TensorDataset(pictures(16, height=40, width=36)),
        views=recipe,
        batch_size=16,
        num_workers=None if in_memory and augment_on == "device" else 0,
        seed=0,
        mean=(0.5, 0.5, 0.5),
        std=(0.2, 0.2, 0.2),
        in_memory=in_memory,
        augment_on=augment_on,
    )
    return data.on_after_batch_transfer(next(iter(data.train_dataloader())), 0).views


@functools.cache
def views_before(*, in_memory, augment_on):
    """A recipe, and its views."""
    first, second = BASE, dataclasses.replace(BASE, size=28)  # equal views would draw together
    recipe = MultiCrop((first, second), dataclasses.replace(BASE, size=16), num_local=2)
    return recipe, views_of(recipe, in_memory=in_memory, augment_on=augment_on)


@pytest.mark.parametrize(("in_memory", "augment_on"), [(True, "worker"), (True, "device"), (False, "device")])
@pytest.mark.parametrize(("name", "value"), CHANGES)
@pytest.mark.parametrize("which", ["first", "second", "local"])
def test_every_field_reaches_its_own_view_and_no_other(name, value, which, in_memory, augment_on):
    way = {"in_memory": in_memory, "augment_on": augment_on}
    before, made_before = views_before(**way)
    first, second = before.global_views
    changed = dataclasses.replace(
        {"first": first, "second": second, "local": before.local_view}[which], **{name: value}
    )
    after = {
        "first": dataclasses.replace(before, global_views=(changed, second)),
        "second": dataclasses.replace(before, global_views=(first, changed)),
        "local": dataclasses.replace(before, local_view=changed),
    }[which]
    reached = {"first": {0}, "second": {1}, "local": {2, 3}}[which]
    pairs = zip(made_before, views_of(after, **way), strict=True)
    different = {place for place, (a, b) in enumerate(pairs) if a.shape != b.shape or not torch.equal(a, b)}
    assert different == reached
