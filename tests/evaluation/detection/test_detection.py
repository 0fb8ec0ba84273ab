"""Detection: VOC's files as boxes, average precision, and a detector that learns colored squares."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader
from torchvision.models.detection._utils import BalancedPositiveNegativeSampler

from sslbolts import UsageError
from sslbolts.cli import main
from sslbolts.evaluation import Result, initialized, load_encoder
from sslbolts.evaluation.detection.data import VOCBoxes, collate_boxes
from sslbolts.evaluation.detection.detector import Detector
from sslbolts.evaluation.detection.precision import coco_precision, voc_precision
from sslbolts.evaluation.detection.run import evaluate_detection
from sslbolts.networks.backbones import create_backbone
from tests.helpers.nets import TinyBackbone
from tests.helpers.trainers import quiet_trainer

SHAPES = {"red": (230, 40, 40), "blue": (40, 40, 230)}
SMALL: dict[str, Any] = {"layers": [1, 1, 1, 1], "channels": [16, 24, 32, 48], "stem_type": "deep", "stem_width": 8}


def write_shapes(root: Path, split: str, count: int, *, seed: int) -> None:
    """Gray images of 64 pixels with one or two colored squares, in VOC's folders."""
    drawn = np.random.default_rng(seed)
    for folder in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    names = [f"{split}{number}" for number in range(count)]
    for name in names:
        image = drawn.integers(110, 140, (64, 64, 3)).astype(np.uint8)
        objects = ""
        for left in (0, 32)[: drawn.integers(1, 3)]:
            kind = list(SHAPES)[drawn.integers(0, 2)]
            side = int(drawn.integers(14, 26))
            x, y = left + int(drawn.integers(0, 32 - side)), int(drawn.integers(0, 64 - side))
            image[y : y + side, x : x + side] = SHAPES[kind]
            box = f"<xmin>{x + 1}</xmin><ymin>{y + 1}</ymin><xmax>{x + side}</xmax><ymax>{y + side}</ymax>"
            objects += f"<object><name>{kind}</name><difficult>0</difficult><bndbox>{box}</bndbox></object>"
        Image.fromarray(image).save(root / "JPEGImages" / f"{name}.jpg", quality=95)
        (root / "Annotations" / f"{name}.xml").write_text(f"<annotation>{objects}</annotation>")
    (root / "ImageSets" / "Main" / f"{split}.txt").write_text("\n".join(names))


def loader(data: VOCBoxes, batch_size: int = 8, *, shuffle: bool = False) -> DataLoader[Any]:
    return DataLoader(data, batch_size=batch_size, shuffle=shuffle, collate_fn=collate_boxes)


def small_detector(num_classes: int = 2, **changes: Any) -> Detector:
    settings = {"image_size": (64, 64), "anchor_sizes": (8, 16, 24, 48, 96), "width": 24, "frozen_norm": False}
    network = timm.create_model("resnet18", num_classes=0, **SMALL)
    detector = Detector(network, num_classes, **{**settings, **changes})
    # Fewer proposals than the 2,000 for large images: tests are to be short.
    rpn: Any = detector.detector.rpn
    rpn._pre_nms_top_n = rpn._post_nms_top_n = {"training": 60, "testing": 40}
    detector.detector.roi_heads.fg_bg_sampler = BalancedPositiveNegativeSampler(32, 0.25)
    return detector


@pytest.mark.slow
def test_a_short_run_raises_the_average_precision_above_the_untrained_detector(tmp_path: Path) -> None:
    write_shapes(tmp_path, "train", 48, seed=0)
    write_shapes(tmp_path, "val", 15, seed=1)
    train, val = VOCBoxes(tmp_path, ["train"]), VOCBoxes(tmp_path, ["val"])
    assert train.classes == ("blue", "red")
    detector = small_detector(lr=0.08, warmup=20)
    trainer = quiet_trainer(max_epochs=14, check_val_every_n_epoch=14)
    untrained = trainer.validate(detector, loader(val), verbose=False)[0]
    trainer.fit(detector, loader(train, shuffle=True), loader(val))
    assert untrained["val/map50"] < 0.1
    assert trainer.callback_metrics["val/map50"] > untrained["val/map50"] + 0.3


def test_boxes_are_counted_from_zero_and_difficult_ones_are_marked(tmp_path: Path) -> None:
    write_shapes(tmp_path / "VOC2007", "trainval", 1, seed=0)
    box = "<bndbox><xmin>1</xmin><ymin>3</ymin><xmax>10</xmax><ymax>20</ymax></bndbox>"
    hard = box.replace("<xmin>1<", "<xmin>5<")
    (tmp_path / "VOC2007" / "Annotations" / "trainval0.xml").write_text(
        f"<annotation><object><name>cat</name>{box}</object>"
        f"<object><name>dog</name><difficult>1</difficult>{hard}</object></annotation>"
    )
    data = VOCBoxes(tmp_path, ["VOC2007:trainval"])
    image, target = data[0]
    assert image.shape == (3, 64, 64)
    assert image.max() <= 1
    assert target["boxes"].tolist() == [[0, 2, 10, 20], [4, 2, 10, 20]]
    assert [data.classes[label - 1] for label in target["labels"].tolist()] == ["cat", "dog"]
    assert len(data.classes) == 20
    assert target["iscrowd"].tolist() == [0, 1]


@pytest.mark.parametrize(
    ("root", "split", "words"),
    [
        ("", "VOC2007:trainvall", 'Did you mean "trainval"'),
        ("", "trainval", "names? one, as in VOC2007:trainval|name one"),
        ("VOC2007", "broken", "cannot be read"),
        ("nowhere", "train", "there is no"),
    ],
)
def test_what_is_not_there_is_named(tmp_path: Path, root: str, split: str, words: str) -> None:
    write_shapes(tmp_path / "VOC2007", "trainval", 1, seed=0)
    (tmp_path / "VOC2007" / "ImageSets" / "Main" / "broken.txt").write_text("bad\n")
    (tmp_path / "VOC2007" / "Annotations" / "bad.xml").write_text("<annotation><object></object></annotation>")
    with pytest.raises(UsageError, match=words):
        VOCBoxes(tmp_path / root, [split])


def test_a_network_without_maps_is_refused() -> None:
    vit = timm.create_model("vit_tiny_patch16_224", num_classes=0, depth=4, dynamic_img_size=True)
    with pytest.raises(UsageError, match="not maps"):
        Detector(vit, 2)
    with pytest.raises(UsageError, match="stages"):
        Detector(TinyBackbone(), 2)
    with pytest.raises(UsageError, match="one for each of the 4 stages"):
        small_detector(anchor_sizes=(8, 16))


@pytest.mark.parametrize("name", ["timm/resnet18", "torchvision/resnet18", "timm/convnext_atto"])
def test_backbones_of_both_libraries_detect(name: str) -> None:
    detector = Detector(create_backbone(name), 3, width=16, image_size=(64, 64)).eval()
    found = detector([torch.rand(3, 50, 70), torch.rand(3, 64, 64)])
    assert [sorted(image) for image in found] == [["boxes", "labels", "scores"]] * 2


def test_frozen_batch_norms_keep_everything_and_others_do_not() -> None:
    target = {"boxes": torch.tensor([[4.0, 4.0, 30.0, 30.0]]), "labels": torch.tensor([1])}
    for frozen in (True, False):
        detector = small_detector(frozen_norm=frozen).train()
        norm: Any = next(m for m in detector.modules() if isinstance(m, nn.BatchNorm2d))
        before = norm.running_mean.clone()
        detector([torch.rand(3, 64, 64)], [target])
        assert torch.equal(before, norm.running_mean) == frozen
        assert norm.weight.requires_grad != frozen


def test_average_precision_is_right_on_a_case_worked_by_hand() -> None:
    # Two images, one class. Image 0: one hit of score 0.9. Image 1: a miss of 0.8 and a hit of 0.7.
    # Precision at the recalls 0 to 0.5 is 1, above 2/3; COCO reads it at 101 points: (51 + 50 x 2/3) / 101.
    box, far = [10.0, 10.0, 50.0, 50.0], [60.0, 60.0, 90.0, 90.0]
    true = torch.tensor([[0, 0, *box, 1, 0], [0, 1, *box, 1, 0]])
    found = torch.tensor([[0, 0, *box, 1, 0.9], [0, 1, *far, 1, 0.8], [0, 1, *box, 1, 0.7]])
    images = torch.tensor([[0.0, 0.0], [1.0, 0.0]])
    expected = (51 + 50 * 2 / 3) / 101
    assert coco_precision(images, found, true)["map50"] == pytest.approx(expected, abs=1e-6)
    # What a second process saw of image 1 again does not count.
    again = torch.cat([found, torch.tensor([[1, 1, *far, 1, 0.95]])])
    both = torch.cat([images, torch.tensor([[1.0, 1.0]])])
    assert coco_precision(both, again, true)["map50"] == pytest.approx(expected, abs=1e-6)
    # A difficult box counts neither way.
    hard = torch.cat([true, torch.tensor([[0, 1, *far, 1, 1]])])
    assert coco_precision(images, found, hard)["map50"] == pytest.approx(1.0)


def test_voc_2007_takes_the_mean_of_eleven_precisions() -> None:
    # The case above: precision 1 up to a recall of 0.5 (points 0 to 0.5: six), above it 2/3 (five).
    box, far = [10.0, 10.0, 50.0, 50.0], [60.0, 60.0, 90.0, 90.0]
    true = torch.tensor([[0, 0, *box, 1, 0], [0, 1, *box, 1, 0]])
    found = torch.tensor([[0, 0, *box, 1, 0.9], [0, 1, *far, 1, 0.8], [0, 1, *box, 1, 0.7]])
    images = torch.tensor([[0.0, 0.0], [1.0, 0.0]])
    assert voc_precision(images, found, true)["voc07/map50"] == pytest.approx((6 + 5 * 2 / 3) / 11)
    # A second detection of a box is wrong: right, wrong, wrong, right.
    twice = torch.cat([found, torch.tensor([[0, 0, *box, 1, 0.85]])])
    assert voc_precision(images, twice, true)["voc07/map50"] == pytest.approx((6 + 5 * 2 / 4) / 11)
    # What a second process saw of image 1 again does not count.
    again = torch.cat([found, torch.tensor([[1, 1, *far, 1, 0.95]])])
    both = torch.cat([images, torch.tensor([[1.0, 1.0]])])
    assert voc_precision(both, again, true) == voc_precision(images, found, true)
    # A class that nothing is found of has precision 0, and one with difficult boxes only is left out.
    other = torch.cat([true, torch.tensor([[0, 0, *far, 2, 0], [0, 0, *far, 3, 1]])])
    assert voc_precision(images, found, other)["voc07/map50"] == pytest.approx((6 + 5 * 2 / 3) / 11 / 2)
    assert set(voc_precision(images, found, true[:0]).values()) == {-1.0}


def test_a_difficult_box_excuses_in_voc_2007_only_what_overlaps_it_enough() -> None:
    box, hard = [0.0, 0.0, 40.0, 40.0], [50.0, 50.0, 90.0, 90.0]
    part = [50.0, 50.0, 70.0, 70.0]  # a quarter of the difficult box, and wholly within it
    true = torch.tensor([[0, 0, *box, 1, 0], [0, 0, *hard, 1, 1]])
    images = torch.zeros(1, 2)

    def precisions(of: list[float]) -> tuple[float, float]:
        found = torch.tensor([[0, 0, *of, 1, 0.9], [0, 0, *box, 1, 0.8]])
        return coco_precision(images, found, true)["map50"], voc_precision(images, found, true)["voc07/map50"]

    assert precisions(hard) == pytest.approx((1.0, 1.0))
    assert precisions(part) == pytest.approx((1.0, 0.5))
    # An overlap of 0.62 is enough for 0.5, and not for 0.75.
    found = torch.tensor([[0, 0, 0.0, 0.0, 40.0, 24.8, 1, 0.9]])
    of_voc = voc_precision(images, found, true)
    assert (of_voc["voc07/map50"], of_voc["voc07/map75"]) == pytest.approx((1.0, 0.0))
    assert of_voc["voc07/map"] == pytest.approx(0.3)  # above 0.5, 0.55 and 0.6, of ten


def test_without_its_package_the_metric_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"sslbolts\[detection\]"):
        coco_precision(torch.zeros(1, 2), torch.zeros(0, 8), torch.zeros(0, 8))


def test_the_command_trains_measures_and_writes_the_result(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_shapes(tmp_path / "shapes", "train", 4, seed=0)
    write_shapes(tmp_path / "shapes", "val", 3, seed=1)
    data = ["--root", str(tmp_path / "shapes"), "--train", "train", "--test", "val", "--num_workers", "0"]
    size = [
        "--image_size",
        "48",
        "64",
        "--train_sizes",
        "40",
        "48",
        "--width",
        "16",
        "--batch_size",
        "2",
        "--steps",
        "2",
    ]
    argv = ["detect", "timm/resnet10t", "--untrained", "--frozen_norm=false", "--device", "cpu", *data, *size]
    assert main([*argv, "--output", str(tmp_path / "found.json")]) == 0
    assert "map50" in capsys.readouterr().out
    result = Result.from_json((tmp_path / "found.json").read_text())
    assert result.settings["classes"] == 2
    assert list(result.metrics)[:3] == ["map", "map50", "map75"]
    assert {"voc07/map", "voc07/map50", "voc07/map75"} < set(result.metrics)
    assert all(0 <= value <= 1 for value in result.metrics.values())
    argv.remove("--untrained")
    assert main([*argv, "--init=random", "--output", str(tmp_path / "random.json")]) == 0
    drawn = Result.from_json((tmp_path / "random.json").read_text())
    assert drawn.settings["initialization"] == "random, seed 0"
    assert drawn.source == "timm/resnet10t (random, seed 0)"
    argv.insert(2, "--untrained")
    capsys.readouterr()
    assert main([*argv[:-2], "--steps", "0"]) == 2
    assert main(["detect", "timm/resnet10t", "--untrained", "--root", str(tmp_path), "--device", "cpu"]) == 2
    assert "there is no" in capsys.readouterr().err


def test_a_detector_from_scratch_stands_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_shapes(tmp_path, "train", 2, seed=0)
    encoder = load_encoder(timm.create_model("resnet18", num_classes=0, **SMALL), image_size=64, device="cpu")
    trained: list[torch.Tensor] = []

    def spied(backbone: Any, *args: Any, **settings: Any) -> Detector:
        trained.append(backbone.layer1[0].conv1.weight.detach().clone())
        return Detector(backbone, *args, **settings)

    monkeypatch.setattr("sslbolts.evaluation.detection.run.Detector", spied)
    common: dict[str, Any] = {"train": ["train"], "test": ["train"], "steps": 1, "batch_size": 2, "seed": 3}
    common |= {"image_size": (48, 64), "width": 16, "anchor_sizes": (8, 16, 24, 48, 96), "progress": False}
    both = evaluate_detection(encoder, tmp_path, baselines=["random"], **common)
    drawn = initialized(encoder, "random", seed=3)
    assert [row["network"] for row in both.rows] == ["ResNet", "random"]
    assert [row["batch norms"] for row in both.rows] == ["frozen", "trained"]
    assert torch.equal(trained[0], encoder.backbone.layer1[0].conv1.weight)
    assert torch.equal(trained[1], drawn.backbone.layer1[0].conv1.weight)
    assert not torch.equal(trained[0], trained[1])
    for row, prefix in zip(both.rows, ("", "random/")):
        assert all(row[name] == both.metrics[f"{prefix}{name}"] for name in ("map", "map50", "voc07/map50"))
    assert both.settings["baselines"] == {"random": "random, seed 3"}
    assert "initialization" not in both.settings
    scratch = evaluate_detection(drawn, tmp_path, frozen_norm=True, **common)
    assert scratch.settings["batch norms"] == "frozen", "what is given stays"
    assert scratch.settings["initialization"] == "random, seed 3"
    assert scratch.settings["features"] == "backbone, random, seed 3, trained further"
    assert torch.equal(trained[2], trained[1])


def test_the_encoder_keeps_its_weights(tmp_path: Path) -> None:
    write_shapes(tmp_path, "train", 4, seed=0)
    encoder = load_encoder(timm.create_model("resnet18", num_classes=0, **SMALL), image_size=64, device="cpu")
    before = {name: tensor.clone() for name, tensor in encoder.network.state_dict().items()}
    sizes: dict[str, Any] = {"image_size": (48, 64), "width": 16, "frozen_norm": False}
    evaluate_detection(
        encoder, tmp_path, train=["train"], test=["train"], steps=1, batch_size=2, progress=False, **sizes
    )
    assert all(torch.equal(tensor, before[name]) for name, tensor in encoder.network.state_dict().items())


def _precision(world: int, root: str) -> float:
    torch.manual_seed(0)
    trainer = quiet_trainer(world=world, use_distributed_sampler=True)
    detector = small_detector()
    detector.detector.roi_heads.score_thresh = 0.0
    return float(trainer.validate(detector, loader(VOCBoxes(root, ["val"]), 2), verbose=False)[0]["val/map50"])


def test_two_processes_find_what_one_does_on_an_odd_number_of_images(tmp_path: Path, two_ranks: Any) -> None:
    write_shapes(tmp_path, "val", 5, seed=1)
    alone = _precision(1, str(tmp_path))
    assert alone > 0
    assert two_ranks(_precision, 2, str(tmp_path)) == pytest.approx([alone, alone], abs=1e-6)
