"""``sslbolts fit|validate|test|predict``."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

from sslbolts import BYOL, SimCLR, UsageError
from sslbolts._lightning import LIGHTNING, Trainer, lightning_module
from sslbolts.cli import main
from sslbolts.cli.training import TrainingCLI
from sslbolts.data import CIFAR10MiniDataModule

TINY = {"layers": [1, 1, 1, 1], "channels": [8, 8, 8, 8], "stem_type": "deep", "stem_width": 4}
QUIET = [
    "--trainer.accelerator=cpu",
    "--trainer.devices=1",
    "--trainer.enable_progress_bar=false",
    "--trainer.enable_model_summary=false",
    "--trainer.num_sanity_val_steps=0",
]
SHORT = ["--trainer.max_epochs=1", "--trainer.limit_train_batches=2", "--trainer.limit_val_batches=1"]
MODEL = [
    "--model=SimCLR",
    "--model.backbone=resnet18",
    f"--model.backbone_kwargs={json.dumps(TINY)}",
    "--model.hidden_dim=8",
    "--model.output_dim=4",
    "--model.warmup_epochs=0",
]
DATA = ["--data.batch_size=8", "--data.num_workers=0"]
LARS_PATH = "sslbolts.optim.lars.LARS"


def run(*argv: str) -> TrainingCLI:
    """A verb, carried out; gives what it was done with."""
    from sslbolts.cli.shared.names import expand

    return TrainingCLI(argv[0], expand(list(argv[1:])))


def printed(capsys, *argv: str) -> dict:
    assert main([*argv, "--print_config"]) == 0
    return yaml.safe_load(capsys.readouterr().out)


@pytest.fixture(autouse=True)
def _elsewhere(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def by_command(tmp_path_factory) -> Path:
    """A checkpoint that the command line made: temperature 0.7, LARS with a learning rate of 0.3."""
    folder = tmp_path_factory.mktemp("command")
    checkpoint = ["--trainer.callbacks=ModelCheckpoint", f"--trainer.callbacks.dirpath={folder}"]
    logger = ["--trainer.logger=CSVLogger", f"--trainer.logger.save_dir={folder}"]
    argv = ["fit", *MODEL, "--model.temperature=0.7", *DATA, *QUIET, *SHORT, *checkpoint, *logger]
    assert main([*argv, "--trainer.callbacks.filename=model"]) == 0
    return folder / "model.ckpt"


@pytest.fixture(scope="module")
def by_python(tmp_path_factory) -> Path:
    """The same, made in Python."""
    folder = tmp_path_factory.mktemp("python")
    method = SimCLR("resnet18", backbone_kwargs=TINY, hidden_dim=8, output_dim=4, temperature=0.7, warmup_epochs=0.0)
    trainer = Trainer(
        accelerator="cpu",
        devices=1,
        max_epochs=1,
        limit_train_batches=2,
        limit_val_batches=0,
        enable_progress_bar=False,
        enable_model_summary=False,
        logger=False,
        callbacks=[lightning_module("callbacks").ModelCheckpoint(folder, filename="model")],
    )
    trainer.fit(method, CIFAR10MiniDataModule(batch_size=8, num_workers=0))
    return folder / "model.ckpt"


# ---------------------------------------------------------------------- names and configurations


def test_the_packaged_images_are_the_default_data_and_the_seed_is_fixed(capsys):
    config = printed(capsys, "fit", "--model=SimCLR")
    assert config["data"]["class_path"] == "sslbolts.data.CIFAR10MiniDataModule"
    assert config["seed_everything"] == 0
    assert config["trainer"]["default_root_dir"] == "runs"
    assert config["trainer"]["callbacks"] is None


def test_the_printed_configuration_is_a_configuration(capsys, tmp_path):
    config = printed(capsys, "fit", *MODEL, *DATA, *QUIET, "--model.temperature=0.3")
    assert config["model"]["init_args"]["temperature"] == 0.3
    assert config["model"]["init_args"]["optimizer"]["class_path"] == "sslbolts.optim.LARS"
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    assert printed(capsys, "fit", "--config=config.yaml") == config


def test_short_names_also_stand_in_files(capsys, tmp_path):
    (tmp_path / "config.yaml").write_text("model: {class_path: BYOL}\ndata: {class_path: CIFAR10DataModule}\n")
    config = printed(capsys, "fit", "--config=config.yaml")
    assert config["model"]["class_path"] == "sslbolts.BYOL"
    assert config["data"]["class_path"] == "sslbolts.data.CIFAR10DataModule"


def test_a_module_of_another_project_is_imported_by_its_path():
    cli = run(
        "fit",
        f"--model={LIGHTNING}.demos.boring_classes.BoringModel",
        f"--data={LIGHTNING}.demos.boring_classes.BoringDataModule",
        "--trainer.fast_dev_run=1",
        *QUIET[:-1],
    )
    assert type(cli.model).__name__ == "BoringModel"
    assert cli.trainer.global_step == 1


def test_an_optimizer_is_chosen_with_its_arguments(tmp_path):
    (tmp_path / "config.yaml").write_text(
        "model:\n  init_args:\n    optimizer: {class_path: torch.optim.SGD, init_args: {lr: 0.25, momentum: 0.5}}\n"
    )
    cli = run("fit", *MODEL, "--config=config.yaml", *DATA, *QUIET, "--trainer.fast_dev_run=1")
    (optimizer,) = cli.trainer.optimizers
    assert type(optimizer) is torch.optim.SGD
    assert optimizer.param_groups[0]["initial_lr"] == pytest.approx(0.25 * 8 / 256)
    assert optimizer.param_groups[0]["momentum"] == 0.5


def test_the_command_line_wins_over_the_file(capsys, tmp_path):
    (tmp_path / "config.yaml").write_text("model: {class_path: SimCLR, init_args: {temperature: 0.2, hidden_dim: 8}}\n")
    given = printed(capsys, "fit", "--config=config.yaml", "--model.temperature=0.4")["model"]["init_args"]
    assert (given["temperature"], given["hidden_dim"]) == (0.4, 8)


def test_there_is_no_option_that_replaces_the_optimizer_of_the_method(capsys):
    assert main(["fit", "--model=SimCLR", "--optimizer=Adam"]) == 2
    assert main(["fit", "--model=SimCLR", "--lr_scheduler=StepLR"]) == 2


def test_every_callback_of_a_file_can_be_taken_out(tmp_path):
    (tmp_path / "config.yaml").write_text("trainer: {callbacks: [{class_path: Preflight}, {class_path: KNNMonitor}]}\n")
    cli = run(
        *("fit", *MODEL, "--config=config.yaml", *DATA, *QUIET, "--trainer.callbacks=null", "--trainer.fast_dev_run=1")
    )
    assert not {"Preflight", "KNNMonitor"} & {type(callback).__name__ for callback in cli.trainer.callbacks}


# ---------------------------------------------------------------------- checkpoints


@pytest.mark.parametrize("origin", ["by_command", "by_python"])
def test_a_checkpoint_brings_its_class_and_arguments(origin, request):
    checkpoint = request.getfixturevalue(origin)
    cli = run("validate", f"--ckpt_path={checkpoint}", *DATA, *QUIET, "--trainer.limit_val_batches=1")
    assert type(cli.model) is SimCLR
    assert (cli.model.temperature, cli.model.hparams["hidden_dim"]) == (0.7, 8)
    assert cli.model.optimizer.plain["class_path"] == LARS_PATH
    stored = torch.load(checkpoint, weights_only=True)["state_dict"]
    assert all(torch.equal(stored[name], value) for name, value in cli.model.state_dict().items())


@pytest.mark.parametrize("name", ["last.ckpt", "best-epoch3.ckpt", "hpc_ckpt_1.ckpt", "registry.ckpt"])
def test_a_file_that_begins_like_a_keyword_of_lightning_is_read(name, by_command, tmp_path):
    shutil.copy(by_command, tmp_path / name)
    cli = run("validate", f"--ckpt_path={name}", *DATA, *QUIET, "--trainer.limit_val_batches=1")
    assert (type(cli.model), cli.model.temperature) == (SimCLR, 0.7)


def test_no_checkpoint_can_be_said_as_in_yaml():
    assert run("fit", *MODEL, *DATA, *QUIET, "--trainer.fast_dev_run=1", "--ckpt_path=null").trainer.ckpt_path is None


@pytest.mark.parametrize("origin", ["by_command", "by_python"])
@pytest.mark.parametrize("place", ["command line", "file"])
def test_explicit_values_win_over_the_checkpoint(origin, place, request, tmp_path):
    explicit = ["--model.init_args.temperature=0.9"]
    if place == "file":
        (tmp_path / "config.yaml").write_text("model: {class_path: SimCLR, init_args: {temperature: 0.9}}\n")
        explicit = ["--config=config.yaml"]
    ckpt_path = f"--ckpt_path={request.getfixturevalue(origin)}"
    cli = run("validate", *explicit, ckpt_path, *DATA, *QUIET, "--trainer.limit_val_batches=1")
    assert cli.model.temperature == 0.9
    assert cli.model.hparams["temperature"] == 0.9
    assert cli.model.hparams["hidden_dim"] == 8  # what is not explicit is the checkpoint's
    assert cli.model.optimizer.plain["init_args"]["lr_in_momentum"] is True


def test_the_checkpoint_may_stand_in_a_file(by_command, tmp_path):
    (tmp_path / "path.yaml").write_text(f"ckpt_path: {by_command}\n")
    limits = [*DATA, *QUIET, "--trainer.limit_val_batches=1"]
    cli = run("validate", "--config=path.yaml", *limits)
    assert (type(cli.model), cli.model.temperature) == (SimCLR, 0.7)
    cli = run("test", "--config=path.yaml", "--model=SimCLR", "--model.temperature=0.9", *limits)
    assert (cli.model.temperature, cli.model.hparams["hidden_dim"]) == (0.9, 8)


@pytest.mark.parametrize("rate", [0.3, 1.2])
def test_a_resumed_run_takes_the_learning_rate_that_is_given(rate, by_command):
    cli = run(
        *("fit", f"--model.optimizer.lr={rate}", f"--ckpt_path={by_command}", *DATA, *QUIET),
        *("--trainer.max_epochs=2", "--trainer.limit_train_batches=2", "--trainer.limit_val_batches=0"),
        *("--trainer.logger=false", "--trainer.enable_checkpointing=false"),
    )
    (optimizer,) = cli.trainer.optimizers
    assert cli.trainer.global_step == 4
    assert [group["initial_lr"] for group in optimizer.param_groups] == pytest.approx([rate * 8 / 256] * 2)
    (schedule,) = (config.scheduler for config in cli.trainer.lr_scheduler_configs)
    assert schedule.base_lrs == pytest.approx([rate * 8 / 256] * 2)
    assert schedule.last_epoch == 4
    assert optimizer.state  # momentum came from the checkpoint and went on


@pytest.mark.parametrize("origin", ["by_command", "by_python"])
def test_load_from_checkpoint_rebuilds_the_method(origin, request):
    checkpoint = request.getfixturevalue(origin)
    method = SimCLR.load_from_checkpoint(checkpoint, map_location="cpu")
    assert (method.temperature, method.hparams["output_dim"]) == (0.7, 4)
    assert method.optimizer.plain["init_args"]["lr_in_momentum"] is True
    assert SimCLR.load_from_checkpoint(checkpoint, temperature=0.2).temperature == 0.2


# ---------------------------------------------------------------------- predict


@pytest.mark.parametrize("ending", ["npz", "parquet"])
def test_predict_writes_features_labels_and_indices_in_order(ending, by_command, tmp_path):
    output = tmp_path / "deep" / f"features.{ending}"
    cli = run(
        *("predict", f"--ckpt_path={by_command}", f"--output={output}", "--data.predict_on=val"),
        *("--data.eval_batch_size=300", *QUIET[:-1]),
    )
    if ending == "npz":
        file = np.load(output)
        features, targets, indices = file["features"], file["targets"], file["indices"]
    else:
        table = pd.read_parquet(output)
        features = np.stack(table["features"])
        targets, indices = table["label"].to_numpy(), table["index"].to_numpy()
    images, labels, rows = next(iter(cli.datamodule.predict_dataloader()))
    images = cli.datamodule.on_after_batch_transfer((images, labels, rows), 0)[0]
    with torch.no_grad():
        expected = cli.model.eval()(images)
    assert features.shape == (1000, 8)
    assert features.dtype == np.float32
    assert indices.tolist() == list(range(1000))
    assert targets[:300].tolist() == labels.tolist()
    torch.testing.assert_close(torch.from_numpy(features[:300]), expected)


def test_no_command_deletes_the_log_of_a_run(tmp_path):
    logger = ["--trainer.logger=CSVLogger", f"--trainer.logger.save_dir={tmp_path}"]
    place = [*logger, "--trainer.logger.name=run", "--trainer.logger.version="]
    checkpoint = ["--trainer.callbacks=ModelCheckpoint", f"--trainer.callbacks.dirpath={tmp_path}"]
    argv = [*MODEL, *DATA, *QUIET, *SHORT, "--trainer.log_every_n_steps=1", *place]
    assert main(["fit", *argv, *checkpoint, "--trainer.callbacks.filename=model"]) == 0
    log, config = tmp_path / "run" / "metrics.csv", tmp_path / "run" / "config.yaml"
    logged, configured = log.read_text(), config.read_text()
    for verb in ("validate", "predict"):
        assert (
            main(
                [
                    verb,
                    *DATA,
                    *QUIET,
                    "--trainer.limit_val_batches=1",
                    "--trainer.limit_predict_batches=1",
                    *place,
                    f"--ckpt_path={tmp_path / 'model.ckpt'}",
                ]
            )
            == 0
        )
        assert (log.read_text(), config.read_text()) == (logged, configured)


def test_a_run_that_was_terminated_says_so_by_its_exit_code(monkeypatch):
    def terminated(argv):
        raise lightning_module("utilities.exceptions").SIGTERMException

    monkeypatch.setattr("sslbolts.cli.methods.main", terminated)
    assert main(["methods"]) == 128 + 15


def test_predict_without_a_checkpoint_warns(tmp_path):
    with pytest.warns(UserWarning, match="without --ckpt_path"):
        run("predict", *MODEL, "--trainer.limit_predict_batches=1", *DATA, *QUIET[:-1])
    assert len(np.load("features.npz")["features"]) == 8


def test_a_method_with_a_teacher_runs_validates_and_resumes(tmp_path):
    argv = ["--data.views=byol", *DATA, *QUIET, "--trainer.limit_train_batches=2", "--trainer.limit_val_batches=1"]
    byol = ["--model=BYOL", *MODEL[1:]]
    checkpoint = [
        "--trainer.callbacks=ModelCheckpoint",
        "--trainer.callbacks.dirpath=.",
        "--trainer.callbacks.filename=m",
    ]
    assert main(["fit", *byol, *argv, "--trainer.max_epochs=1", *checkpoint, "--trainer.logger=false"]) == 0
    cli = run("fit", "--ckpt_path=m.ckpt", *argv, "--trainer.max_epochs=2", "--trainer.logger=false")
    assert type(cli.model) is BYOL
    assert cli.trainer.global_step == 4


def test_early_stopping_on_a_value_that_nobody_logs_is_said_in_one_line():
    stopping = ("--trainer.callbacks=EarlyStopping", "--trainer.callbacks.monitor=knn/top_one")
    short = ("--trainer.limit_train_batches=1", "--trainer.limit_val_batches=1", "--trainer.max_epochs=1")
    with pytest.raises(UsageError, match="Early stopping conditioned on metric `knn/top_one` which is not available"):
        run("fit", *MODEL, *DATA, *QUIET, *short, *stopping)
