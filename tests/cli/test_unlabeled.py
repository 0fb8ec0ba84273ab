"""A flat folder of photos without labels: pictures, diagnosis, near-duplicates and features of a checkpoint."""

import csv
import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image
from torch.utils.data import TensorDataset

from sslbolts import SimCLR
from sslbolts.callbacks import ClusterSheet, EmbeddingPlot, NeighborSheet
from sslbolts.cli.main import main
from sslbolts.data import DatasetDataModule, ImageFolderDataModule
from sslbolts.evaluation import find_duplicates, load_encoder
from sslbolts.evaluation.diagnosis.drawn_queries import with_queries
from sslbolts.evaluation.pictures import Subject, _neighbors
from tests.cli.wrong import TINY
from tests.helpers.nets import TinyBackbone
from tests.helpers.trainers import quiet_trainer

COPIES = {5: 2, 20: 11}  # of equal pixels
NETWORK = TINY | {"channels": [8, 8, 16, 64]}  # of so many features that only copies have the same direction


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """24 photos, two of them twice, and the checkpoint of a tiny network."""
    place = tmp_path_factory.mktemp("unlabeled")
    pixels = torch.randint(0, 256, (24, 16, 16, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    (place / "photos").mkdir()
    for number in range(24):
        Image.fromarray(pixels[COPIES.get(number, number)].numpy()).save(place / "photos" / f"{number:02}.png")
    torch.manual_seed(0)
    method = SimCLR("resnet18", backbone_kwargs=NETWORK, hidden_dim=8, output_dim=4)
    writer = quiet_trainer()
    writer.strategy.connect(method)
    writer.save_checkpoint(place / "run" / "last.ckpt", weights_only=True)
    return place


@pytest.fixture(autouse=True)
def _here(monkeypatch, folder):
    monkeypatch.chdir(folder)


DATA = ["--data=ImageFolder", "--data.root=photos", "--data.num_workers=0", "--data.image_size=16", "--device=cpu"]


def photos(**arguments) -> ImageFolderDataModule:
    return ImageFolderDataModule("photos", **({"num_workers": 0, "image_size": 16, "batch_size": 8} | arguments))


def test_pictures_need_neither_labels_nor_held_out_images(folder, tmp_path, capsys):
    british = "neighbors".replace("bors", "bours")
    few = ["--rows=2", "--images=12", f"--output={tmp_path}"]
    assert main(["pictures", "run/last.ckpt", *DATA, *few, f"--what={british},embedding,clusters"]) == 0
    assert {path.stem for path in tmp_path.iterdir()} == {"neighbors", "embedding", "clusters"}
    said = capsys.readouterr().out
    assert said.count("No images are held out") == said.count("There are no labels.") == 1


@pytest.mark.parametrize("val_fraction", [0.0, 0.25])
def test_no_photo_is_its_own_neighbor(monkeypatch, val_fraction):
    data = photos(val_fraction=val_fraction)
    data.setup()
    drawn = {}
    monkeypatch.setattr(
        "sslbolts.evaluation.pictures.draw_neighbors",
        lambda queries, _, bank, __, rows, **___: drawn.update(queries=queries, bank=bank, rows=rows),
    )
    subject = Subject(load_encoder("run/last.ckpt", device="cpu"), data, images=12, rows=6)
    _neighbors(subject)
    chosen = drawn["queries"]
    files = {path: np.asarray(Image.open(path)) for path in data.paths("train") + data.paths("train")}
    assert len(drawn["bank"]) == len(files)
    for kind, rows in drawn["rows"].items():
        for query, near in zip(chosen, rows.tolist()):
            equal = [row for row in range(len(drawn["bank"])) if bool((drawn["bank"][row] == query).all())]
            # A photo that lies there twice has its copy as the nearest, and never twice.
            assert sum(row in equal for row in near) == len(equal) - (not val_fraction), kind
            assert len(set(near)) == len(near) == 6


def test_a_diagnosis_holds_a_part_out_and_says_so(capsys):
    assert main(["diagnose", "run/last.ckpt", *DATA, "--max_images=16", "--output=d.json", "--cache=none"]) == 0
    result = json.loads(Path("d.json").read_text())
    assert result["metrics"]["h/rankme"] > 0
    assert result["settings"]["images"].startswith("5 for validation")
    notes = " ".join(result["notes"])
    assert "5 of the 24 training images, drawn with the seed" in notes
    assert "there are no labels" in notes
    assert "a folder for each class) would add them" in notes


def test_drawn_queries_are_out_of_the_training_images_and_the_bank():
    for number in range(24):
        place = Path("classes") / "ab"[number % 2] / f"{number:02}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        if not place.exists():
            os.link(Path("photos") / place.name, place)
    data = ImageFolderDataModule("classes", num_workers=0, image_size=16, in_memory=False)
    split, _ = with_queries(data, seed=0)
    parts = [set(split.images(name).rows) for name in ("val", "train", "bank")]
    assert parts[0] | parts[1] == set(range(24))
    assert not parts[0] & parts[1]
    assert parts[1] == parts[2]
    assert with_queries(photos(val_fraction=0.5), seed=0)[1] == []


def test_near_duplicates_are_listed_written_and_drawn(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    arguments = ["--max_pairs=2", "--output=out/pairs.csv", "--rows=4"]  # copies are the nearest
    assert main(["duplicates", "run/last.ckpt", *DATA, *arguments]) == 0
    said = capsys.readouterr().out
    with Path("out/pairs.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {(row["first"], row["second"]) for row in rows} == {
        (f"photos/{of:02}.png", f"photos/{copy:02}.png") for copy, of in COPIES.items()
    }
    assert sorted(row["group"] for row in rows) == ["1", "2"]
    assert all(float(row["similarity"]) == 1 for row in rows)
    for words in ("Group 2: 2", "photos/11.png", "1.0000", "among 24 images: ", "on average"):
        assert words in said
    mean = float(re.search(r"similarity of (\S+) on average", said).group(1))
    assert ("tells nothing" in said) == (mean >= 0.95)
    with Image.open("run/pictures/duplicates.png") as picture:
        assert min(picture.size) > 100


def test_a_copy_in_the_validation_images_is_told(capsys):
    halves = (set(photos(val_fraction=0.5, val_seed=seed).paths("val")) for seed in range(50))
    held = [{number for number in (2, 5, 11, 20) if f"photos/{number:02}.png" in half} for half in halves]
    seed = held.index({2, 11, 20})  # the copy of 2 is trained on
    arguments = ["--data.val_fraction=0.5", f"--data.val_seed={seed}", "--max_pairs=2", "--rows=0"]
    assert main(["duplicates", "run/last.ckpt", *DATA, *arguments, "--cache=none", "--threshold=0.001"]) == 0
    said = capsys.readouterr().out
    assert "Pairs across two splits: 1." in said
    assert "above the threshold, which so tells nothing" in said


def test_the_same_file_in_two_splits_is_one_image():
    for number in range(4):
        place = Path("twice") / "ab"[number % 2] / f"{number}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        if not place.exists():
            os.link(Path("photos") / f"{number:02}.png", place)
    data = ImageFolderDataModule("twice", labeled_train="twice", labeled_val="twice", num_workers=0, image_size=16)
    found = find_duplicates(load_encoder("run/last.ckpt", device="cpu"), data)
    assert sorted(place.path for place in found.places) == sorted(data.paths("train"))


def test_features_have_the_files_of_their_images():
    quiet = ["--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false", "--trainer.logger=false"]
    assert main(["predict", "--ckpt_path=run/last.ckpt", *DATA[:-1], *quiet, "--output=features.npz"]) == 0
    file = np.load("features.npz")
    assert file["paths"].tolist() == [f"photos/{number:02}.png" for number in range(24)]
    for copy, of in COPIES.items():
        np.testing.assert_allclose(file["features"][copy], file["features"][of], atol=1e-6)


def test_a_sheet_in_training_seeks_neighbors_among_the_training_images(monkeypatch, tmp_path):
    drawn = {}
    monkeypatch.setattr(
        "sslbolts.callbacks.pictures.neighbors.draw_neighbors",
        lambda queries, _, bank, targets, rows, **___: drawn.update(bank=bank, targets=targets, rows=rows),
    )
    data = photos(val_fraction=0.5)
    sheet = NeighborSheet(k=2, queries=3, max_bank=5)
    trainer = quiet_trainer(callbacks=[sheet], max_epochs=1, limit_train_batches=1, default_root_dir=tmp_path)
    trainer.fit(SimCLR("resnet18", backbone_kwargs=TINY, hidden_dim=8, output_dim=4), data)
    # Five of the twelve, at equal distances.
    bank = [np.asarray(Image.open(data.paths("train")[row])) for row in (0, 2, 4, 7, 9)]
    assert drawn["targets"].tolist() == [-1] * len(drawn["bank"])
    assert all(rows.shape == (3, 2) for rows in drawn["rows"].values())
    for image in drawn["bank"]:
        assert any(np.abs(image.permute(1, 2, 0).numpy().astype(int) - pixels).max() <= 1 for pixels in bank)


def test_where_nothing_is_held_out_pictures_in_training_are_of_training_images(monkeypatch, tmp_path):
    drawn = {}

    def draw(queries, _, bank, targets, rows, *, title, **look):
        drawn.update(queries=queries, bank=bank, targets=targets, rows=rows, title=title)
        return Figure()

    monkeypatch.setattr("sslbolts.callbacks.pictures.neighbors.draw_neighbors", draw)
    pixels = torch.randint(0, 256, (24, 3, 16, 16), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    data = DatasetDataModule(TensorDataset(pixels), batch_size=8, num_workers=0)
    pictures = [
        NeighborSheet(k=3, queries=4, every_n_epochs=2),
        EmbeddingPlot(projections=["pca"]),
        ClusterSheet(clusters=2),
    ]
    trainer = quiet_trainer(callbacks=pictures, max_epochs=3, default_root_dir=tmp_path)
    trainer.fit(SimCLR(TinyBackbone(), hidden_dim=8, output_dim=4), data)
    names = sorted(path.name for path in (tmp_path / "pictures").iterdir())
    assert names == [
        "clusters-epoch0003.png",
        "embedding-epoch0003.png",
        "neighbors-epoch0002.png",
        "neighbors-epoch0003.png",
    ]
    assert drawn["title"] == "Nearest neighbors after 3 epochs, of training images, as none are held out"
    assert torch.equal(drawn["queries"], pixels[[0, 6, 12, 18]])
    for rows in drawn["rows"].values():
        assert rows.shape == (4, 3)
        for query, neighbors in zip(drawn["queries"], drawn["bank"][rows]):
            assert not any(torch.equal(query, neighbor) for neighbor in neighbors), "an image is not its own neighbor"
    assert all(any(torch.equal(image, one) for one in pixels) for image in drawn["bank"])
