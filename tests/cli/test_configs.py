"""Every YAML in configs/ can be parsed as it is, and runs when its data and network are made small."""

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from jsonargparse import Namespace
from PIL import Image

from sslbolts.cli import main, training
from sslbolts.cli.training import TrainingCLI
from sslbolts.methods import METHODS
from tests.invariants.cases import case_of

CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("**/*.yaml"))
LONG = [path for path in CONFIGS if not path.stem.endswith(("cifar10mini", "_text"))]
BUILT = [path for path in LONG if not path.stem.endswith("_frames")]  # whose views are of several cameras
TINY = {"layers": [1, 1, 1, 1], "channels": [8, 8, 8, 8], "stem_type": "deep", "stem_width": 4, "output_stride": 8}


@pytest.fixture(autouse=True)
def _elsewhere(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Two classes of eight images each."""
    root = tmp_path_factory.mktemp("images")
    noise = torch.Generator().manual_seed(0)
    for number in range(16):
        path = root / f"class{number % 2}" / f"{number}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(torch.randint(0, 256, (40, 36, 3), generator=noise, dtype=torch.uint8).numpy()).save(path)
    return root


@pytest.fixture(scope="module")
def videos(tmp_path_factory) -> Path:
    """Two videos of 16 frames, of two cameras each."""
    root = tmp_path_factory.mktemp("videos")
    for number in range(64):
        path = root / f"video{number // 32}" / f"camera{number // 16 % 2}" / f"{number % 16}.png"
        path.parent.mkdir(exist_ok=True, parents=True)
        Image.new("RGB", (40, 36), (4 * number, 0, 0)).save(path)
    return root


def make_small(config: Any, folder: Path, videos: Path) -> None:
    """The same run on a CPU with little data and a small network; everything else is left as it is."""
    on_cpu = {"accelerator": "cpu", "devices": 1, "num_nodes": 1, "strategy": "auto", "precision": "32-true"}
    config.trainer.update(Namespace(**on_cpu, fast_dev_run=1, sync_batchnorm=False, enable_progress_bar=False))
    case = case_of(config.model.class_path.rpartition(".")[2])
    data = config.data.init_args
    if case.learns_from == "text":
        config.model.init_args.update(Namespace(**case.small))
        data.update(Namespace(batch_size=2, sequence_length=12))
        return
    small = {"backbone": "resnet18", "backbone_kwargs": TINY, **case.small}
    if isinstance(own := small.get("optimizer"), dict):
        small["optimizer"] = Namespace(class_path=own["class_path"], init_args=Namespace(**own["init_args"]))
    config.model.init_args.update(Namespace(**small))
    data.update(Namespace(batch_size=8, num_workers=0))
    classes = 10
    if "ImageFolder" in config.data.class_path:
        classes = 2
        data.update(Namespace(root=str(folder), labeled_val=str(folder), image_size=32))
        if data.labels_per_class is not None:
            data.labels_per_class = 4
        if data.labeled_batch_size is not None:
            data.labeled_batch_size = 4
    elif "VideoFrames" in config.data.class_path:
        data.update(Namespace(root=str(videos), rows_per_sequence=8, image_size=32))
        config.model.init_args.layer = "layer3"
    elif "MovingImages" not in config.data.class_path:
        config.data.class_path = "sslbolts.data.CIFAR10MiniDataModule"
        config.data.init_args = Namespace(batch_size=8, num_workers=0, views=data.views)
    for callback in config.trainer.callbacks:
        if "Probe" in callback.class_path:
            callback.init_args.update(Namespace(num_classes=classes, features="backbone"))
        if "KNN" in callback.class_path:
            callback.init_args.max_bank = 16


def assert_as_written(config: Any, path: Path) -> None:
    """The model's arguments, and its optimizer's, are those of the file."""
    written = yaml.safe_load(path.read_text())["model"]["init_args"]
    parsed = json.loads(json.dumps(config.model.init_args.clone().as_dict()))  # tuples are lists in YAML
    optimizer = written.pop("optimizer")["init_args"]
    assert _is_within(written, parsed)
    assert optimizer.items() <= parsed["optimizer"]["init_args"].items()


def _is_within(written: Any, parsed: Any) -> bool:
    """Whether all that is written was parsed so, whatever defaults were added; of mappings, at any depth."""
    if isinstance(written, dict) and isinstance(parsed, dict):
        return all(key in parsed and _is_within(value, parsed[key]) for key, value in written.items())
    return bool(written == parsed)


class Small(TrainingCLI):
    """The command, which parses a configuration as it stands, and makes it small before it builds what it names."""

    path: Path
    folder: Path
    videos: Path

    fits: bool

    def parse_arguments(self, parser: Any, args: list[str]) -> None:
        super().parse_arguments(parser, args)
        assert_as_written(self.config.fit, self.path)
        make_small(self.config.fit, self.folder, self.videos)
        self.config_dump: dict[str, Any] = {}  # of the model's hyperparameters: a third of the time

    def _run_subcommand(self, subcommand: str) -> None:
        if self.fits:
            super()._run_subcommand(subcommand)
        elif self.model.num_views is not None:  # what a run would ask of the first batch
            assert len(self.datamodule.views.views) == self.model.num_views


def test_there_are_configurations_of_every_method():
    for line in METHODS.values():
        file = line.module.rpartition(".")[2]
        data = "text" if line.learns_from == "text" else "cifar10mini"
        assert any(path.name == f"{file}_{data}.yaml" for path in CONFIGS), file


@pytest.fixture
def small(folder, videos, monkeypatch, few_images):
    """Runs the command on a configuration, made small; without ``fits``, as far as all that it names is built."""

    def run(path: Path, *, fits: bool) -> int:
        attributes = {"path": path, "folder": folder, "videos": videos, "fits": fits}
        monkeypatch.setattr(training, "TrainingCLI", type("Small", (Small,), attributes))
        return main(["fit", f"--config={path}"])

    return run


@pytest.mark.parametrize("path", [path for path in CONFIGS if path not in BUILT], ids=lambda path: path.stem)
def test_it_is_parsed_as_it_stands_and_runs(path, small):
    assert small(path, fits=True) == 0


@pytest.mark.parametrize("path", BUILT, ids=lambda path: path.stem)
def test_it_is_parsed_as_it_stands_and_built(path, small):
    assert small(path, fits=False) == 0


@pytest.mark.slow
@pytest.mark.parametrize("path", BUILT, ids=lambda path: path.stem)
def test_the_long_ones_run_as_well(path, small):
    assert small(path, fits=True) == 0


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_it_opens_with_what_it_is(path):
    head = [line for line in path.read_text().splitlines() if line.startswith("#")]
    assert path.read_text().startswith("# ")
    assert f"sslbolts fit --config {path.stem}" in "\n".join(head)
    assert any(word in " ".join(head) for word in ("To expect", "To compare with"))


def head_of(path: Path) -> str:
    """The comment at its top, without the hash signs."""
    return "\n".join(line.removeprefix("#") for line in path.read_text().splitlines() if line.startswith("#"))


def commands(path: Path) -> list[str]:
    """The arguments of every `sslbolts fit` in the comment that changes more than where the data is."""
    said = head_of(path).replace("\\\n", " ")
    found = re.findall(r"sslbolts fit (--config \w+ .*--(?:model|trainer)\..*|.*--data\.batch_size.*)", said)
    return [command.partition("#")[0] for command in found]


@pytest.mark.parametrize("path", [path for path in LONG if commands(path)], ids=lambda path: path.stem)
def test_the_commands_in_its_comment_are_parsed(path, capsys):
    for command in commands(path):
        assert main(["fit", *shlex.split(command), "--print_config"]) == 0, command
        capsys.readouterr()


@pytest.mark.parametrize("path", LONG, ids=lambda path: path.stem)
def test_it_says_how_long_it_takes(path):
    assert "\n Time: " in head_of(path)


@pytest.mark.parametrize("path", [path for path in LONG if "imagenet" in path.stem], ids=lambda path: path.stem)
def test_its_batch_is_the_one_that_the_comment_says(path):
    said = re.search(r"batch (\d+) \((\d+) on each of (\d+) GPUs", " ".join(head_of(path).split()))
    config = yaml.safe_load(path.read_text())
    assert said is not None
    total, each, devices = map(int, said.groups())
    assert (each, devices) == (config["data"]["init_args"]["batch_size"], config["trainer"]["devices"])
    assert total == each * devices
