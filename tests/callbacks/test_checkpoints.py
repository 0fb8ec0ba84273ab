"""State of the monitors in checkpoints: none of it in the host's, all of it restored."""

from typing import Any

import pytest
import torch

from sslbolts._lightning import Callback, lightning_module
from sslbolts.callbacks import CollapseMonitor, KNNMonitor, OnlineLinearProbe, Preflight
from sslbolts.training.passes import run_pass
from tests.callbacks.host import Host, bank_loader, metrics, train_loader, trainer, val_loader


def monitors(**probe: Any) -> tuple[OnlineLinearProbe, KNNMonitor]:
    return OnlineLinearProbe(5, "encoder", **probe), KNNMonitor(k=5, bank=bank_loader())


def ordered_loader() -> Any:
    return train_loader(shuffle=False)


def test_resuming_equals_not_stopping_bit_for_bit(tmp_path):
    torch.manual_seed(0)
    host = Host()
    host.encoder[4].p = 0.0  # dropout's random state is the module's business
    start = {name: value.clone() for name, value in host.state_dict().items()}
    whole = monitors()
    run = trainer(*whole, max_epochs=4)
    run.fit(host, ordered_loader(), val_loader())

    half = Host()
    half.encoder[4].p = 0.0
    half.load_state_dict(start)
    stopped = trainer(*monitors(), max_epochs=2)
    stopped.fit(half, ordered_loader(), val_loader())
    stopped.save_checkpoint(tmp_path / "half.ckpt")

    resumed_host, resumed = Host(), monitors()
    resumed_host.encoder[4].p = 0.0
    resumed_run = trainer(*resumed, max_epochs=4)
    torch.load(tmp_path / "half.ckpt", weights_only=True)  # raises for anything but tensors and plain types
    resumed_run.fit(resumed_host, ordered_loader(), val_loader(), ckpt_path=tmp_path / "half.ckpt")
    for name, value in host.state_dict().items():
        assert torch.equal(value, resumed_host.state_dict()[name]), name
    expected, found = whole[0].state_dict()["heads"], resumed[0].state_dict()["heads"]
    for name, value in expected.items():
        assert torch.equal(value, found[name]) if isinstance(value, torch.Tensor) else value == found[name], name
    assert whole[1].baseline_values == resumed[1].baseline_values != {}
    assert metrics(run) == metrics(resumed_run)


def test_the_hosts_checkpoint_loads_strictly_without_the_monitors(tmp_path):
    run = trainer(*monitors(), max_epochs=1)
    run.fit(Host(), train_loader(), val_loader())
    run.save_checkpoint(tmp_path / "last.ckpt")
    state = torch.load(tmp_path / "last.ckpt", weights_only=True)  # tensors and plain types only
    assert state["state_dict"].keys() == Host().state_dict().keys()
    assert sorted(state["callbacks"]) == ["KNNMonitor{'name': ''}", "OnlineLinearProbe{'name': 'probe'}"]
    Host.load_from_checkpoint(tmp_path / "last.ckpt", strict=True)
    with pytest.warns(UserWarning, match="Please add the following callbacks"):
        trainer(max_epochs=2).fit(Host(), train_loader(), val_loader(), ckpt_path=tmp_path / "last.ckpt")


def test_validating_a_checkpoint_evaluates_its_probe(tmp_path):
    run = trainer(*monitors(), max_epochs=1)
    run.fit(Host(), train_loader(), val_loader())
    run.save_checkpoint(tmp_path / "last.ckpt")
    fresh = trainer(*monitors())
    values = fresh.validate(Host(), val_loader(), ckpt_path=tmp_path / "last.ckpt", verbose=False)[0]
    assert values["probe/top1"] == metrics(run)["probe/top1"]
    fresh.fit_loop.max_epochs = 3
    fresh.fit(Host(), train_loader(), val_loader())  # what was moved in inference mode trains on


def test_a_probe_of_other_classes_starts_afresh_and_says_so(tmp_path):
    run = trainer(*monitors(), max_epochs=1)
    run.fit(Host(), train_loader(), val_loader())
    run.save_checkpoint(tmp_path / "last.ckpt")
    probe, knn = monitors(lrs=(0.1,))
    with pytest.warns(UserWarning, match="starts afresh"):
        trainer(probe, knn, max_epochs=2).fit(Host(), train_loader(), val_loader(), ckpt_path=tmp_path / "last.ckpt")
    assert list(probe.accuracies) == [0.1]


def test_preflight_names_the_callbacks_without_state_in_the_file(tmp_path):
    run = trainer(CollapseMonitor("encoder"), KNNMonitor(k=5, bank=bank_loader()), max_epochs=1)
    run.fit(Host(), train_loader(), val_loader())
    run.save_checkpoint(tmp_path / "last.ckpt")
    probe = OnlineLinearProbe(5, "encoder")
    with pytest.warns(UserWarning, match=r"no state for OnlineLinearProbe\{'name': 'probe'\}"):
        trainer(probe, KNNMonitor(k=5, bank=bank_loader()), Preflight(), max_epochs=2).fit(
            Host(), train_loader(), val_loader(), ckpt_path=tmp_path / "last.ckpt"
        )


def test_two_probes_and_two_monitors_side_by_side():
    second = OnlineLinearProbe(5, lambda module, batch, outputs: batch[0].flatten(1), name="pixels")
    other = KNNMonitor(k=5, bank=bank_loader(50), name="other", features="encoder.1", baselines=False)
    run = trainer(*monitors(), second, other)
    run.fit(Host(), train_loader(), val_loader())
    assert {"probe/top1", "pixels/top1", "knn/k5_t0.07", "other/knn/k5_t0.07", "other/rankme"} <= metrics(run).keys()


def test_model_checkpoint_and_early_stopping_follow_the_metrics(tmp_path):
    callbacks = lightning_module("callbacks")
    best = callbacks.ModelCheckpoint(tmp_path, monitor="knn/k5_t0.07", mode="max", filename="best")
    stop = callbacks.EarlyStopping("probe/top1", mode="max", patience=1, min_delta=1.0)
    run = trainer(*monitors(), best, stop, max_epochs=6, enable_checkpointing=True)
    run.fit(Host(), train_loader(), val_loader())
    assert (tmp_path / "best.ckpt").exists()
    assert run.current_epoch == 2
    assert float(best.best_model_score) >= metrics(run)["knn/k5_t0.07"]


@pytest.mark.parametrize("compares", [True, False])
def test_every_nth_and_the_last_epoch_are_measured_and_a_checkpoint_that_compares_has_a_value_in_all(
    tmp_path, monkeypatch, compares
):
    measured: list[int] = []
    checkpoints = lightning_module("callbacks").ModelCheckpoint
    best = checkpoints(tmp_path, monitor="knn/k5_t0.07" if compares else None, mode="max")
    knn = KNNMonitor(k=5, bank=bank_loader(), every_n_epochs=2, baselines=False)
    run = trainer(knn, best, max_epochs=4, enable_checkpointing=True)

    def counted(*args: Any, **settings: Any) -> Any:
        measured.append(run.current_epoch)
        return run_pass(*args, **settings)

    monkeypatch.setattr("sslbolts.callbacks.knn.run_pass", counted)
    run.fit(Host(), train_loader(), val_loader())
    assert measured == ([0, 1, 2, 3] if compares else [0, 2, 3])
    assert (best.best_model_score is not None) == compares


def test_epochs_are_counted_from_the_first_validation_there_is():
    run = trainer(
        knn := KNNMonitor(k=5, bank=bank_loader(), every_n_epochs=2, baselines=False),
        max_epochs=4,
        check_val_every_n_epoch=2,
    )
    run.fit(Host(), train_loader(), val_loader())
    assert "knn/k5_t0.07" in run.callback_metrics
    assert knn.state_dict()["measured"] == 3


@pytest.mark.parametrize(
    "settings", [{"max_steps": 20, "max_epochs": -1}, {"max_epochs": 9}], ids=["max_steps", "stopped"]
)
def test_the_last_validation_is_measured_however_the_run_ends(settings):
    class Stop(Callback):
        def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
            trainer.should_stop = trainer.global_step == 20

    knn = KNNMonitor(k=5, bank=bank_loader(), every_n_epochs=3, baselines=False)
    run = trainer(knn, Stop(), **settings)
    run.fit(Host(), train_loader(), val_loader())
    assert run.global_step == 20
    assert knn.state_dict()["measured"] == 1
