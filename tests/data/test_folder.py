"""Folders of image files."""

import os
import shutil

import pytest
import torch
from PIL import Image

from sslbolts.data import ImageFolderDataModule
from sslbolts.data.files import find_images
from sslbolts.errors import UsageError
from tests.data.helpers import broken_folder, epoch, pixels, small, write_folder, write_image


def names(found):
    return [(image.path.rsplit("/", 1)[-1], image.class_name) for image in found]


# -------------------------------------------------------------------- which files


def test_class_folders_give_classes_however_deep(tmp_path):
    write_image(tmp_path / "dog" / "deep" / "er" / "1.PNG")
    write_image(tmp_path / "cat" / "0.jpeg")
    (tmp_path / "cat" / "notes.txt").write_text("no image")
    (tmp_path / ".cache").mkdir()
    write_image(tmp_path / ".cache" / "x.png")
    write_image(tmp_path / "cat" / "._0.jpeg", format="jpeg")
    assert names(find_images("root", [str(tmp_path)])) == [("0.jpeg", "cat"), ("1.PNG", "dog")]


def test_flat_nested_and_single_subfolders_have_no_classes(tmp_path):
    write_image(tmp_path / "flat" / "0.png")
    write_image(tmp_path / "flat" / "sub" / "1.png")
    write_image(tmp_path / "one" / "images" / "2.png")
    assert names(find_images("root", [str(tmp_path / "flat"), str(tmp_path / "one")])) == [
        ("0.png", None),
        ("1.png", None),
        ("2.png", None),
    ]


def test_globs_of_files_and_of_folders(tmp_path):
    write_folder(tmp_path / "a", per_class=2)
    write_image(tmp_path / "b" / "5.jpg")
    assert names(find_images("root", [f"{tmp_path}/**/*.png"])) == [("0.png", None), ("1.png", None)] * 2
    assert names(find_images("root", [f"{tmp_path}/[ab]"])) == [
        ("0.png", "cat"),
        ("1.png", "cat"),
        ("0.png", "dog"),
        ("1.png", "dog"),
        ("5.jpg", None),
    ]


def test_overlapping_places_give_each_image_once(tmp_path):
    write_folder(tmp_path, per_class=3)
    assert len(find_images("root", [str(tmp_path), f"{tmp_path}/cat", f"{tmp_path}/**"])) == 6


def test_a_link_that_leads_back_up_repeats_no_image(tmp_path):
    root = write_folder(tmp_path / "images", per_class=2)
    plain = names(find_images("root", [str(root)]))
    (root / "cat" / "up").symlink_to(root)
    assert names(find_images("root", [str(root)])) == plain
    assert len(find_images("root", [f"{root}/**/*.png"])) == 4


def test_linked_folders_are_followed_and_an_image_has_the_class_of_the_folder_that_it_is_in(tmp_path):
    write_folder(tmp_path / "store", per_class=2)
    root = tmp_path / "images"
    write_image(root / "emu" / "0.png")
    (root / "cat").symlink_to(tmp_path / "store" / "cat")
    (root / "aardvark").symlink_to(root / "emu")  # comes first by its name
    assert names(find_images("root", [str(root)])) == [("0.png", "cat"), ("1.png", "cat"), ("0.png", "emu")]
    assert len(find_images("root", [str(root), str(tmp_path / "store")])) == 5


def test_a_folder_that_cannot_be_read_is_named(tmp_path, monkeypatch):
    write_folder(tmp_path)
    (tmp_path / "lost+found").mkdir()
    listed = os.scandir

    def scandir(path):
        if str(path).endswith(("dog", "lost+found")):
            raise PermissionError(13, "Permission denied", str(path))
        return listed(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(UsageError, match=r'dog" cannot be read \(Permission denied\)'):
        find_images("root", [str(tmp_path)])
    shutil.rmtree(tmp_path / "cat")
    monkeypatch.undo()
    assert len(find_images("root", [str(tmp_path)])) == 6


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("imagse", r'root=".*imagse" does not exist.*Did you mean "images"\?'),
        ("empty", "holds no images: looked for files that end in .jpg"),
        ("images/*.jpg", "holds no images"),
        ("splits", "look like splits, not like classes.*labeled_val"),
    ],
)
def test_a_wrong_place_gives_one_clear_line(tmp_path, place, message):
    write_folder(tmp_path / "images")
    (tmp_path / "empty").mkdir()
    write_folder(tmp_path / "splits", classes=("train", "val"))
    with pytest.raises(UsageError, match=message) as error:
        small(tmp_path / place).num_train_images  # noqa: B018
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("folders", "splits"), [(("Train", "valid", "extra"), "Train, valid"), (("test", "train"), "test, train")]
)
def test_splits_beside_each_other_are_no_classes(tmp_path, folders, splits):
    write_folder(tmp_path, per_class=1, classes=folders)
    with pytest.raises(UsageError, match=f"holds the folders {splits}, which look like splits"):
        find_images("root", [str(tmp_path)])


def test_one_class_may_have_the_name_of_a_split(tmp_path):
    write_folder(tmp_path, per_class=1, classes=("plane", "train"))
    assert names(find_images("root", [str(tmp_path)])) == [("0.png", "plane"), ("0.png", "train")]


@pytest.mark.parametrize(
    ("fraction", "message"),
    [
        (0.05, r"val_fraction=0.05 of 8 images is 0, .*none to hold out: give a greater"),
        (0.99, r"val_fraction=0.99 of 8 images is 8, .*none to train on: give a smaller"),
    ],
)
def test_a_part_that_is_nothing_or_everything_is_refused(tmp_path, fraction, message):
    write_folder(tmp_path, per_class=4)
    for loader in ("train_dataloader", "val_dataloader"):
        with pytest.raises(UsageError, match=message):
            getattr(small(tmp_path, val_fraction=fraction), loader)()


def test_no_place_at_all_is_refused():
    with pytest.raises(UsageError, match=r"root=\[\]"):
        small([])


# -------------------------------------------------------------------- splits


def test_class_folders_serve_as_train_and_bank(tmp_path):
    data = small(write_folder(tmp_path))
    assert (data.class_names, data.num_classes, data.num_train_images) == (("cat", "dog"), 2, 12)
    images, targets, indices = next(iter(data.bank_dataloader()))
    assert images.shape == (4, 3, 32, 32)
    assert (targets.tolist(), indices.tolist()) == ([0, 0, 0, 0], [0, 1, 2, 3])
    assert data.val_dataloader() == []
    assert [len(batch[0]) for batch in data.predict_dataloader()] == [4, 4, 4]


def test_unlabeled_images_train_and_say_what_labels_need(tmp_path):
    for number in range(8):
        write_image(tmp_path / f"{number}.jpg", seed=number)
    data = small(tmp_path)
    assert [batch.targets.tolist() for batch in epoch(data)] == [[-1] * 4] * 2
    assert data.class_names is None
    with pytest.raises(UsageError, match=r"no labels.*labeled_train="):
        data.num_classes  # noqa: B018
    with pytest.raises(UsageError, match="no labeled training images for a bank"):
        data.bank_dataloader()


def test_labeled_folders_serve_evaluation(tmp_path):
    write_image(tmp_path / "train" / "0.png")
    write_folder(tmp_path / "bank", classes=("ant", "bee", "cat"))
    write_folder(tmp_path / "queries", per_class=1, classes=("bee", "cat"))
    data = small(
        tmp_path / "train", labeled_train=str(tmp_path / "bank"), labeled_val=str(tmp_path / "queries"), batch_size=1
    )
    assert data.class_names == ("ant", "bee", "cat")
    assert len(data.bank_dataloader().dataset) == 18
    assert torch.cat([batch[1] for batch in data.val_dataloader()]).tolist() == [1, 2]
    assert torch.cat([batch[1] for batch in data.test_dataloader()]).tolist() == [1, 2]
    assert data.num_train_images == 1


def test_a_class_of_the_queries_that_the_bank_does_not_know_is_named(tmp_path):
    write_folder(tmp_path / "bank")
    write_folder(tmp_path / "queries", classes=("cat", "dgo"))
    data = small(tmp_path / "bank", labeled_val=str(tmp_path / "queries"))
    with pytest.raises(UsageError, match=r'"dgo".*not among the 2 classes.*Did you mean "dog"'):
        data.val_dataloader()


def test_labeled_folders_without_classes_are_refused(tmp_path):
    write_image(tmp_path / "flat" / "0.png")
    with pytest.raises(UsageError, match="one subfolder per class"):
        small(tmp_path / "flat", labeled_train=str(tmp_path / "flat")).bank_dataloader()


def test_a_held_out_part_is_disjoint_from_training_and_does_not_depend_on_the_seed(tmp_path):
    write_folder(tmp_path, per_class=10)
    held = []
    for seed in (0, 1):
        data = small(tmp_path, val_fraction=0.25, seed=seed)
        train, val = set(data.paths("train")), set(data.paths("val"))
        assert (len(train), len(val), train & val) == (15, 5, set())
        held.append(val)
    assert held[0] == held[1]
    assert len(data.bank_dataloader().dataset) == 15


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"val_fraction": 1.0}, "val_fraction=1.0"),
        ({"val_fraction": 0.5, "labeled_val": "."}, "give one of them"),
        ({"on_bad_image": "skpi"}, 'Did you mean "skip"'),
        ({"labeled_train": "/nowhere"}, 'labeled_train="/nowhere" does not exist'),
        ({"in_memory": True}, "not all of one size"),
        ({"in_chans": 1, "mean": [0.5], "std": [0.2]}, "no effect"),
        ({"in_chans": 4, "views": "byol", "mean": [0.5], "std": [0.2]}, "one number per channel, and in_chans=4"),
    ],
)
def test_arguments_that_cannot_work_are_refused(tmp_path, settings, message):
    write_folder(tmp_path)
    write_image(tmp_path / "cat" / "9.png", size=(30, 30))
    with pytest.raises(UsageError, match=message):
        small(tmp_path, **settings).num_train_images  # noqa: B018


# -------------------------------------------------------------------- what arrives


@pytest.mark.parametrize(("mode", "in_chans"), [("L", 1), ("RGB", 3), ("L", 3), ("RGBA", 4)])
def test_declared_channels_arrive(tmp_path, mode, in_chans):
    data = small(write_folder(tmp_path, mode=mode), in_chans=in_chans)
    assert all(view.shape == (4, in_chans, 32, 32) for batch in epoch(data) for view in batch.views)


# -------------------------------------------------------------------- how they arrive


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_small_images_of_one_size_are_held_in_memory(tmp_path, suffix):
    for number in range(6):
        write_image(tmp_path / f"{number}.{suffix}", seed=number, size=(32, 32))
    held, read = small(tmp_path, in_memory=None), small(tmp_path)
    assert type(held.images("train")).__name__ == "HeldFiles"
    assert type(read.images("train")).__name__ == "FileImages"
    for a, b in zip(held.predict_dataloader(), read.predict_dataloader()):
        assert all((x == y).all() for x, y in zip(a, b))


def test_reading_into_memory_shows_how_far_it_is_and_takes_the_memory_of_the_images_once(tmp_path, monkeypatch):
    shown = []
    monkeypatch.setattr("sslbolts.data.files.late_bar", lambda items, said: shown.append((len(items), said)) or items)
    monkeypatch.setattr(torch, "stack", None)  # of images that are all held already
    data = small(broken_folder(tmp_path, good=5), in_memory=True, on_bad_image="skip")
    assert data.num_train_images == 5
    assert shown == [(7, "Reading images into memory")]


def test_images_held_in_memory_keep_their_file_names_without_the_bad(tmp_path):
    data = small(broken_folder(tmp_path, good=5), in_memory=True, on_bad_image="skip")
    assert [path.rsplit("/", 1)[-1] for path in data.paths("train")] == [f"good{number:02}.jpg" for number in range(5)]
    assert data.num_train_images == 5
    with pytest.warns(UserWarning, match="2 of 7 image files"):
        data.teardown("fit")


def test_small_images_of_several_sizes_are_read_one_by_one(tmp_path):
    write_folder(tmp_path, size=(32, 32))
    write_image(tmp_path / "cat" / "9.png", size=(30, 32))
    assert type(small(tmp_path, in_memory=None).images("train")).__name__ == "FileImages"


def test_evaluation_images_are_resized_and_cut_like_torchvision(tmp_path):
    from torchvision.transforms import v2

    array = pixels(300, 400, seed=8)
    Image.fromarray(array).save(tmp_path / "0.png")
    data = ImageFolderDataModule(str(tmp_path), batch_size=1, num_workers=0, views="byol")
    image = data.on_after_batch_transfer(next(iter(data.predict_dataloader())), 0)[0][0]
    reference = v2.Compose(
        [
            v2.Resize(256, antialias=True),
            v2.CenterCrop(224),
            v2.ToImage(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ]
    )(Image.fromarray(array))
    assert image.shape == (3, 224, 224)
    assert (image - reference).abs().max() < 1.01 / 255 / 0.224  # one level of 255
