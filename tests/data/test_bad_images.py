"""Image files that cannot be read or are of another kind: named, or left out and counted."""

import shutil
import warnings

import pytest
import torch

from sslbolts.data.decode import ImageError
from sslbolts.errors import UsageError
from tests.data.helpers import Recorder, broken_folder, epoch, quiet_trainer, small, write_folder, write_image


@pytest.mark.parametrize("workers", [0, 2])
def test_a_bad_image_is_named_in_one_line(tmp_path, workers):
    data = small(broken_folder(tmp_path), batch_size=22, num_workers=workers)
    with pytest.raises(ImageError, match=r'^\S*bad\d.jpg cannot be read as an image .*on_bad_image="skip"\.$') as error:
        epoch(data)
    assert "\n" not in str(error.value)
    with pytest.raises(ImageError, match=r"^\S*bad0.jpg cannot be read"):
        list(data.predict_dataloader())


@pytest.mark.parametrize("workers", [0, 2])
def test_skipped_images_are_replaced_in_training_counted_and_named_once(tmp_path, workers):
    data = small(broken_folder(tmp_path), batch_size=11, num_workers=workers, on_bad_image="skip")
    for batch in epoch(data):
        assert len(batch.views[0]) == len(set(batch.indices.tolist())) == 11  # full, and no image twice
        assert min(batch.indices.tolist()) >= 2  # the bad ones sort first
    assert [path.rsplit("/", 1)[-1] for path in data.bad_images] == ["bad0.jpg", "bad1.jpg"]
    with pytest.warns(UserWarning, match="2 of 22 image files could not be used.*bad0.jpg.*bad1.jpg"):
        data.teardown("fit")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        data.teardown("fit")


@pytest.mark.parametrize("workers", [0, 1])
def test_skipped_images_are_missing_from_evaluation(tmp_path, workers):
    data = small(broken_folder(tmp_path), batch_size=4, num_workers=workers, on_bad_image="skip")
    assert torch.cat([batch[2] for batch in data.predict_dataloader()]).tolist() == list(range(2, 22))


@pytest.mark.parametrize("workers", [0, 1])
def test_a_batch_of_bad_images_alone_is_empty_in_evaluation(tmp_path, workers):
    data = small(broken_folder(tmp_path, good=8, bad=5), num_workers=workers, on_bad_image="skip")
    batches = list(data.predict_dataloader())
    assert [batch[2].tolist() for batch in batches] == [[], [5, 6, 7], [8, 9, 10, 11], [12]]
    first = data.on_after_batch_transfer(batches[0], 0)
    assert (first[0].shape, first[0].dtype, first[1].dtype) == ((0, 3, 32, 32), torch.float32, torch.int64)


@pytest.mark.filterwarnings("ignore:.*image files could not be used")
def test_a_run_goes_through_an_empty_evaluation_batch(tmp_path):
    root = write_folder(tmp_path, per_class=8)
    for number in range(5):
        (root / "cat" / f"{number}.png").write_bytes(b"no image")
    data = small(root, labeled_val=str(root), on_bad_image="skip")
    model = Recorder()
    quiet_trainer(max_epochs=1, num_sanity_val_steps=0).fit(model, datamodule=data)
    assert [len(batch[0]) for batch in model.validated] == [0, 3, 4, 4]


def test_pictures_of_training_images_pass_over_the_bad(tmp_path):
    data = small(broken_folder(tmp_path, good=3, bad=2), on_bad_image="skip")
    images = data.train_images_dataloader().dataset
    shown = images.stored([0, 4, 1, 2, 3], 2)
    assert [torch.equal(a, images.images.read(row)[0]) for a, row in zip(shown, (4, 2), strict=True)] == [True, True]
    assert len(images.stored(range(5), 9)) == 3
    with pytest.raises(UsageError, match="none of the images that a picture needs"):
        images.stored([0, 1], 2)


def test_a_folder_of_bad_images_ends_with_an_error(tmp_path):
    broken_folder(tmp_path, bad=3)
    for path in tmp_path.glob("good*"):
        path.unlink()
    with pytest.raises(UsageError, match=r"100 images in a row could not be used.*bad\d.jpg: .*few bad files"):
        epoch(small(tmp_path, batch_size=2, on_bad_image="skip"))
    with pytest.raises(UsageError, match="none of 3 images could be read"):
        list(small(tmp_path, on_bad_image="skip").predict_dataloader())


def test_wrong_channels_are_named_or_skipped_like_any_bad_image(tmp_path):
    write_folder(tmp_path, mode="L")
    write_image(tmp_path / "dog" / "colored.png")
    with pytest.raises(ImageError, match=r"colored.png is not usable: it has mode \"RGB\", but in_chans=1"):
        epoch(small(tmp_path, in_chans=1, batch_size=13))
    data = small(tmp_path, in_chans=1, batch_size=12, on_bad_image="skip")
    assert sum(len(batch[0]) for batch in data.predict_dataloader()) == 12
    assert [path.rsplit("/", 1)[-1] for path in data.bad_images] == ["colored.png"]
    with pytest.raises(UsageError, match=r'100 images in a row .* "L", but in_chans=4'):
        epoch(small(tmp_path, in_chans=4, on_bad_image="skip"))


def test_files_that_vanish_after_listing_are_bad_images(tmp_path):
    data = small(write_folder(tmp_path))
    assert data.num_train_images == 12
    shutil.rmtree(tmp_path / "cat")
    with pytest.raises(ImageError, match=r"cat/\d.png cannot be read as an image \(FileNotFoundError"):
        epoch(data)
