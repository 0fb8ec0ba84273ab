"""Every configuration does a step with its own network, heads, losses, views and optimizer, on other data and hardware.

In ``make test`` all of them run with small networks (tests/cli/test_configs.py). Here CIFAR-10 is the packaged subset
of it, ImageNet is a folder of 1,000 classes with two images of noise each, and a batch has few images.
"""

import gc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonargparse import Namespace

from sslbolts.cli import main, training
from sslbolts.cli.training import TrainingCLI
from tests.cli.test_configs import CONFIGS
from tests.helpers.stand_ins import write_photos

pytestmark = pytest.mark.slow

FEWER: dict[str, dict[str, Any]] = {
    # More clusters or words than there are images here.
    "bownet_cifar10": {"num_words": 64},
    "bownet_imagenet": {"num_words": 64},
    "deepcluster_cifar10": {"num_clusters": 100},
    "deepcluster_imagenet": {"num_clusters": 100},
    "deepcluster_v2_cifar10": {"num_prototypes": [100, 100, 100]},
    "deepcluster_v2_imagenet": {"num_prototypes": [100, 100, 100]},
    # Files of a run before, or of the Hub.
    "distillation_cifar10": {"teacher": {"backbone": "resnet18", "stem": "cifar"}},
    "distillation_cifar10mini": {"teacher": {"backbone": "resnet18", "stem": "cifar"}},
    "distillation_imagenet": {"teacher": {"backbone": "vit_small_patch14_dinov2"}},
}
"""Arguments that need more images or files than there are."""
BATCH = {
    "wmse_cifar10": 256,
    "wmse_cifar10mini": 128,
    "time_contrastive_frames": 16,
    "time_contrastive_cifar10mini": 32,
}
"""Images of a step, where eight are too few."""
HALVED = {"amdim_imagenet"}
"""Those of 626 million parameters and two optimizer states for each, here in bfloat16 and with two images."""


@pytest.fixture(scope="module")
def images(tmp_path_factory) -> Path:
    """1,000 classes of two images: twenty files with many names."""
    root = tmp_path_factory.mktemp("imagenet")
    write_photos(root / "files", classes=20, per_class=1)
    files = sorted((root / "files").rglob("*.png"))
    for number in range(2000):
        path = root / "train" / f"n{number % 1000:08}" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.hardlink_to(files[number % len(files)])
    return root / "train"


@pytest.fixture(scope="module")
def videos(tmp_path_factory) -> Path:
    """Two videos of 64 frames, of two cameras each."""
    root = tmp_path_factory.mktemp("videos")
    for video in range(2):
        for camera in range(2):
            write_photos(root / f"video{video}" / f"camera{camera}", classes=1, per_class=64)
            for path in sorted((root / f"video{video}" / f"camera{camera}" / "class0").iterdir()):
                path.rename(path.parents[1] / path.name)
            (root / f"video{video}" / f"camera{camera}" / "class0").rmdir()
    return root


class AsWritten(TrainingCLI):
    """The command, with other data and hardware than the configuration says."""

    name: str
    images: Path
    videos: Path

    def parse_arguments(self, parser: Any, args: list[str]) -> None:
        super().parse_arguments(parser, args)
        config = self.config.fit
        on_cpu = {"accelerator": "cpu", "devices": 1, "num_nodes": 1, "strategy": "auto", "precision": "32-true"}
        config.trainer.update(Namespace(**on_cpu, fast_dev_run=1, sync_batchnorm=False, enable_progress_bar=False))
        data = config.data.init_args
        if "Text" in config.data.class_path:
            return
        data.num_workers = 0
        data.batch_size = min(data.batch_size, BATCH.get(self.name, 8))
        if self.name in HALVED:
            config.trainer.precision, data.batch_size = "bf16-true", 2
        if "ImageFolder" in config.data.class_path:
            data.update(Namespace(root=str(self.images), labeled_val=str(self.images)))
        elif "VideoFrames" in config.data.class_path:
            data.root = str(self.videos)
        elif config.data.class_path.endswith("CIFAR10DataModule"):
            config.data.class_path = "sslbolts.data.CIFAR10MiniDataModule"
            del data.root, data.download
        if data.get("labels_per_class") is not None:
            data.labels_per_class = 1
        if data.get("labeled_batch_size") is not None:
            data.labeled_batch_size = 4
        config.model.init_args.update(Namespace(**FEWER.get(self.name, {})))
        for callback in config.trainer.callbacks:
            if "KNN" in callback.class_path:
                callback.init_args.max_bank = 16
        self.config_dump: dict[str, Any] = {}  # of the model's hyperparameters: a third of the time

    def _run_subcommand(self, subcommand: str) -> None:
        super()._run_subcommand(subcommand)
        assert self.trainer.global_step >= 1
        losses = {name: value for name, value in self.trainer.callback_metrics.items() if "loss" in name}
        assert losses
        assert all(bool(value.isfinite()) for value in losses.values()), losses
        assert all(bool(parameter.isfinite().all()) for parameter in self.model.parameters())


@pytest.fixture
def _gone() -> Iterator[None]:
    """Networks of half a gigabyte do not wait for the next garbage collection."""
    yield
    gc.collect()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.usefixtures("_gone", "few_images")
@pytest.mark.parametrize("path", sorted(CONFIGS, key=lambda path: path.stem in HALVED), ids=lambda path: path.stem)
def test_it_does_a_step_as_it_is_written(path, images, videos, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        training, "TrainingCLI", type("Command", (AsWritten,), {"name": path.stem, "images": images, "videos": videos})
    )
    assert main(["fit", f"--config={path}"]) == 0


def test_the_exceptions_are_configurations():
    assert {*FEWER, *BATCH, *HALVED} <= {path.stem for path in CONFIGS}
