"""Pictures and metrics in TensorBoard, Weights & Biases and MLflow, and pictures of several runs beside each other."""

import pytest
import torch

from sslbolts._lightning import lightning_module
from sslbolts.callbacks import AugmentationSheet
from tests.callbacks.host import Host
from tests.helpers.trainers import quiet_trainer

loggers = lightning_module("loggers")


class Logged(Host):
    def training_step(self, batch, batch_idx):
        loss = super().training_step(batch, batch_idx)
        self.log("loss", loss)
        return loss


@pytest.fixture
def fit(tmp_path):
    """A fit of one step, with a picture of its first batch; its trainer."""

    def run(logger):
        images = torch.rand(4, 3, 4, 4)
        loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(images, torch.arange(4)), batch_size=4)
        trainer = quiet_trainer(
            max_epochs=1,
            logger=logger,
            callbacks=[AugmentationSheet(images=2)],
            default_root_dir=tmp_path,
            log_every_n_steps=1,
        )
        trainer.fit(Logged(), loader)
        return trainer

    return run


def pictures(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*.png"))


AUGMENTATIONS = "augmentations-epoch0001.png"


def test_csv_logger_s_versions_keep_each_run_s_pictures(fit, tmp_path):
    for _ in range(2):
        fit(loggers.CSVLogger(tmp_path))
    assert pictures(tmp_path) == [f"lightning_logs/version_{run}/pictures/{AUGMENTATIONS}" for run in range(2)]


def test_a_csv_logger_s_fixed_folder_keeps_them_too(fit, tmp_path):
    for _ in range(3):
        fit(loggers.CSVLogger(tmp_path, name="", version=""))
    assert pictures(tmp_path) == [f"{folder}/{AUGMENTATIONS}" for folder in ("pictures-1", "pictures-2", "pictures")]


def test_without_a_logger_no_picture_is_overwritten(fit, tmp_path):
    fit(False)
    first = (tmp_path / "pictures" / AUGMENTATIONS).read_bytes()
    fit(False)
    assert pictures(tmp_path) == [f"pictures-1/{AUGMENTATIONS}", f"pictures/{AUGMENTATIONS}"]
    assert (tmp_path / "pictures" / AUGMENTATIONS).read_bytes() == first


def test_tensorboard_has_pictures_and_metrics_of_each_run(fit, tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for run in range(2):
        fit(loggers.TensorBoardLogger(tmp_path))
        events = EventAccumulator(str(tmp_path / "lightning_logs" / f"version_{run}")).Reload()
        assert events.Tags()["images"] == ["pictures/augmentations"]
        assert "loss" in events.Tags()["scalars"]
    assert pictures(tmp_path) == [f"lightning_logs/version_{run}/pictures/{AUGMENTATIONS}" for run in range(2)]


def test_mlflow_has_pictures_and_metrics_of_each_run(fit, tmp_path, monkeypatch):
    pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    uri = (tmp_path / "mlruns").as_uri()
    runs = []
    for _ in range(2):
        logger = loggers.MLFlowLogger(tracking_uri=uri)
        fit(logger)
        runs.append(logger.run_id)
        client = logger.experiment
        assert [found.path for found in client.list_artifacts(logger.run_id, "pictures")] == [
            f"pictures/{AUGMENTATIONS}"
        ]
        assert "loss" in client.get_run(logger.run_id).data.metrics
    assert len(set(runs)) == 2
    kept = [path for path in pictures(tmp_path) if "artifacts" not in path]
    assert sorted(path.split("/")[-3] for path in kept) == sorted(runs)


@pytest.mark.slow  # its service takes seconds to start
def test_wandb_has_pictures_and_metrics_of_each_run_offline(fit, tmp_path, monkeypatch):
    wandb = pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    names = []
    for _ in range(2):
        logger = loggers.WandbLogger(save_dir=tmp_path, offline=True)
        fit(logger)
        run = logger.experiment
        names.append(run.id)
        assert run.summary["loss"] > 0
        assert run.summary["pictures/augmentations"]["_type"] == "images/separated"
        wandb.finish()
    kept = [path for path in pictures(tmp_path) if "/media/" not in path]
    assert sorted(path.split("/")[-3] for path in kept) == sorted(names)
    assert len([path for path in pictures(tmp_path) if "/media/" in path]) == 2
