"""Folders as transfer sets: their classes by name, a fifth held out, and one line where something is missing."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from sslbolts import UsageError
from sslbolts.evaluation import load_encoder
from sslbolts.evaluation.transfer.folders import FolderImages
from sslbolts.evaluation.transfer.run import evaluate_transfer
from sslbolts.evaluation.transfer.sets import transfer_set
from tests.evaluation.transfer.test_transfer import MeanColor, picture

BIRDS = ("Acadian_Flycatcher", "Black_Tern", "Cactus_Wren")


def folder(root: Path, name: str = "birdsnap", train: int = 10, test: int = 4) -> Path:
    for split, count in (("train", train), ("test", test)):
        for label, bird in enumerate(BIRDS):
            for number in range(count):
                picture(root / name / split / bird / f"{number}.jpg", label, number)
    return root / name


@pytest.fixture
def encoder() -> Any:
    return load_encoder(MeanColor(), device="cpu", image_size=16)


def test_birdsnap_is_read_from_its_folder(tmp_path: Path, encoder: Any) -> None:
    folder(tmp_path)
    result = evaluate_transfer(encoder, ["birdsnap"], root=tmp_path, image_size=16, penalties=[1e-2])
    assert result.metrics == {"Birdsnap/top1": 1.0}
    row = result.rows[0]
    assert (row["train"], row["val"], row["test"]) == (24, 6, 12)
    assert "Birdsnap has 3 classes here, of 500." in result.notes


def test_any_folder_is_a_set_by_whichever_measure(tmp_path: Path, encoder: Any) -> None:
    place = folder(tmp_path, "my birds")
    for number in range(4):  # of one class there are more, and they look like another one
        picture(place / "test" / BIRDS[0] / f"wrong{number}.jpg", 1, number)
    names = ["folder:my birds", "folder:my birds:mean_per_class", "folder:my birds"]
    result = evaluate_transfer(encoder, names, root=tmp_path, image_size=16, penalties=[1e-2])
    assert result.metrics["folder:my birds/top1"] == pytest.approx(12 / 16)
    assert result.metrics["folder:my birds/mean_per_class"] == pytest.approx((0.5 + 1 + 1) / 3)
    assert len(result.rows) == 2
    assert not any("classes here" in note for note in result.notes)


def test_labels_go_by_the_names_of_the_training_classes(tmp_path: Path) -> None:
    place = folder(tmp_path)
    for file in (place / "test" / BIRDS[0]).iterdir():
        file.unlink()
    test = FolderImages(str(place / "test"), FolderImages(str(place / "train")).classes)
    assert test.targets.tolist() == [1] * 4 + [2] * 4
    assert [Path(path).parent.name for path in test.paths] == [BIRDS[1]] * 4 + [BIRDS[2]] * 4
    image, label = test[0]
    pixels = np.asarray(image).mean((0, 1))
    assert (label, int(pixels.argmax())) == (1, 1), "its color is green"


def test_a_fifth_of_each_class_is_held_out_by_the_seed(tmp_path: Path) -> None:
    folder(tmp_path)
    splits, again, other = (transfer_set("Birdsnap").load(str(tmp_path), False, seed) for seed in (0, 0, 1))
    train, val = splits.train, splits.val
    labels = splits.train.dataset.targets  # type: ignore[attr-defined]
    assert torch.bincount(labels[val.indices]).tolist() == [2, 2, 2]  # type: ignore[attr-defined]
    assert sorted(train.indices + val.indices) == list(range(30))  # type: ignore[attr-defined]
    assert val.indices == again.val.indices != other.val.indices  # type: ignore[attr-defined]


def test_images_are_turned_upright(tmp_path: Path) -> None:
    place = tmp_path / "a"
    place.mkdir()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (8, 4)).save(place / "x.jpg", exif=exif)
    assert FolderImages(str(tmp_path))[0][0].size == (4, 8)


def test_what_is_missing_is_named(tmp_path: Path, encoder: Any) -> None:
    def said(name: str = "birdsnap") -> str:
        with pytest.raises(UsageError) as error:
            evaluate_transfer(encoder, [name], root=tmp_path, image_size=16, penalties=[1e-2])
        return str(error.value)

    assert "birdsnap/train/CLASS/*.jpg" in said()
    place = folder(tmp_path, train=3, test=1)
    picture(place / "test" / "Black_Turn" / "0.jpg", 0, 0)
    assert 'Black_Turn" is no class of the training images. Did you mean "Black_Tern"?' in said()
    picture(place / "train" / "stray.jpg", 0, 0)
    assert 'stray.jpg" lies in no class' in said()
    folder(tmp_path, "few", train=2, test=1)
    assert "three training images" in said("folder:few")
    picture(tmp_path / "one" / "train" / "a" / "0.jpg", 0, 0)
    (tmp_path / "one" / "test" / "a").mkdir(parents=True)
    assert "holds no images" in said("folder:one")
    picture(tmp_path / "one" / "test" / "a" / "0.jpg", 0, 0)
    assert "holds one class" in said("folder:one")
    assert "names no folder" in said("folder:")
    bad = folder(tmp_path, "bad", train=5, test=1) / "train" / BIRDS[0] / "2.jpg"
    bad.write_bytes(b"no image")
    assert str(bad) in said("folder:bad")
