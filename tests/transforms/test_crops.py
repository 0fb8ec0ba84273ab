import dataclasses

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import functional as TF

from sslbolts.errors import UsageError
from sslbolts.transforms import BatchedAugment, Evaluation, View, center_crop, random_crops
from sslbolts.transforms.crops import random_box
from sslbolts.transforms.parameters import draw_parameters
from tests.transforms.naive import levels, naive_view
from tests.transforms.pictures import pictures

SAMPLES = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def as_pil(image):
    return Image.fromarray(image.permute(1, 2, 0).squeeze(-1).numpy())


def from_pil(picture):
    values = torch.from_numpy(np.asarray(picture).copy())
    return values[None] if values.ndim == 2 else values.permute(2, 0, 1)


def off_by(a, b):
    return int((a.int() - b.int()).abs().max())


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("size", [96, 224])
def test_bilinear_crops_equal_pils_to_one_level(channels, size):
    image = pictures(1, channels, 375, 500)[0]
    views = [View(size, scale=(0.05, 1.0))] * 6
    crops = random_crops(image, views, generator=seeded())
    tries = torch.rand(6, 10, 4, generator=seeded()).tolist()
    for crop, numbers in zip(crops, tries, strict=True):
        top, left, h, w = random_box(views[0], 375, 500, numbers)
        box = (left, top, left + w, top + h)
        # PIL blends colors by the fourth channel, so that is resized on its own.
        pieces = [image[:3], image[3:]] if channels == 4 else [image]
        expected = [from_pil(as_pil(x).crop(box).resize((size, size), SAMPLES["bilinear"])) for x in pieces]
        assert crop.dtype == torch.uint8
        assert off_by(crop, torch.cat(expected)) <= 1


def test_bicubic_crops_are_near_pils():
    image = pictures(1, 3, 375, 500)[0]
    view = View(128, interpolation="bicubic")
    (crop,) = random_crops(image, [view], generator=seeded())
    top, left, h, w = random_box(view, 375, 500, torch.rand(1, 10, 4, generator=seeded())[0].tolist())
    expected = from_pil(TF.resized_crop(as_pil(image), top, left, h, w, [128, 128], TF.InterpolationMode.BICUBIC))
    assert off_by(crop, expected) <= 1


def test_a_crop_of_an_image_with_a_border_is_the_image_moved_by_whole_pixels():
    """RandomCrop(32, padding=4) of the CIFAR recipes, in batches and one by one."""
    images = pictures(64, 3, 32, 32)
    view = View(32, scale=(0.64, 0.64), ratio=(1.0, 1.0), padding=1 / 8, flip=0.0)
    batched = BatchedAugment(view)(images, generator=seeded())
    one_by_one = [random_crops(image, [view], generator=seeded(seed))[0] / 255 for seed, image in enumerate(images)]
    for views in (batched, torch.stack(one_by_one)):
        found = set()
        for image, moved in zip(images / 255, views):
            bordered = torch.zeros(3, 40, 40)
            bordered[:, 4:36, 4:36] = image
            gaps = {
                (top, left): (bordered[:, top : top + 32, left : left + 32] - moved).abs().max().item()
                for top in range(9)
                for left in range(9)
            }
            assert min(gaps.values()) < 1e-6
            found.add(min(gaps, key=gaps.__getitem__))
        assert {place for places in found for place in places} == set(range(9))


def test_colors_before_the_crop_are_those_of_the_whole_image_and_are_changed_once():
    image = pictures(1, 3, 90, 120)[0]
    view = View(64, flip=0.0, jitter=(0.8, 0.8, 0.8, 0.2), jitter_p=1.0, grayscale_p=0.5, color_first=True)
    for seed in range(6):
        (crop,) = random_crops(image, [view], generator=seeded(seed))
        tries = torch.rand(1, 10, 4, generator=seeded(seed))[0].tolist()
        top, left, h, w = random_box(view, 90, 120, tries)
        low, high = (int(number * 2**24) for number in tries[-1][:2])
        drawn = draw_parameters(view, 1, 90, 120, generator=seeded(high << 24 | low), crop=False)
        drawn.box = torch.tensor([[top, left, h, w]])
        assert levels(crop / 255, naive_view(image, drawn, 0, view)) < 1.51  # rounded twice
        (finished,) = BatchedAugment(view)(crop[None], generator=seeded(), crop=False)
        torch.testing.assert_close(finished, crop / 255)


def test_the_layout_of_the_decoded_image_does_not_matter():
    image = pictures(1, 3, 200, 300)[0]
    last = image.permute(1, 2, 0).contiguous().permute(2, 0, 1)
    views = [View(64), View(32, interpolation="bicubic")]
    for a, b in zip(*(random_crops(x, views, generator=seeded()) for x in (image, last)), strict=True):
        assert torch.equal(a, b)


def test_crops_can_be_written_into_a_batch():
    image = pictures(1, 3, 200, 300)[0]
    batch = torch.zeros(2, 4, 64, 64, 3, dtype=torch.uint8).permute(0, 1, 4, 2, 3)  # two views of four images
    out = [batch[0, 1], batch[1, 1]]
    written = random_crops(image, [View(64)] * 2, generator=seeded(), out=out)
    expected = random_crops(image, [View(64)] * 2, generator=seeded())
    for place in range(2):
        assert torch.equal(batch[place, 1], expected[place])
        assert written[place].data_ptr() == batch[place, 1].data_ptr()
    assert int(batch[:, [0, 2, 3]].max()) == 0


def test_every_view_of_an_image_has_a_crop_of_its_own():
    views, drawn = [View(32)] * 2, seeded()
    for image in pictures(10, 3, 60, 80):
        assert not torch.equal(*random_crops(image, views, generator=drawn))


def test_one_seed_gives_one_result_and_other_views_do_not_move_a_crop():
    image = pictures(1, 3, 200, 300)[0]
    views = [View(64), View(32, scale=(0.05, 0.14))]
    first, again = (random_crops(image, views, generator=seeded()) for _ in range(2))
    changed = [dataclasses.replace(views[0], size=48, scale=(0.5, 0.6)), views[1]]
    other = random_crops(image, changed, generator=seeded())
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert torch.equal(first[1], other[1])
    assert other[0].shape == (3, 48, 48)


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize(("height", "width"), [(300, 400), (417, 256), (200, 150)])
def test_the_center_crop_equals_pils(interpolation, height, width):
    image = pictures(1, 3, height, width)[0]
    resized = TF.resize(as_pil(image), 256, TF.InterpolationMode(interpolation))
    expected = from_pil(TF.center_crop(resized, 224))
    result = center_crop(image, Evaluation(256, 224, interpolation))
    assert result.shape == (3, 224, 224)
    # PIL and torch round and clip between the two passes in their own ways, which shows where bicubic overshoots.
    assert off_by(result, expected) <= (1 if interpolation == "bilinear" else 2)


def test_the_center_crop_at_the_images_own_size_changes_nothing():
    image = pictures(1)[0]
    assert torch.equal(center_crop(image, Evaluation(32, 32)), image)


def test_what_is_no_decoded_image_is_refused():
    with pytest.raises(UsageError, match="uint8"):
        random_crops(torch.zeros(3, 8, 8), [View(4)], generator=seeded())
    with pytest.raises(UsageError, match=r"\(1, 3, 8, 8\)"):
        center_crop(torch.zeros(1, 3, 8, 8, dtype=torch.uint8), Evaluation(8, 8))
