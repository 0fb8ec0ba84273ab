"""The images that come with the package."""

import hashlib
import time
from importlib.resources import files
from io import BytesIO

import numpy as np
import torch
from PIL import Image

from sslbolts.data import CIFAR10MiniDataModule
from sslbolts.data.cifar import _packaged


def stored():
    return np.load(BytesIO((files("sslbolts.data") / "cifar10_mini.npz").read_bytes()), allow_pickle=False)


def test_the_file_is_small_and_its_source_stands_beside_it():
    folder = files("sslbolts.data")
    assert len((folder / "cifar10_mini.npz").read_bytes()) < 5_000_000
    assert "Krizhevsky" in (folder / "cifar10_mini.md").read_text()


def test_classes_are_balanced():
    data = CIFAR10MiniDataModule()
    assert data.num_train_images == 5000
    for split, each in (("train", 500), ("val", 100)):
        assert torch.bincount(data.images(split).targets).tolist() == [each] * 10
    assert data.num_classes == len(data.class_names) == 10


def test_pixels_are_what_pillow_decodes():
    arrays = stored()
    for split in ("train", "test"):
        scans, header = arrays[f"{split}_scans"].tobytes(), arrays["header"].tobytes()
        ends = arrays[f"{split}_ends"]
        for number in (0, 1, 537, len(ends) - 1):
            start = 0 if number == 0 else ends[number - 1]
            expected = np.asarray(Image.open(BytesIO(header + scans[start : ends[number]])))
            assert (_packaged(split).data[number].permute(1, 2, 0).numpy() == expected).all()


def test_pixels_are_the_same_on_every_machine():
    digests = {
        split: hashlib.sha256(_packaged(split).data.numpy().tobytes()).hexdigest()[:16] for split in ("train", "test")
    }
    assert digests == {"train": "c3b736ce525c2b98", "test": "a625e7d6ff7774d9"}


def test_mean_and_std_are_those_of_the_training_pixels():
    pixels = _packaged("train").data.double() / 255
    assert torch.allclose(pixels.mean((0, 2, 3)), torch.tensor(CIFAR10MiniDataModule.pixel_mean).double(), atol=1e-4)
    assert torch.allclose(pixels.std((0, 2, 3)), torch.tensor(CIFAR10MiniDataModule.pixel_std).double(), atol=1e-4)


def test_loading_takes_seconds_at_most_also_without_simplejpeg(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "simplejpeg", None)
    start = time.perf_counter()
    again = _packaged.__wrapped__("train")
    assert time.perf_counter() - start < 8  # under one where nothing else runs
    assert (again.data == _packaged("train").data).all()
