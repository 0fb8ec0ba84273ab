"""A user's mistakes: one line on stderr and exit code 2 from the command line, a typed exception in Python."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from sslbolts import BYOL, SimCLR, Word2Vec
from sslbolts._lightning import LIGHTNING, Trainer
from sslbolts.callbacks import EMATeacher, KNNMonitor, OnlineLinearProbe, Preflight
from sslbolts.cli import main
from sslbolts.data import CIFAR10MiniDataModule, ImageFolderDataModule
from sslbolts.errors import UsageError
from sslbolts.methods import get_method
from sslbolts.optim import LARS
from sslbolts.transforms import recipe
from tests.cli.wrong import DATA, MODEL, SIMCLR, TINY, TRAINER, Wrong
from tests.cli.wrong_accidents import WRONG_ACCIDENTS
from tests.cli.wrong_colors import WRONG_COLORS
from tests.cli.wrong_datasets import WRONG_DATASETS, WRONG_DATASETS_IN_PYTHON
from tests.cli.wrong_disks import WRONG_DISKS
from tests.cli.wrong_evaluations import WRONG_EVALUATIONS
from tests.cli.wrong_forms import WRONG_FORMS
from tests.cli.wrong_generative import WRONG_GENERATIVE
from tests.cli.wrong_places import WRONG_PLACES_AND_VALUES
from tests.cli.wrong_pretext import WRONG_PRETEXT_TASKS
from tests.cli.wrong_texts import WRONG_TEXTS
from tests.cli.wrong_tiles import WRONG_TILES
from tests.cli.wrong_unlabeled import WRONG_UNLABELED
from tests.helpers.nets import TinyBackbone

BYOL_RUN = ["fit", "--model=BYOL", *MODEL, *DATA, *TRAINER, "--trainer.max_epochs=1"]
FOLDER = ["fit", "--model=SimCLR", *MODEL, "--data=ImageFolder", *DATA, *TRAINER, "--trainer.max_epochs=1"]


def fit(module: Any, data: Any, *callbacks: Any, ckpt_path: Path | None = None, **trainer: Any) -> None:
    """What a notebook does."""
    settings: dict[str, Any] = {
        "accelerator": "cpu",
        "devices": 1,
        "max_epochs": 1,
        "limit_train_batches": 1,
        "limit_val_batches": 1,
        "num_sanity_val_steps": 0,
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    Trainer(**(settings | trainer), callbacks=list(callbacks)).fit(module, data, ckpt_path=ckpt_path)


def simclr(**arguments: Any) -> SimCLR:
    return SimCLR(**({"backbone": TinyBackbone(), "hidden_dim": 8} | arguments))


def mini(**arguments: Any) -> CIFAR10MiniDataModule:
    return CIFAR10MiniDataModule(**({"batch_size": 8, "num_workers": 0} | arguments))


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders and files that are wrong in one way each."""
    folder = tmp_path_factory.mktemp("files")
    noise = torch.Generator().manual_seed(0)

    def image(path: str, mode: str = "RGB") -> None:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        channels = {"RGB": 3, "RGBA": 4}[mode]
        pixels = torch.randint(0, 256, (32, 32, channels), generator=noise, dtype=torch.uint8).numpy()
        Image.fromarray(pixels, mode).save(folder / path)

    (folder / "empty").mkdir()
    (folder / "folder.npz").mkdir()
    (folder / "folder.csv").mkdir()
    (folder / "folder.json").mkdir()
    (folder / "run").mkdir()
    (folder / "run" / "metrics.csv").write_text("epoch,step,loss\n0,0,1.0\n")
    for number in range(10):
        image(f"flat/{number}.png")
        image(f"corrupt/{number}.png")
        image(f"transparent/{number}.png", "RGBA")
        image(f"one/{number}.png")
        image(f"videos/walk/{number}.png")
    (folder / "deep").mkdir()
    for number in range(10):
        Image.fromarray(np.full((32, 32), 1000 * number, np.uint16)).save(folder / "deep" / f"{number}.png")
    (folder / "corrupt" / "3.png").write_bytes(b"this is no image")
    (folder / "broken.yaml").write_text("model: [SimCLR\n")
    (folder / "unknown.yaml").write_text("modle: SimCLR\n")
    (folder / "list.yaml").write_text("- SimCLR\n")
    (folder / "notes.ckpt").write_text("not a checkpoint")
    torch.save({"weights": torch.zeros(1)}, folder / "weights.ckpt")
    callbacks = __import__(LIGHTNING, fromlist=["callbacks"]).callbacks
    checkpoint = callbacks.ModelCheckpoint(folder, filename="simclr")
    net = simclr(backbone="resnet18", backbone_kwargs=TINY)
    fit(net, mini(), checkpoint, enable_checkpointing=True)
    whole = torch.load(folder / "simclr.ckpt", weights_only=True)
    trained = {name: whole[name] for name in whole if name not in ("optimizer_states", "lr_schedulers", "callbacks")}
    torch.save(trained, folder / "weights_alone.ckpt")
    words = Word2Vec(dim=8, counts=[3, 5, 4, 2])
    content = {"state_dict": words.state_dict(), "hyper_parameters": dict(words.hparams)}
    words.on_save_checkpoint(content)
    torch.save(content, folder / "words.ckpt")
    del whole["optimizer_states"][0]["param_groups"][1]
    torch.save(whole, folder / "groups.ckpt")
    return folder


OF_SINGLE_METHODS = [*WRONG_TILES, *WRONG_GENERATIVE, *WRONG_PRETEXT_TASKS, *WRONG_TEXTS, *WRONG_COLORS]
"""Exceptions that reach the command line as those of other methods in this file do."""
WRONG = [
    Wrong("unknown command", ["fitt"], 'there is no command "fitt". Did you mean "fit"?'),
    Wrong("no model", ["fit"], "there is no model: give --model"),
    Wrong(
        "unknown method",
        ["fit", "--model=SimCRL"],
        "there is no method 'SimCRL'. Did you mean \"SimCLR\"?",
        lambda files: get_method("SimCRL"),
    ),
    Wrong("unknown class path", ["fit", "--model=my_project.Net"], "there is no class my_project.Net"),
    Wrong(
        "misspelt argument of a method",
        [*SIMCLR, "--model.temprature=0.5"],
        'SimCLR has no argument "temprature". Did you mean "temperature"?',
        lambda files: SimCLR("resnet18", temprature=0.5),
    ),
    Wrong(
        "misspelt argument of every method",
        [*BYOL_RUN, "--model.init_args.warmup_epoch=5"],
        'BYOL has no argument "warmup_epoch". Did you mean "warmup_epochs"?',
        lambda files: BYOL("resnet18", warmup_epoch=5),
    ),
    Wrong("misspelt option", ["fit", "--modle=SimCLR"], 'there is no option "--modle". Did you mean "--model"?'),
    Wrong(
        "misspelt option of a configuration to be printed",
        [*SIMCLR, "--trainer.max_epoch=1", "--print_config"],
        'there is no option "--trainer.max_epoch". Did you mean "--trainer.max_epochs"?',
    ),
    Wrong("misspelt Trainer option", [*SIMCLR, "--trainer.max_epoks=3"], 'Did you mean "--trainer.max_epochs"?'),
    *(
        Wrong(
            f"an abbreviated option of {verb}",
            [verb, *SIMCLR[1:-1], "--trainer.max_epoch=3"],
            'there is no option "--trainer.max_epoch". Did you mean "--trainer.max_epochs"?',
        )
        for verb in ("fit", "validate", "test", "predict")
    ),
    Wrong("an option that is only begun", [*SIMCLR, "--seed=3"], 'there is no option "--seed".'),
    Wrong("word for a number", [*SIMCLR, "--model.temperature=hot"], 'temperature: expected a number, got "hot"'),
    Wrong("word for a count", [*SIMCLR, "--trainer.max_epochs=three"], 'max_epochs: expected an integer, got "three"'),
    Wrong(
        "negative temperature",
        [*SIMCLR, "--model.temperature=-0.5"],
        "temperature=-0.5: it must be positive.",
        lambda files: simclr(temperature=-0.5),
    ),
    Wrong(
        "momentum above 1",
        [*BYOL_RUN, "--model.momentum=1.5"],
        "momentum=1.5: it must be in 0 to 1.",
        lambda files: fit(BYOL(TinyBackbone(), hidden_dim=8, momentum=1.5), mini(views="byol")),
    ),
    Wrong(
        "negative warm-up",
        [*SIMCLR, "--model.warmup_epochs=-1"],
        "warmup_epochs=-1.0: it must be at least 0.",
        lambda files: simclr(warmup_epochs=-1.0),
    ),
    Wrong(
        "final learning rate above the peak",
        [*SIMCLR, "--model.final_lr=2"],
        "final_lr=2.0: it must be in 0 to 1.",
        lambda files: simclr(final_lr=2.0),
    ),
    Wrong(
        "misspelt stem",
        [*SIMCLR, "--model.stem=cifra"],
        'Did you mean "cifar"?',
        lambda files: SimCLR("resnet18", stem="cifra"),
    ),
    Wrong(
        "unknown backbone",
        ["fit", "--model=SimCLR", "--model.backbone=resnet118"],
        'there is no backbone "resnet118" in timm or torchvision. Did you mean "resnet',
        lambda files: SimCLR("resnet118"),
    ),
    Wrong(
        "CIFAR stem of a vision transformer",
        ["fit", "--model=SimCLR", "--model.backbone=vit_tiny_patch16_224", "--model.stem=cifar"],
        'stem="cifar" replaces conv1 and maxpool of a ResNet, and "vit_tiny_patch16_224" has none',
        lambda files: SimCLR("vit_tiny_patch16_224", stem="cifar"),
    ),
    Wrong(
        "misspelt backbone argument",
        ["fit", "--model=SimCLR", "--model.backbone=resnet18", '--model.backbone_kwargs={"layerz": [1, 1, 1, 1]}'],
        'backbone "resnet18" does not take these backbone_kwargs',
        lambda files: SimCLR("resnet18", backbone_kwargs={"layerz": [1, 1, 1, 1]}),
    ),
    Wrong(
        "unknown optimizer",
        [*SIMCLR, "--model.optimizer=torch.optim.SDG"],
        'there is no class torch.optim.SDG. Did you mean "SGD"?',
    ),
    Wrong(
        "negative learning rate",
        [*SIMCLR, "--model.optimizer.lr=-1"],
        "lr=-1.0: it must be at least 0.",
        lambda files: simclr(optimizer=partial(LARS, lr=-1.0)),
    ),
    Wrong(
        "unknown data", ["fit", "--model=SimCLR", "--data=CIFR10"], 'there is no data "CIFR10". Did you mean "CIFAR10"?'
    ),
    Wrong(
        "misspelt argument of the data",
        [*SIMCLR, "--data.batchsize=8"],
        'CIFAR10MiniDataModule has no argument "batchsize". Did you mean "batch_size"?',
        lambda files: mini(batchsize=8),
    ),
    Wrong(
        "no images per batch",
        [*SIMCLR, "--data.batch_size=0"],
        "batch_size=0: it must be a whole number of at least 1.",
        lambda files: mini(batch_size=0),
    ),
    Wrong(
        "missing folder",
        [*FOLDER, "--data.root={files}/nowhere"],
        "nowhere",
        lambda files: ImageFolderDataModule(str(files / "nowhere")),
    ),
    Wrong(
        "empty folder",
        [*FOLDER, "--data.root={files}/empty"],
        "empty",
        lambda files: fit(simclr(), ImageFolderDataModule(str(files / "empty"), batch_size=2, num_workers=0)),
    ),
    Wrong(
        "corrupt image",
        [*FOLDER, "--data.root={files}/corrupt", "--data.batch_size=10", "--data.image_size=32"],
        "3.png",
        lambda files: fit(
            simclr(), ImageFolderDataModule(str(files / "corrupt"), batch_size=10, num_workers=0, image_size=32)
        ),
    ),
    Wrong(
        "images of other channels than declared",
        [*FOLDER, "--data.root={files}/transparent", "--data.image_size=32"],
        "in_chans=3 declares three channels (RGB)",
        lambda files: fit(
            simclr(), ImageFolderDataModule(str(files / "transparent"), batch_size=8, num_workers=0, image_size=32)
        ),
    ),
    Wrong(
        "backbone for other channels than the data's",
        [*SIMCLR, "--model.in_chans=1"],
        "the data has in_chans=3, but the backbone's first layer takes 1",
        lambda files: fit(simclr(backbone=TinyBackbone(in_chans=1)), mini()),
    ),
    Wrong(
        "persistent workers without workers",
        [*SIMCLR, "--data.persistent_workers=true"],
        "persistent_workers=True needs workers, but num_workers=0",
        lambda files: mini(persistent_workers=True),
    ),
    Wrong(
        "batch larger than the data",
        [*FOLDER, "--data.root={files}/flat", "--data.batch_size=16", "--data.image_size=32"],
        "10 images",
        lambda files: fit(
            simclr(), ImageFolderDataModule(str(files / "flat"), batch_size=16, num_workers=0, image_size=32)
        ),
    ),
    Wrong(
        "unknown recipe",
        [*SIMCLR, "--data.views=simcrl"],
        'Did you mean "simclr"?',
        lambda files: recipe("simcrl", 32),
    ),
    Wrong(
        "more views than the method takes",
        [*SIMCLR, "--data.views=swav"],
        "SimCLR takes 2 views of each image, and the batch has 8: choose another recipe",
        lambda files: fit(simclr(), mini(views="swav")),
    ),
    Wrong(
        "labels of no data",
        [*FOLDER, "--data.root={files}/flat", "--data.image_size=32", "--trainer.callbacks=KNNMonitor"],
        "label",
        lambda files: fit(
            simclr(),
            ImageFolderDataModule(str(files / "flat"), batch_size=8, num_workers=0, image_size=32),
            KNNMonitor(),
        ),
    ),
    Wrong(
        "a run without end",
        [*SIMCLR, "--trainer.max_epochs=-1"],
        "the run has no end (max_epochs=-1, max_steps=-1)",
        lambda files: fit(simclr(), mini(), max_epochs=-1),
    ),
    Wrong("misspelt precision", [*SIMCLR, "--trainer.precision=bf61"], 'Did you mean "bf16"?'),
    Wrong(
        "misspelt accelerator",
        [*SIMCLR, "--trainer.accelerator=gpuu"],
        "invalid accelerator name: `accelerator='gpuu'`",
        lambda files: Trainer(accelerator="gpuu"),
        ValueError,
    ),
    Wrong(
        "no such device",
        [*SIMCLR, "--trainer.accelerator=tpu"],
        "the Trainer cannot be made",
    ),
    Wrong(
        "unknown callback", [*SIMCLR, "--trainer.callbacks=KNMonitor"], 'no class KNMonitor. Did you mean "KNNMonitor"?'
    ),
    Wrong(
        "misspelt argument of a callback",
        [*SIMCLR, "--trainer.callbacks=KNNMonitor", "--trainer.callbacks.temprature=1"],
        "temprature",
        lambda files: KNNMonitor(temprature=1),
        TypeError,
    ),
    Wrong(
        "no neighbors",
        [*SIMCLR, "--trainer.callbacks=KNNMonitor", "--trainer.callbacks.k=0"],
        "k=0: the number of neighbors is at least 1, and whole.",
        lambda files: KNNMonitor(k=0),
    ),
    Wrong(
        "a probe of too few classes",
        [
            *SIMCLR,
            "--trainer.callbacks=Preflight",
            "--trainer.callbacks+=OnlineLinearProbe",
            "--trainer.callbacks.num_classes=5",
        ],
        "OnlineLinearProbe has num_classes=5, but CIFAR10MiniDataModule has 10 classes: give num_classes=10.",
        lambda files: fit(simclr(), mini(), Preflight(), OnlineLinearProbe(num_classes=5)),
    ),
    Wrong(
        "a probe of no submodule",
        [
            *SIMCLR,
            "--trainer.callbacks=OnlineLinearProbe",
            "--trainer.callbacks.num_classes=10",
            "--trainer.callbacks.features=bakbone",
        ],
        'Did you mean "backbone"?',
        lambda files: fit(simclr(), mini(), OnlineLinearProbe(num_classes=10, features="bakbone")),
    ),
    Wrong(
        "a teacher where there is none",
        [*SIMCLR, "--trainer.callbacks=EMATeacher"],
        "EMATeacher has nothing to average: SimCLR.ema_pairs() must return pairs",
        lambda files: fit(simclr(), mini(), EMATeacher()),
    ),
    Wrong("missing config", ["fit", "--config={files}/nowhere.yaml"], "there is no file"),
    Wrong(
        "broken config",
        ["fit", "--config={files}/broken.yaml"],
        "line 1, column 8",
    ),
    Wrong("config with an unknown key", ["fit", "--config={files}/unknown.yaml"], 'Did you mean "model"?'),
    Wrong("config that is a list", ["fit", "--config={files}/list.yaml"], "Unexpected config: - SimCLR"),
    Wrong("missing checkpoint", [*SIMCLR, "--ckpt_path={files}/last.ckpt"], "there is no file"),
    Wrong(
        "missing checkpoint of a keyword's name", [*SIMCLR, "--ckpt_path=lastt.ckpt"], 'there is no file "lastt.ckpt"'
    ),
    Wrong(
        "resume from a text file",
        [*SIMCLR, "--ckpt_path={files}/notes.ckpt"],
        'notes.ckpt" cannot be read as a checkpoint',
    ),
    Wrong("resume from weights", [*SIMCLR, "--ckpt_path={files}/weights.ckpt"], "it holds no state_dict"),
    Wrong(
        "checkpoint of another method",
        [*BYOL_RUN, "--ckpt_path={files}/simclr.ckpt"],
        "is of SimCLR, not of BYOL",
        lambda files: fit(
            BYOL("resnet18", backbone_kwargs=TINY, hidden_dim=8), mini(views="byol"), ckpt_path=files / "simclr.ckpt"
        ),
    ),
    Wrong(
        "checkpoint of other arguments",
        [*SIMCLR, "--model.output_dim=16", "--ckpt_path={files}/simclr.ckpt"],
        "the checkpoint is not of this SimCLR: 5 of other shape (projector.3.weight)",
        lambda files: SimCLR.load_from_checkpoint(files / "simclr.ckpt", output_dim=16),
    ),
    Wrong(
        "predict into a table of text",
        ["predict", *SIMCLR[1:-1], "--output=features.csv"],
        "must end in .npz or .parquet",
    ),
    *WRONG_ACCIDENTS,
    *WRONG_PLACES_AND_VALUES,
    *WRONG_DISKS,
    *WRONG_FORMS,
    *WRONG_DATASETS,
    *WRONG_EVALUATIONS,
    *WRONG_UNLABELED,
    *OF_SINGLE_METHODS,
    Wrong(
        "no file for a checkpoint's data",
        ["validate", "--ckpt_path={files}/simclr.ckpt", "--data=ImageFolder", "--data.root={files}/nowhere", *TRAINER],
        "nowhere",
    ),
]


def test_there_are_forty():
    assert len({wrong.name for wrong in WRONG}) == len(WRONG) >= 40


@pytest.mark.parametrize(
    "wrong",
    [pytest.param(w, marks=pytest.mark.slow) if w in OF_SINGLE_METHODS and w.python else w for w in WRONG],
    ids=lambda wrong: wrong.name,
)
def test_command_line_says_it_in_one_line(wrong, files, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    code = main([argument.replace("{files}", str(files)) for argument in wrong.argv])
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert code == 2
    assert len(lines) == 1
    assert wrong.words in lines[0]
    assert "Traceback" not in lines[0]
    assert "Union" not in lines[0]
    assert len(lines[0]) < 500


@pytest.mark.parametrize("wrong", [wrong for wrong in WRONG if wrong.python], ids=lambda wrong: wrong.name)
def test_python_raises_the_same_words(wrong, files, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(wrong.exception) as raised:
        wrong.python(files)
    assert wrong.words in " ".join(str(raised.value).split())


@pytest.mark.parametrize("name", WRONG_DATASETS_IN_PYTHON)
def test_datasets_that_cannot_work_are_refused_in_one_sentence(name):
    make, words = WRONG_DATASETS_IN_PYTHON[name]
    with pytest.raises(UsageError) as error:
        make()
    assert words in str(error.value)
