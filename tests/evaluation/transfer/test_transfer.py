"""Transfer: the classifier against scikit-learn, the metrics against definitions, the data sets against small fakes."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.linear_model import LogisticRegression as SklearnLogistic
from sklearn.metrics import balanced_accuracy_score
from torch import nn
from torchvision.datasets import Flowers102

from sslbolts import MoCo, SimCLR, UsageError
from sslbolts.cli import main
from sslbolts.evaluation import Result, load_encoder
from sslbolts.evaluation.transfer.images import PreparedImages
from sslbolts.evaluation.transfer.linear import PENALTIES, score_transfer
from sslbolts.evaluation.transfer.metrics import map_11point, measure
from sslbolts.evaluation.transfer.run import evaluate_transfer
from sslbolts.evaluation.transfer.sets import TRANSFER_SETS, VOC_CLASSES, transfer_set
from sslbolts.readouts.logistic import fit_logistic
from sslbolts.transforms.preprocessing import Preprocessing

COLORS = ((220, 40, 40), (40, 220, 40), (40, 40, 220))


class MeanColor(nn.Module):
    """The mean of each channel: enough to tell colored fakes apart."""

    num_features = 3

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean((2, 3))


def blobs(rows: int, *, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    targets = torch.randint(0, 4, (rows,), generator=generator)
    centers = torch.randn(4, 12, generator=torch.Generator().manual_seed(99)) * 3 + 5
    return (centers[targets] + 4 * torch.randn(rows, 12, generator=generator)).double(), targets


@pytest.mark.parametrize("penalty", [1e-2, 1.0, 1e3])
def test_the_classifier_is_scikit_learns(penalty: float) -> None:
    x, y = blobs(100, seed=0)
    (ours,) = fit_logistic(x, y, [penalty], max_iter=2000, tolerance=1e-9)
    theirs = SklearnLogistic(C=1 / penalty, tol=1e-10, max_iter=10000).fit(x.numpy(), y.numpy())
    probabilities = torch.from_numpy(theirs.predict_proba(x.numpy()))
    torch.testing.assert_close(ours.scores(x).softmax(1), probabilities, atol=2e-4, rtol=0)


def test_with_several_labels_it_is_one_classifier_per_class_and_unknown_labels_have_no_part() -> None:
    x, y = blobs(100, seed=1)
    labels = torch.stack([(y == 0) | (y == 1), y == 2], 1).long()
    unknown = torch.arange(100) % 5 == 0
    labels[unknown, 1] = -1
    (ours,) = fit_logistic(x, labels, [1.0], max_iter=2000, tolerance=1e-9)
    for column in range(2):
        known = (labels[:, column] >= 0).numpy()
        theirs = SklearnLogistic(C=1.0, tol=1e-10, max_iter=10000)
        theirs.fit(x.numpy()[known], labels[:, column].numpy()[known])
        expected = torch.from_numpy(theirs.predict_proba(x.numpy())[:, 1])
        torch.testing.assert_close(ours.scores(x)[:, column].sigmoid(), expected, atol=2e-4, rtol=0)


def test_the_order_of_penalties_changes_nothing() -> None:
    x, y = blobs(100, seed=2)
    together = fit_logistic(x, y, [1e-2, 1e2, 1.0], max_iter=1000, tolerance=1e-8)
    for penalty, fitted in zip([1e-2, 1e2, 1.0], together):
        (alone,) = fit_logistic(x, y, [penalty], max_iter=1000, tolerance=1e-8)
        torch.testing.assert_close(fitted.scores(x).softmax(1), alone.scores(x).softmax(1), atol=1e-3, rtol=0)


def test_the_penalty_is_chosen_on_validation_images_and_all_labels_are_used_then() -> None:
    train, val, test = (blobs(rows, seed=seed) for rows, seed in ((80, 3), (60, 4), (100, 5)))
    grid = [1e-3, 1.0, 1e2, 1e4]
    score = score_transfer(train, val, test, metric="top1", num_classes=4, penalties=grid)
    on_val = {}
    for penalty in grid:
        model = SklearnLogistic(C=1 / penalty, tol=1e-8, max_iter=10000).fit(train[0].numpy(), train[1].numpy())
        on_val[penalty] = model.score(val[0].numpy(), val[1].numpy())
    best = max(on_val.values())
    assert score.penalty == max(p for p, value in on_val.items() if value == best)
    assert score.val == pytest.approx(best)
    x, y = torch.cat([train[0], val[0]]).numpy(), torch.cat([train[1], val[1]]).numpy()
    model = SklearnLogistic(C=1 / score.penalty, tol=1e-8, max_iter=10000).fit(x, y)
    assert score.test == pytest.approx(model.score(test[0].numpy(), test[1].numpy()), abs=0.011)


def test_the_grid_is_the_papers() -> None:
    np.testing.assert_allclose(PENALTIES, np.logspace(-6, 5, 45))


def test_mean_per_class_is_balanced_accuracy() -> None:
    generator = torch.Generator().manual_seed(0)
    scores, targets = torch.rand(50, 4, generator=generator), torch.randint(0, 3, (50,), generator=generator)
    scores[:, 3] = 0
    expected = balanced_accuracy_score(targets.numpy(), scores.argmax(1).numpy())
    assert measure("mean_per_class", scores, targets) == pytest.approx(expected)


def test_the_11_point_map_is_the_definition() -> None:
    generator = torch.Generator().manual_seed(0)
    scores, targets = torch.rand(40, 3, generator=generator), torch.randint(-1, 2, (40, 3), generator=generator)
    expected = []
    for column in range(3):
        ranked = sorted((-float(s), int(t)) for s, t in zip(scores[:, column], targets[:, column]) if t >= 0)
        labels = [label for _, label in ranked]
        points = [
            (sum(labels[: n + 1]) / sum(labels), sum(labels[: n + 1]) / (n + 1)) for n in range(len(labels))
        ]  # (recall, precision)
        at = [max([p for r, p in points if r >= tenth / 10 - 1e-12], default=0.0) for tenth in range(11)]
        expected.append(sum(at) / 11)
    assert map_11point(scores, targets) == pytest.approx(sum(expected) / 3)


def picture(path: Path, label: int, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(-30, 30, (24, 36, 3))
    Image.fromarray(np.clip(np.array(COLORS[label]) + noise, 0, 255).astype(np.uint8)).save(path, quality=95)


def fake_dtd(root: Path) -> None:
    for split, count in (("train", 4), ("val", 2), ("test", 3)):
        lines = []
        for label, name in enumerate(("banded", "dotted", "zigzagged")):
            for number in range(count):
                lines.append(f"{name}/{name}_{split}{number}.jpg")
                picture(root / "dtd" / "dtd" / "images" / lines[-1], label, number)
        path = root / "dtd" / "dtd" / "labels" / f"{split}1.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(lines))


def fake_voc(root: Path) -> None:
    base = root / "VOCdevkit" / "VOC2007"
    (base / "ImageSets" / "Main").mkdir(parents=True)
    (base / "Annotations").mkdir()
    for split, count in (("train", 6), ("val", 3), ("test", 6)):
        names = []
        for number in range(count):
            label = number % 3
            names.append(f"{split}{number}")
            picture(base / "JPEGImages" / f"{names[-1]}.jpg", label, number)
            objects = f"<object><name>{VOC_CLASSES[label]}</name><difficult>0</difficult></object>"
            objects += "<object><name>person</name><difficult>1</difficult></object>"
            (base / "Annotations" / f"{names[-1]}.xml").write_text(f"<annotation>{objects}</annotation>")
        (base / "ImageSets" / "Main" / f"{split}.txt").write_text("\n".join(names))


def fake_caltech(root: Path) -> None:
    for label, name in enumerate(("accordion", "airplanes", "anchor")):
        for number in range(33):
            file = root / "caltech101" / "101_ObjectCategories" / name / f"image_{number + 1:04d}.jpg"
            picture(file, label, number)
    (root / "caltech101" / "101_ObjectCategories" / "BACKGROUND_Google").mkdir()


def fake_flowers(root: Path) -> None:
    from scipy.io import savemat

    base = root / "flowers-102"
    for number in range(1, 25):
        picture(base / "jpg" / f"image_{number:05d}.jpg", (number - 1) % 3, number)
    savemat(base / "imagelabels.mat", {"labels": np.array([(n % 3) + 1 for n in range(24)], np.uint8)})
    rows = {"trnid": np.arange(1, 13), "valid": np.arange(13, 19), "tstid": np.arange(19, 25)}
    savemat(base / "setid.mat", rows)


def fake_pets(root: Path) -> None:
    base = root / "oxford-iiit-pet"
    for split, count in (("trainval", 5), ("test", 2)):
        lines = []
        for label, name in enumerate(("Abyssinian", "beagle", "Bombay")):
            for number in range(count):
                lines.append(f"{name}_{split}{number} {label + 1} 1 1")
                picture(base / "images" / f"{name}_{split}{number}.jpg", label, number)
        (base / "annotations").mkdir(exist_ok=True)
        (base / "annotations" / f"{split}.txt").write_text("\n".join(lines))


def fake_aircraft(root: Path) -> None:
    base = root / "fgvc-aircraft-2013b" / "data"
    base.mkdir(parents=True)
    (base / "variants.txt").write_text("707-320\nA300B4\nYak-42")
    for split, count in (("train", 4), ("val", 2), ("test", 3)):
        lines = []
        for label, name in enumerate(("707-320", "A300B4", "Yak-42")):
            for number in range(count):
                lines.append(f"{split}{label}{number} {name}")
                picture(base / "images" / f"{split}{label}{number}.jpg", label, number)
        (base / f"images_variant_{split}.txt").write_text("\n".join(lines))


def fake_food(root: Path) -> None:
    for split, count in (("train", 5), ("test", 2)):
        files: dict[str, list[str]] = {}
        for label, name in enumerate(("apple_pie", "gyoza", "waffles")):
            files[name] = [f"{name}/{split}{number}" for number in range(count)]
            for number, file in enumerate(files[name]):
                picture(root / "food-101" / "images" / f"{file}.jpg", label, number)
        (root / "food-101" / "meta").mkdir(exist_ok=True)
        (root / "food-101" / "meta" / f"{split}.json").write_text(json.dumps(files))


def fake_sun(root: Path) -> None:
    for label, name in enumerate(("/a/abbey", "/b/bar", "/z/zoo")):
        for number in range(52):
            picture(root / "SUN397" / name[1:] / f"sun_{number}.jpg", label, number)
    (root / "SUN397" / "ClassName.txt").write_text("/a/abbey\n/b/bar\n/z/zoo")


FAKES = {
    "FGVCAircraft": (fake_aircraft, (12, 6, 9)),
    "Food101": (fake_food, (12, 3, 6)),
    "SUN397": (fake_sun, (120, 30, 6)),
    "DTD": (fake_dtd, (12, 6, 9)),
    "VOC2007": (fake_voc, (6, 3, 6)),
    "Caltech101": (fake_caltech, (72, 18, 9)),
    "Flowers102": (fake_flowers, (12, 6, 6)),
    "OxfordIIITPet": (fake_pets, (12, 3, 6)),
}


@pytest.fixture
def encoder() -> Any:
    return load_encoder(MeanColor(), device="cpu", image_size=32)


@pytest.mark.parametrize("name", FAKES)
def test_a_data_set_in_torchvisions_layout_is_split_and_measured(
    name: str, tmp_path: Path, encoder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Flowers102, "_check_integrity", lambda self: True)  # it compares files by their checksums
    make, sizes = FAKES[name]
    make(tmp_path)
    result = evaluate_transfer(encoder, [name.lower()], root=tmp_path, image_size=32, penalties=[1e-3, 1e-1])
    row = result.rows[0]
    assert (row["train"], row["val"], row["test"]) == sizes
    metric = f"{name}/{TRANSFER_SETS[name].metric}"
    assert result.metrics[metric] == 1.0, "three colors are told apart by their mean"
    assert row["SimCLR ResNet-50, published"] == TRANSFER_SETS[name].published


def test_images_are_of_the_size_of_training_and_another_one_is_noted(
    tmp_path: Path, encoder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Flowers102, "_check_integrity", lambda self: True)
    fake_flowers(tmp_path)
    for own, given, used in ((32, None, 32), (None, None, 224), (32, 48, 48)):
        network = replace(encoder, preprocessing=Preprocessing(own))
        result = evaluate_transfer(network, ["Flowers102"], root=tmp_path, image_size=given, penalties=[1e-2])
        assert f"center crop {used}," in result.settings["preprocessing"]
        noted = "the network was trained on images of 32 pixels, and sees images of 48 here."
        assert (noted in result.notes) == (used == 48)


def test_what_is_drawn_is_the_same_for_a_seed_and_the_splits_share_no_image(tmp_path: Path) -> None:
    fake_caltech(tmp_path)
    splits = transfer_set("Caltech101").load(str(tmp_path), False, 0)
    rows = [set(split.indices) for split in splits]  # type: ignore[attr-defined]
    assert sum(map(len, rows)) == len(set.union(*rows)) == 99
    again = transfer_set("Caltech101").load(str(tmp_path), False, 0)
    assert [split.indices for split in again] == [split.indices for split in splits]  # type: ignore[attr-defined]
    other = transfer_set("Caltech101").load(str(tmp_path), False, 1)
    assert other.test.indices != splits.test.indices  # type: ignore[attr-defined]


def test_missing_data_is_skipped_and_named_and_the_run_goes_on(tmp_path: Path, encoder: Any) -> None:
    fake_dtd(tmp_path)
    names = ["Food101", "StanfordCars", "SUN397", "FGVCAircraft", "VOC2007", "STL10", "CIFAR100", "DTD"]
    result = evaluate_transfer(encoder, names, root=tmp_path, image_size=32, penalties=[1e-2])
    assert [row["data"] for row in result.rows] == ["DTD"]
    for name in names[:-1]:
        assert any(note.startswith(f"{name} was skipped") for note in result.notes)
    assert "published" in result.notes[0]
    assert json.loads(result.to_json())["settings"]["splits"].keys() == {"DTD"}


def test_looking_for_data_leaves_nothing_behind(tmp_path: Path) -> None:
    for name, entry in TRANSFER_SETS.items():
        with pytest.raises(UsageError):
            entry.load(str(tmp_path), False, 0)
        assert not list(tmp_path.iterdir()), name


def test_nothing_there_or_a_wrong_name_is_an_error(tmp_path: Path, encoder: Any) -> None:
    with pytest.raises(UsageError, match="none of the data sets is there"):
        evaluate_transfer(encoder, ["DTD"], root=tmp_path)
    with pytest.raises(UsageError, match='Did you mean "Flowers102"'):
        evaluate_transfer(encoder, ["Flower102"], root=tmp_path)


def test_images_are_resized_by_their_shorter_side_cut_and_normalized() -> None:
    image = Image.fromarray(np.full((20, 40), 255, np.uint8), "L")
    prepared = PreparedImages([(image, 3)], size=10, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))  # type: ignore
    pixels, label = prepared[0]
    assert (tuple(pixels.shape), label) == ((3, 10, 10), 3)
    torch.testing.assert_close(pixels, torch.full((3, 10, 10), 2.0))


def test_the_command_prints_the_table_and_writes_the_result(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fake_dtd(tmp_path)
    output = tmp_path / "table.json"
    options = ["--root", str(tmp_path), "--image_size", "32", "--num_workers", "0", "--device", "cpu"]
    argv = ["transfer", "timm/resnet10t", "--untrained", "--datasets", "dtd", "STL10", *options]
    assert main([*argv, "--output", str(output)]) == 0
    printed = capsys.readouterr().out
    assert "published" in printed
    assert "STL10 was skipped" in printed
    result = Result.from_json(output.read_text())
    assert result.metrics["DTD/top1"] > 0.5
    assert main([*argv, "--output", "table.txt"]) == 2
    assert main(["transfer", "timm/resnet10t", "--datasets", "DTT"]) == 2
    assert 'Did you mean "DTD"' in capsys.readouterr().err


def test_images_are_normalized_as_in_training_where_this_is_known() -> None:
    simclr = load_encoder(SimCLR(MeanColor(), hidden_dim=4), device="cpu", image_size=32)
    assert simclr.normalization()[:2] == (None, None), "SimCLR's views are in [0, 1]"
    moco = load_encoder(MoCo(MeanColor(), queue_length=16), device="cpu", image_size=32)
    assert moco.normalization()[0] == (0.485, 0.456, 0.406)
    known = replace(moco, preprocessing=Preprocessing(None, (0.1, 0.2, 0.3), (0.4, 0.5, 0.6)))
    assert known.normalization()[:2] == ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    assert known.normalization("none")[:2] == (None, None)
    with pytest.raises(UsageError, match="one of auto, imagenet, none"):
        known.normalization("yes")
    with pytest.raises(UsageError, match="1 channels"):
        replace(moco, preprocessing=Preprocessing(in_chans=1)).normalization()
