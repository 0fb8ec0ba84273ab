"""What was logged, from CSV and from TensorBoard's event files: the same."""

import pytest
import torch

from sslbolts._lightning import LightningModule, lightning_module
from sslbolts.report.metrics import Gap, Point, read_log
from tests.callbacks.host import train_loader, trainer, val_loader


class Logging(LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))

    def training_step(self, batch, batch_idx):
        self.log("train/loss", self.weight.sum() * (self.global_step + 1))
        return self.weight.sum()

    def validation_step(self, batch, batch_idx):
        self.log("accuracy", 0.1 * (self.current_epoch + 1))

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.0)


def logged(folder, *loggers) -> None:
    run = trainer(max_epochs=3, logger=list(loggers), log_every_n_steps=2)
    run.fit(Logging(), train_loader(), val_loader())


def test_steps_become_epochs(tmp_path):
    logged(tmp_path, lightning_module("loggers").CSVLogger(tmp_path, name="", version=""))
    found = read_log(tmp_path).metrics
    assert [point.epoch for point in found["accuracy"]] == [1, 2, 3]
    assert [point.value for point in found["accuracy"]] == pytest.approx([0.1, 0.2, 0.3])
    # Every second of ten steps of an epoch: step 1, whose loss is 2, stands at 0.2 epochs.
    assert found["train/loss"][:2] == [Point(0.2, 2.0), Point(0.4, 4.0)]
    assert found["train/loss"][-1] == Point(3.0, 30.0)
    assert set(found) == {"accuracy", "train/loss"}


def test_event_files_say_the_same(tmp_path):
    pytest.importorskip("tensorboard")
    loggers = lightning_module("loggers")
    csv, events = tmp_path / "csv", tmp_path / "events"
    logged(
        tmp_path,
        loggers.CSVLogger(csv, name="", version=""),
        loggers.TensorBoardLogger(events, name="", version=""),
    )
    of_csv, of_events = read_log(csv).metrics, read_log(events).metrics
    assert of_csv.keys() == of_events.keys()
    for name, series in of_csv.items():
        assert [p.epoch for p in of_events[name]] == pytest.approx([p.epoch for p in series])
        assert [p.value for p in of_events[name]] == pytest.approx([p.value for p in series])


def test_gaps_words_and_infinities_are_left_out(tmp_path):
    (tmp_path / "metrics.csv").write_text("epoch,step,a,b\n0,0,1.5,\n0,1,nan,word\n1,2,inf,2\n,3,7,\n")
    assert read_log(tmp_path).metrics == {"a": [Point(0.5, 1.5), Point(2.0, 7.0)], "b": [Point(1.5, 2.0)]}


def test_what_is_not_finite_is_counted_and_placed(tmp_path):
    rows = ["epoch,step,a,b,c", "0,0,1,nan,-inf", "0,1,nan,1,nan", "1,2,nan,inf,nan", "1,3,inf,2,nan"]
    (tmp_path / "metrics.csv").write_text("\n".join(rows) + "\n")
    log = read_log(tmp_path)
    assert log.metrics == {"a": [Point(0.5, 1.0)], "b": [Point(1.0, 1.0), Point(2.0, 2.0)]}
    assert log.gaps == {
        "a": Gap("NaN", 1.0, 2.0, 3, lasting=True),
        "b": Gap("NaN", 0.5, 1.5, 2, lasting=False),
        "c": Gap("infinite", 0.5, 2.0, 4, lasting=True),
    }
    assert str(log.gaps["a"]) == "NaN from epoch 1 on"
    assert str(log.gaps["b"]) == "NaN at epoch 0.5 and 1 times more"


def test_rows_at_no_possible_time_are_left_out(tmp_path):
    rows = ["epoch,step,a", "-1,0,1", "0,-1,2", "1e300,1,3", "0,nan,4", "0,inf,5", "nan,0,6", "0,0,7"]
    (tmp_path / "metrics.csv").write_text("\n".join(rows) + "\n")
    assert read_log(tmp_path).metrics == {"a": [Point(1.0, 7.0)]}


def test_no_log_is_no_numbers(tmp_path):
    assert read_log(tmp_path).metrics == {}
