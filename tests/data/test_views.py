"""Training batches: what they hold, and that nothing but (seed, epoch, batch, rank) decides it."""

import pytest
import torch

from sslbolts.batch import ViewBatch
from sslbolts.data import CIFAR10MiniDataModule, DatasetDataModule, ImageFolderDataModule
from sslbolts.data.views import Draft
from sslbolts.errors import UsageError
from sslbolts.transforms import MultiCrop, MultiView, View
from tests.data.helpers import write_folder
from tests.transforms.pictures import pictures

FEW = 3  # batches


def mini(**settings):
    arguments = {"batch_size": 32, "seed": 5, "num_workers": 0}
    return CIFAR10MiniDataModule(**(arguments | settings))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_folder(tmp_path_factory.mktemp("images"), per_class=8, size=(70, 90))


def images_of(kind, folder, **settings):
    if kind == "memory":
        return mini(**settings)
    return ImageFolderDataModule(str(folder), **({"batch_size": 5, "seed": 5, "image_size": 32} | settings))


def batches(data, epoch=0):
    loader = data.train_dataloader()
    loader.sampler.set_epoch(epoch)
    finished = []
    for batch in loader:
        finished.append(data.on_after_batch_transfer(batch, 0))
        if len(finished) == FEW:
            break
    return finished


def equal(a, b):
    return all(
        torch.equal(x.indices, y.indices)
        and torch.equal(x.targets, y.targets)
        and all(torch.equal(v, w) for v, w in zip(x.views, y.views, strict=True))
        for x, y in zip(a, b, strict=True)
    )


@pytest.mark.parametrize("kind", ["memory", "files"])
@pytest.mark.parametrize("views", ["simclr", "byol", "swav"])
def test_views_do_not_depend_on_workers_or_on_where_they_are_made(kind, folder, views):
    reference = batches(images_of(kind, folder, views=views, num_workers=0, augment_on="worker"))
    on_device = {} if kind == "memory" else {"num_workers": 2}
    for settings in ({"num_workers": 1}, {"num_workers": 2}, {"augment_on": "device"} | on_device):
        assert equal(reference, batches(images_of(kind, folder, views=views, **settings))), settings


@pytest.mark.parametrize("kind", ["memory", "files"])
def test_views_differ_from_seed_to_seed_epoch_to_epoch_and_view_to_view(kind, folder):
    first = batches(images_of(kind, folder, num_workers=0))
    assert equal(first, batches(images_of(kind, folder, num_workers=0)))
    for other in (
        batches(images_of(kind, folder, num_workers=0), epoch=1),
        batches(images_of(kind, folder, num_workers=0, seed=6)),
    ):
        assert not any(torch.equal(x.views[0], y.views[0]) for x, y in zip(first, other))
    assert not any(torch.equal(*batch.views) for batch in first)


def test_what_a_view_draws_does_not_repeat_between_batches():
    """One image in every batch: its views differ."""
    still = torch.utils.data.TensorDataset(torch.rand(1, 3, 32, 32).expand(64, -1, -1, -1))
    data = DatasetDataModule(still, batch_size=16, num_workers=0, seed=0, in_memory=True)
    views = [view for batch in batches(data) for view in batch.views]
    assert all(not torch.equal(a, b) for number, a in enumerate(views) for b in views[:number])


def test_a_batch_is_a_view_batch_of_floats_and_rows():
    data = mini(views="byol")
    batch = batches(data)[0]
    assert isinstance(batch, ViewBatch)
    assert [(view.dtype, tuple(view.shape)) for view in batch.views] == [(torch.float32, (32, 3, 32, 32))] * 2
    assert torch.equal(batch.targets, data.images("train").targets[batch.indices])
    assert abs(float(batch.views[0].mean())) < 0.3  # normalized


def test_simclr_is_not_normalized_and_evaluation_neither():
    data = mini(views="simclr")
    assert data.mean is data.std is None
    evaluated = data.on_after_batch_transfer(next(iter(data.val_dataloader())), 0)[0]
    for values in (batches(data)[0].views[0], evaluated):
        assert -1e-6 < values.min() < values.max() < 1 + 1e-6
    pixels = data.images("val").data[:32]
    assert torch.allclose(evaluated * 255, pixels.float(), atol=1e-3)


def test_evaluation_is_normalized_where_views_are():
    data = mini(views="byol")
    evaluated, targets, indices = data.on_after_batch_transfer(next(iter(data.val_dataloader())), 0)
    mean, std = (torch.tensor(values)[:, None, None] for values in (data.mean, data.std))
    expected = (data.images("val").data[:32] / 255 - mean) / std
    assert torch.allclose(evaluated, expected, atol=1e-5)
    assert indices.tolist() == list(range(32))
    assert torch.equal(targets, data.images("val").targets[:32])


@pytest.mark.parametrize(("side", "size"), [((40, 40), 96), ((96, 96), 96), ((30, 50), 32), ((32, 32), 32)])
def test_images_in_memory_are_evaluated_in_batches_as_they_would_be_one_by_one(side, size, monkeypatch):
    dataset = torch.utils.data.TensorDataset(pictures(10, 3, *side))
    data = DatasetDataModule(dataset, batch_size=4, image_size=size, in_memory=True)
    images = data.predict_dataloader().dataset
    expected = [images[row][0] for row in range(10)]  # one by one
    monkeypatch.setattr(type(images), "__getitem__", None)
    assert torch.equal(torch.cat([batch[0] for batch in data.predict_dataloader()]), torch.stack(expected))


@pytest.mark.parametrize("augment_on", ["worker", "device"])
@pytest.mark.parametrize("kind", ["memory", "files"])
def test_training_views_are_normalized(kind, augment_on, folder):
    """A view of the whole image, not flipped, is the image less the mean over the deviation."""
    whole = MultiView((View(32, scale=(1.0, 1.0), ratio=(1.0, 1.0), flip=0.0),))
    statistics = {"mean": (0.1, 0.2, 0.3), "std": (0.5, 0.25, 2.0)}
    normalized, plain = (
        batches(images_of(kind, folder, views=whole, num_workers=0, augment_on=augment_on, **settings))[0].views[0]
        for settings in (statistics, {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)})
    )
    if kind == "memory":
        data = mini(views=whole)
        rows = batches(data)[0].indices
        torch.testing.assert_close(plain, data.images("train").data[rows] / 255)
    for channel, (mean, std) in enumerate(zip(*statistics.values())):
        torch.testing.assert_close(normalized[:, channel], (plain[:, channel] - mean) / std)


def test_own_statistics_are_used():
    data = mini(views="byol", mean=[0.0, 0.0, 0.0], std=[1.0, 1.0, 1.0])
    assert data.mean == (0.0, 0.0, 0.0)
    assert batches(data)[0].views[0].min() >= 0


def test_crops_have_their_own_sizes_in_order():
    views = MultiCrop((View(32), View(32)), View(16), num_local=3)
    assert [view.shape[-1] for view in batches(mini(views=views))[0].views] == [32, 32, 16, 16, 16]
    assert [view.shape[-1] for view in batches(mini(views=MultiView((View(24), View(16), View(24)))))[0].views] == [
        24,
        16,
        24,
    ]


def test_local_crops_of_one_image_are_of_that_image():
    """Views of flat images tell which image they are of, also where equal views are made in one go."""
    flat = torch.arange(16, dtype=torch.uint8)[:, None, None, None].expand(16, 3, 32, 32) * 16
    dataset = torch.utils.data.TensorDataset(flat)
    views = MultiCrop((View(32), View(32, flip=0.1)), View(16), num_local=4, normalize=False)
    for in_memory in (True, False):
        data = DatasetDataModule(dataset, views=views, batch_size=16, num_workers=0, in_memory=in_memory)
        batch = batches(data)[0]
        assert len(batch.views) == 6
        for view in batch.views:
            assert torch.allclose(view.mean((1, 2, 3)) * 255, batch.indices * 16.0, atol=1e-3)


def test_drafts_for_a_device_hold_no_pixels_of_images_that_stay_there(folder):
    in_memory = next(iter(mini(augment_on="device").train_dataloader()))
    assert isinstance(in_memory, Draft)
    assert in_memory.images == []
    files = images_of("files", folder, augment_on="device", num_workers=0)
    draft = next(iter(files.train_dataloader()))
    assert [(crop.dtype, tuple(crop.shape)) for crop in draft.images] == [(torch.uint8, (5, 3, 32, 32))] * 2


def test_large_sets_in_memory_send_their_images_with_the_batch(monkeypatch):
    resident = batches(mini(augment_on="device"))
    monkeypatch.setattr("sslbolts.data.views._MOST_RESIDENT_BYTES", 1000)
    data = mini(augment_on="device")
    assert next(iter(data.train_dataloader())).images[0].dtype == torch.uint8
    assert equal(resident, batches(data))


@pytest.mark.parametrize("split", ["val", "test", "bank", "predict"])
def test_evaluation_loaders_can_be_rebuilt_to_share_them_among_ranks(split, folder):
    for data in (mini(), images_of("files", folder, num_workers=0)):
        if split in ("val", "test") and not isinstance(data, CIFAR10MiniDataModule):
            continue
        loader = getattr(data, f"{split}_dataloader")()
        rows = list(range(1, len(loader.dataset), 3))
        for sampler in (rows, torch.utils.data.DistributedSampler(loader.dataset, 3, 1, shuffle=False)):
            again = torch.utils.data.DataLoader(loader.dataset, 4, sampler=sampler, collate_fn=loader.collate_fn)
            assert torch.cat([indices for _, _, indices in again])[: len(rows)].tolist() == rows
        part = torch.utils.data.Subset(loader.dataset, rows)
        again = torch.utils.data.DataLoader(part, 4, collate_fn=loader.collate_fn)
        assert torch.cat([indices for _, _, indices in again]).tolist() == rows
        image, target, index = loader.dataset[1]
        assert (image.dtype, index) == (torch.uint8, 1)
        assert int(next(iter(again))[1][0]) == int(target)


@pytest.mark.parametrize("settings", [{"augment_on": "worker", "num_workers": 0}, {"augment_on": "device"}])
@pytest.mark.parametrize("kind", ["memory", "files"])
def test_a_shared_flip_flips_all_views_of_an_image_or_none(kind, settings, folder):
    still = View(32, scale=(1.0, 1.0), ratio=(1.0, 1.0))
    views = (still, View(32, grayscale_p=1.0), still, still)  # groups of equal views, made one after another

    def agreement(**flips):
        made = batches(images_of(kind, folder, views=MultiView(views, **flips), **settings))
        pairs = [(batch.views[0], batch.views[other]) for batch in made for other in (2, 3)]
        return [torch.equal(a, b) for pair in pairs for a, b in zip(*pair)]

    assert all(agreement(shared_flip=True))
    assert 0 < sum(agreement()) < len(agreement())


def test_a_shared_flip_needs_one_probability():
    with pytest.raises(UsageError, match=r"shared_flip=True .* \[0.0, 0.5\]"):
        MultiView((View(32), View(32, flip=0.0)), shared_flip=True)
