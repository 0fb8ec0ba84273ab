"""A second ``fit`` in the folder of a first one."""

import os
import pickle
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import yaml

from sslbolts._lightning import Trainer, lightning_module
from sslbolts.cli import main
from sslbolts.cli.run.earlier_runs import _EarlierRun, earlier_run_kept
from sslbolts.errors import UsageError
from sslbolts.methods import SimCLR
from tests.cli.test_training import DATA, MODEL, QUIET

FIT = [
    *("fit", *MODEL, *DATA, *QUIET, "--trainer.max_epochs=1", "--trainer.limit_train_batches=1"),
    *("--trainer.limit_val_batches=0", "--trainer.log_every_n_steps=1"),
]
LOGGER = ["--trainer.logger=CSVLogger", "--trainer.logger.save_dir=runs", "--trainer.logger.name=mine"]
PLACE = [*LOGGER, "--trainer.logger.version="]
CHECKPOINT = [
    *("--trainer.callbacks=ModelCheckpoint", "--trainer.callbacks.dirpath=runs/mine"),
    *("--trainer.callbacks.save_last=true", "--trainer.callbacks.enable_version_counter=false"),
]
RUN = [*FIT, *PLACE, *CHECKPOINT]
LAST = Path("runs/mine/last.ckpt")


@pytest.fixture(scope="module")
def first(tmp_path_factory) -> Path:
    """A folder in which a run of temperature 0.1 stands, with a picture beside it."""
    folder = tmp_path_factory.mktemp("first")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main([*RUN, "--model.temperature=0.1"]) == 0
    (folder / "runs" / "mine" / "pictures").mkdir()
    (folder / "runs" / "mine" / "pictures" / "views.png").write_bytes(b"a picture")
    return folder


@pytest.fixture(autouse=True)
def place(first, tmp_path, monkeypatch) -> Path:
    """A copy of it, in which the test stands."""
    shutil.copytree(first, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def contents(folder: str | Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()}


def temperature(folder: str | Path) -> float:
    return yaml.safe_load(Path(folder, "config.yaml").read_text())["model"]["init_args"]["temperature"]


def folders() -> list[str]:
    return sorted(path.name for path in Path("runs").iterdir())


def test_the_first_run_is_kept_as_a_whole(capsys):
    before = contents("runs/mine")
    assert {"config.yaml", "run.json", "metrics.csv", "hparams.yaml", "last.ckpt", "pictures/views.png"} <= set(before)
    assert main([*RUN, "--model.temperature=0.2"]) == 0
    assert contents("runs/mine-1") == before
    assert "The earlier run in runs/mine is kept as runs/mine-1." in capsys.readouterr().out
    now = contents("runs/mine")
    assert {"config.yaml", "run.json", "metrics.csv", "hparams.yaml", "last.ckpt"} <= set(now)
    assert "pictures/views.png" not in now
    assert (temperature("runs/mine"), temperature("runs/mine-1")) == (0.2, 0.1)
    assert main(RUN) == 0
    assert folders() == ["mine", "mine-1", "mine-2"]
    assert contents("runs/mine-2") == now
    assert contents("runs/mine-1") == before


def test_what_a_run_reads_of_the_earlier_one_it_still_finds():
    """As BoWNet's next round does, whose teacher is the last checkpoint of the round before."""
    bownet = [argument.replace("SimCLR", "BoWNet") for argument in RUN if "temperature" not in argument]
    bownet = [argument for argument in bownet if "hidden_dim" not in argument and "output_dim" not in argument]
    before = contents("runs/mine")
    rest = ["--model.teacher=runs/mine/last.ckpt", "--model.level=layer1", "--model.num_words=4", "--data.views=bownet"]
    assert main([*bownet, *rest]) == 0
    assert contents("runs/mine-1") == before
    assert LAST.is_file()


@pytest.mark.parametrize("name", ["runs/mine/last.ckpt", "last", "absolute"])
def test_a_resumed_run_goes_on_in_its_folder(name):
    logged = Path("runs/mine/metrics.csv").read_bytes()
    path = str(LAST.resolve()) if name == "absolute" else name
    assert main([*RUN, "--trainer.max_epochs=2", f"--ckpt_path={path}"]) == 0
    assert folders() == ["mine"]
    assert torch.load(LAST, weights_only=True)["global_step"] == 2
    assert Path("runs/mine/metrics-1.csv").read_bytes() == logged
    assert Path("runs/mine/pictures/views.png").is_file()


def test_a_job_that_slurm_starts_again_goes_on_in_its_folder(monkeypatch):
    shutil.copy(LAST, "runs/hpc_ckpt_1.ckpt")
    for name, value in {"JOB_ID": "7", "NTASKS": "1", "PROCID": "0", "LOCALID": "0", "JOB_NAME": "train"}.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    assert main([*RUN, "--trainer.max_epochs=2"]) == 0
    assert folders() == ["hpc_ckpt_1.ckpt", "mine"]
    assert torch.load(LAST, weights_only=True)["global_step"] == 2


def test_a_run_that_goes_on_from_elsewhere_is_another_one():
    assert main(RUN) == 0
    second = contents("runs/mine")
    assert main([*RUN, "--trainer.max_epochs=2", "--ckpt_path=runs/mine-1/last.ckpt"]) == 0
    assert folders() == ["mine", "mine-1", "mine-2"]
    assert contents("runs/mine-2") == second
    assert temperature("runs/mine") == 0.1


@pytest.mark.parametrize(
    "mistake",
    [
        ["--data.root=nowhere", "--data=ImageFolder"],
        ["--model.temperature=-1"],
        [
            "--trainer.callbacks+=Preflight",
            "--trainer.callbacks+=OnlineLinearProbe",
            "--trainer.callbacks.num_classes=3",
        ],
    ],
)
def test_a_run_that_cannot_start_changes_nothing(mistake):
    before = contents("runs")
    assert main([*RUN, *mistake]) == 2
    changed = {name for name, data in contents("runs").items() if before.get(name) != data}
    assert not changed
    assert set(before) == set(contents("runs"))


def _mistaken(*_: object) -> None:
    raise UsageError("a mistake that shows in the first step")


def test_a_run_that_fails_on_its_first_batch_changes_nothing(capsys, monkeypatch):
    before = contents("runs")
    assert main([*RUN, "--data.views=swav", "--model.temperature=0.2"]) == 2
    assert contents("runs") == before
    with monkeypatch.context() as patch:
        patch.setattr(SimCLR, "training_step", _mistaken)
        assert main([*RUN, "--trainer.max_epochs=2", "--ckpt_path=last"]) == 2
    assert contents("runs") == before
    capsys.readouterr()
    moco = [argument.replace("SimCLR", "MoCo") for argument in FIT if "temperature" not in argument]
    moco = [argument for argument in moco if "hidden_dim" not in argument]
    assert main([*moco, *PLACE, *CHECKPOINT, "--data.views=moco_v2", "--model.queue_length=7"]) == 2
    assert "queue_length" in capsys.readouterr().err
    assert contents("runs") == before
    assert main([*FIT, *LOGGER[:2], "--trainer.logger.name=other/new", PLACE[-1], "--data.views=swav"]) == 2
    assert folders() == ["mine"]


def test_a_second_run_in_the_folder_of_a_live_one_is_refused(capsys):
    trainer = _stand_in(loggers=[SimpleNamespace(log_dir="runs/mine")])
    first = _EarlierRun(trainer, None)
    during = contents("runs")
    assert main(RUN) == 2
    message = capsys.readouterr().err
    assert f"error: a run is already going on in runs/mine (process {os.getpid()} on" in message
    assert "Traceback" not in message
    assert len(message.strip().splitlines()[-1:]) == 1
    assert contents("runs") == during
    first.close()
    assert folders() == ["mine"]
    assert main(RUN) == 0


def test_a_start_that_was_killed_is_undone_by_the_next_one(capsys, monkeypatch):
    before = contents("runs/mine")
    killed = _EarlierRun(_stand_in(loggers=[SimpleNamespace(log_dir="runs/mine")]), None)
    for name in ("config.yaml", "events.out.tfevents.1"):
        Path("runs/mine", name).write_text("of the killed run")
    Path("runs/mine/metrics.csv").unlink()
    Path("runs/mine/made").mkdir()
    monkeypatch.setattr("sslbolts.cli.run.lock._is_alive", lambda *_: False)
    assert killed.lock.path.is_file()
    assert main(RUN) == 0
    assert "A run in runs/mine was cut off at its beginning: its traces are removed." in capsys.readouterr().out
    assert contents("runs/mine-1") == before
    assert not Path("runs/mine-1/made").exists()
    assert folders() == ["mine", "mine-1"]


@pytest.mark.parametrize("renames", [0, 1])
def test_a_move_that_was_killed_has_split_no_run(renames, monkeypatch):
    before = contents("runs/mine")
    killed = _EarlierRun(_stand_in(loggers=[SimpleNamespace(log_dir="runs/mine")]), None)
    for name in ("config.yaml", "new/model.txt"):
        Path("runs/mine", name).parent.mkdir(exist_ok=True)
        Path("runs/mine", name).write_text("of the killed run")
    killed.before.part(killed.next)
    assert contents(killed.next) == dict.fromkeys(("config.yaml", "new/model.txt"), b"of the killed run")
    if renames:
        killed.folder.rename("runs/mine-1")
    monkeypatch.setattr("sslbolts.cli.run.lock._is_alive", lambda *_: False)
    assert main(RUN) == 0
    assert contents("runs/mine-1") == before
    assert folders() == ["mine", "mine-1"]


def test_fast_dev_run_moves_and_writes_nothing():
    before = contents(".")
    assert main([*RUN, "--trainer.fast_dev_run=1"]) == 0
    assert contents(".") == before


@pytest.mark.parametrize("verb", ["validate", "test", "predict"])
def test_the_other_verbs_move_nothing(verb, tmp_path):
    before = contents("runs/mine")
    limits = [f"--trainer.limit_{name}_batches=1" for name in ("val", "test", "predict")]
    for place in (PLACE, ["--trainer.logger=false"]):
        shutil.copy("runs/mine/config.yaml", "runs/config.yaml")
        argv = [verb, *DATA, *QUIET, *limits, *place, f"--ckpt_path={LAST}", "--model.temperature=0.3"]
        assert main(argv) == 0
        after = contents("runs/mine")
        assert {name: after.get(name) for name in before} == before
        assert temperature("runs") == 0.1
    assert not Path("runs/mine-1").exists()


def test_a_folder_that_is_not_the_runs_alone_stays_where_it_is():
    argv = [*FIT, "--trainer.logger=false", "--trainer.enable_checkpointing=false"]
    before = contents("runs/mine")
    assert main([*argv, "--model.temperature=0.2"]) == 0
    first = {name: data for name, data in contents("runs").items() if "/" not in name}
    assert set(first) == {"config.yaml", "run.json"}
    assert main([*argv, "--model.temperature=0.3"]) == 0
    assert contents("runs/mine") == before
    assert contents("runs/earlier-1") == first
    assert temperature("runs") == 0.3
    assert folders() == ["config.yaml", "earlier-1", "mine", "run.json"]
    assert main(["fit", "--config=runs/config.yaml", "--trainer.fast_dev_run=1"]) == 0


def test_a_run_with_numbered_folders_moves_nothing():
    assert main([*FIT, *LOGGER]) == 0
    assert folders() == ["mine"]
    assert main([*FIT, *LOGGER]) == 0
    assert {"version_0", "version_1"} <= {path.name for path in Path("runs/mine").iterdir()}


def test_a_name_with_a_point_keeps_it():
    argv = [*FIT, *PLACE, "--trainer.logger.name=lr0.3", "--trainer.enable_checkpointing=false"]
    assert main(argv) == 0
    assert main(argv) == 0
    assert folders() == ["lr0.3", "lr0.3-1", "mine"]


def test_a_folder_behind_a_link_is_moved_and_the_link_stays(tmp_path):
    Path("runs/mine").rename("elsewhere")
    Path("runs/mine").symlink_to(tmp_path / "elsewhere")
    before = contents("elsewhere")
    assert main(RUN) == 0
    assert contents("elsewhere-1") == before
    assert Path("runs/mine").is_symlink()
    assert {"last.ckpt", "metrics.csv"} <= set(contents("elsewhere"))


def test_only_the_first_process_of_all_nodes_touches_the_folder(monkeypatch):
    """The first process of the second node has LOCAL_RANK 0, too."""
    rank_zero_only = lightning_module("utilities").rank_zero_only
    monkeypatch.setattr(rank_zero_only, "rank", 0)  # the Trainer below sets it for the whole process
    monkeypatch.setenv("LOCAL_RANK", "0")
    monkeypatch.setenv("NODE_RANK", "1")
    settings = {"accelerator": "cpu", "devices": 1, "num_nodes": 2, "strategy": "ddp", "enable_progress_bar": False}
    logger = lightning_module("loggers").CSVLogger("runs", name="mine", version="")
    trainer = Trainer(logger=logger, **settings)
    before = contents("runs")
    with earlier_run_kept(trainer):
        assert trainer.global_rank == 1
        assert contents("runs") == before


def _stand_in(**facts: object) -> SimpleNamespace:
    """As much of a Trainer as is asked."""
    usual = {"is_global_zero": True, "loggers": [], "checkpoint_callbacks": [], "ckpt_path": None}
    return SimpleNamespace(
        **usual | {"strategy": SimpleNamespace(barrier=lambda _: None), "default_root_dir": "."} | facts
    )


def test_of_spawned_processes_one_moves_the_earlier_run(place):
    shutil.copytree("runs/mine", "runs/other")
    first = _EarlierRun(_stand_in(loggers=[SimpleNamespace(log_dir="runs/other")]), None)
    before = contents("runs/other")
    ranks = [pickle.loads(pickle.dumps(first)) for _ in range(2)]
    ranks[1].on_train_batch_end(_stand_in(is_global_zero=False), None)
    assert contents("runs/other") == before
    ranks[0].on_train_batch_end(_stand_in(), None)
    first.close()
    assert contents("runs/other-1") == before


def test_pictures_in_a_folder_that_is_not_the_runs_alone_move_with_it(tmp_path, monkeypatch):
    """The folder of a WandbLogger is the working directory."""
    (tmp_path / "work" / "pictures").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "work")
    for name in ("config.yaml", "pictures/neighbors-epoch0010.png", "pictures/holiday.png", "mine.txt"):
        Path(name).write_text(name)
    earlier = _EarlierRun(_stand_in(loggers=[SimpleNamespace(save_dir=".")]), None)
    earlier.on_train_batch_end(_stand_in(), None)
    earlier.close()
    assert sorted(contents("earlier-1")) == ["config.yaml", "pictures/neighbors-epoch0010.png"]
    assert sorted(path for path in contents(".") if "earlier" not in path) == ["mine.txt", "pictures/holiday.png"]
