"""Arguments: what is refused, and what YAML can say."""

import pytest
from jsonargparse import ArgumentParser

from sslbolts.data import (
    CIFAR10DataModule,
    CIFAR10MiniDataModule,
    CIFAR100DataModule,
    ImageFolderDataModule,
    SSLDataModule,
    STL10DataModule,
)
from sslbolts.errors import UsageError
from sslbolts.transforms import MultiCrop, MultiView, View
from tests.data.helpers import write_folder


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"batch_size": 0}, "batch_size=0: it must be a whole number of at least 1"),
        ({"eval_batch_size": -1}, "eval_batch_size=-1: it must be a whole number of at least 1"),
        ({"num_workers": -1}, "num_workers=-1: it must be a whole number of at least 0"),
        ({"seed": -1}, "seed=-1"),
        ({"image_size": 0}, "image_size=0: it must be a whole number of at least 1"),
        ({"views": "simclt"}, 'Did you mean "simclr"'),
        ({"views": 3}, "views=3 must be the name of a recipe"),
        ({"views": MultiView((View(24),)), "image_size": 32}, "image_size=32, but the first of views is of size 24"),
        ({"augment_on": "devcie"}, 'Did you mean "device"'),
        ({"color": "exactly"}, 'color="exactly": it must be one of exact, linear'),
        ({"predict_on": "trian"}, 'Did you mean "train"'),
        ({"in_chans": 0}, "in_chans=0: it must be a whole number of at least 1"),
        ({"num_workers": 0, "persistent_workers": True}, "persistent_workers=True needs workers, but num_workers=0"),
        ({"mean": [0.5] * 3}, "mean= and std= belong together"),
        ({"mean": [0.5] * 3, "std": [0.2] * 3}, "no effect, since these views are not normalized"),
        ({"views": "byol", "mean": [0.5], "std": [0.2]}, r"mean=\(0.5,\).*one number per channel, and in_chans=3"),
        ({"views": "byol", "mean": [0.5] * 3, "std": [0.2, 0.2, 0.0]}, r"std=\(0.2, 0.2, 0.0\) positive"),
    ],
)
def test_a_wrong_argument_is_one_clear_line(settings, message):
    with pytest.raises(UsageError, match=message) as error:
        CIFAR10MiniDataModule(**settings)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"augment_on": "device", "num_workers": 2}, 'num_workers=2 has no effect with augment_on="device"'),
        ({"augment_on": "device", "persistent_workers": True}, "no workers are needed here"),
        ({"in_chans": 1}, "images of 3 channels, but in_chans=1"),
        ({"batch_size": 5001}, "5,000 images, but one batch takes 5,001"),
    ],
)
def test_what_cannot_work_together_is_refused_when_loaders_are_made(settings, message):
    with pytest.raises(UsageError, match=message):
        CIFAR10MiniDataModule(**settings).train_dataloader()


def test_a_data_set_without_load_says_so():
    with pytest.raises(NotImplementedError, match=r"SSLDataModule must define load\(split\)"):
        SSLDataModule().train_dataloader()


def parse(argv):
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(SSLDataModule, "data")
    return parser.instantiate(parser.parse_args(argv)).data


@pytest.mark.parametrize(
    "cls", [CIFAR10MiniDataModule, CIFAR10DataModule, CIFAR100DataModule, STL10DataModule, ImageFolderDataModule]
)
def test_the_command_line_sees_the_common_arguments_of_every_datamodule(tmp_path, cls):
    write_folder(tmp_path)
    argv = [f"--data=sslbolts.data.{cls.__name__}", "--data.batch_size=7", "--data.views=byol", "--data.seed=3"]
    if cls is ImageFolderDataModule:
        argv.append(f"--data.root={tmp_path}")
    data = parse(argv)
    assert type(data) is cls
    assert (data.batch_size, data.state_dict()["seed"], len(data.views.views)) == (7, 3, 2)


def test_folders_may_be_one_or_several(tmp_path):
    write_folder(tmp_path / "a")
    write_folder(tmp_path / "b")
    for root, images in ((f"{tmp_path}/a", 12), (f'["{tmp_path}/a", "{tmp_path}/b/*/*.png"]', 24)):
        data = parse(["--data=ImageFolderDataModule", f"--data.root={root}", "--data.num_workers=0"])
        assert data.num_train_images == images


@pytest.mark.parametrize(
    ("yaml", "expected"),
    [
        ("byol", None),
        (
            "{views: [{size: 24, jitter: [0.4, 0.4, 0.4, 0.1]}, {size: 24}], normalize: false}",
            MultiView((View(24, jitter=(0.4, 0.4, 0.4, 0.1)), View(24)), normalize=False),
        ),
        (
            "{global_views: [{size: 32}, {size: 32}], local_view: {size: 16}, num_local: 4}",
            MultiCrop((View(32), View(32)), View(16), num_local=4),
        ),
    ],
)
def test_views_are_a_name_or_a_recipe_in_yaml(tmp_path, yaml, expected):
    config = tmp_path / "config.yaml"
    config.write_text(f"data:\n  class_path: CIFAR10MiniDataModule\n  init_args:\n    views: {yaml}\n")
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--config", action="config")
    parser.add_subclass_arguments(SSLDataModule, "data")
    parsed = parser.parse_args([f"--config={config}"])
    data = parser.instantiate(parsed).data
    assert expected is None or data.views == expected
    again = tmp_path / "again.yaml"
    again.write_text(parser.dump(parsed))
    assert parser.instantiate(parser.parse_args([f"--config={again}"])).data.views == data.views
