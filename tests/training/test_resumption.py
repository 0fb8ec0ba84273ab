"""A run resumed from a checkpoint, at any place of an epoch, goes on as the uninterrupted one."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from sslbolts._lightning import Callback, LightningModule, lightning_module
from sslbolts.callbacks import CollapseMonitor, OnlineLinearProbe
from tests.helpers.resumption import BATCHES, Diary, Run, Toy, run, toy_images
from tests.helpers.trainers import quiet_trainer
from tests.helpers.views import noise_loader
from tests.invariants.checks import assert_same

SETTINGS = {
    "validation after each epoch": {},
    "validation twice in an epoch": {"val_check_interval": 0.5},
    "validation every three batches": {"val_check_interval": 3, "check_val_every_n_epoch": None},
    "validation every second epoch": {"check_val_every_n_epoch": 2},
    "no validation": {"limit_val_batches": 0},
    "accumulation over two batches": {"accumulate_grad_batches": 2},
    "accumulation over three batches": {"accumulate_grad_batches": 3},
    "an end after some steps": {"max_steps": 2 * BATCHES + 1},
}


def goes_on(whole: Run, resumed: Run, seen: int) -> None:
    """The resumed run has the uninterrupted one's hooks from ``seen`` on, logs the same, and ends with the same."""
    assert resumed.events == whole.events[seen:]
    assert resumed.rows == whole.rows[len(whole.rows) - len(resumed.rows) :]
    for part in ("epoch", "global_step", "state_dict", "optimizer_states", "lr_schedulers", "loops"):
        assert_same(resumed.end[part], whole.end[part], part)


def seen(checkpoint: Path) -> int:
    """Hooks before a checkpoint."""
    return int(torch.load(checkpoint, weights_only=True)["events"])


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_from_every_step_every_validation_and_every_epoch(tmp_path, settings):
    whole = run(tmp_path, **settings)
    steps = whole.end["global_step"]
    at_end = {tmp_path / f"{place}{steps}.ckpt" for place in ("epoch", *(["step"] if "max_steps" in settings else []))}
    checkpoints = sorted(set(tmp_path.glob("*.ckpt")) - at_end)  # from these there is nothing left to do
    assert len(checkpoints) >= steps
    for checkpoint in checkpoints:
        resumed = run(ckpt_path=checkpoint, **settings)
        if checkpoint.name.startswith("step"):  # the step's own row comes after its checkpoint
            assert resumed.rows[0][0] == int(checkpoint.stem.removeprefix("step")) - 1
            assert "train/loss" in resumed.rows[0][1]
        goes_on(whole, resumed, seen(checkpoint))


@pytest.mark.parametrize("settings", [{}, {"limit_val_batches": 0}], ids=["validation", "none"])
def test_again_and_again_from_every_last_batch(tmp_path, settings):
    whole = run(max_epochs=4, **settings)
    checkpoint = None
    for epoch in (1, 2, 3):
        folder = tmp_path / str(epoch)
        run(folder, checkpoint, max_epochs=4, **settings)
        checkpoint = folder / f"step{epoch * BATCHES}.ckpt"
    last = run(ckpt_path=checkpoint, max_epochs=4, **settings)
    goes_on(whole, last, len(whole.events) - len(last.events))
    assert last.end["global_step"] == 4 * BATCHES


@pytest.mark.parametrize("settings", [{}, {"limit_val_batches": 0}], ids=["validation", "none"])
@pytest.mark.parametrize(
    ("limit", "larger"),
    [({"max_steps": BATCHES}, {"max_steps": BATCHES + 3}), ({"max_epochs": 1}, {"max_steps": -1, "max_epochs": 2})],
    ids=["steps", "epochs"],
)
def test_what_was_due_after_the_last_step_of_a_limit_is_done_under_a_larger_one(tmp_path, limit, larger, settings):
    run(tmp_path, **limit, **settings)
    whole = run(tmp_path / "whole", **larger, **settings)  # with the same hooks
    checkpoints = [*tmp_path.glob(f"*{BATCHES}.ckpt")]
    assert len(checkpoints) == (2 if settings else 3)  # of the step, the validation and the epoch
    for checkpoint in checkpoints:
        goes_on(whole, run(ckpt_path=checkpoint, **larger, **settings), seen(checkpoint))


CUT = {
    "by steps": ({"max_steps": BATCHES + 1}, {}),
    "without validation": ({"max_steps": BATCHES + 1}, {"limit_val_batches": 0}),
    "after a validation": ({"max_steps": BATCHES + 2}, {"val_check_interval": 0.5}),
    "with accumulation": ({"max_steps": 3}, {"accumulate_grad_batches": 2}),
    "by time": ({"max_epochs": 2}, {"limit_val_batches": 0}),
}


@pytest.mark.parametrize(("limit", "settings"), CUT.values(), ids=CUT)
def test_an_epoch_that_a_limit_has_cut_short_is_gone_on_with(tmp_path, limit, settings):
    """Its end and, where time was over, a validation have been; they come once more, at the epoch's end."""

    def steps_of(done: Run) -> list[tuple[Any, ...]]:
        return [(name, epoch, step, *(rest[:1] if "batch" in name else ())) for name, epoch, step, *rest in done.events]

    stops = (Stops(BATCHES + 1),) if limit == {"max_epochs": 2} else ()
    cut = run(tmp_path, callbacks=stops, **limit, **settings)
    whole = run(max_steps=-1, max_epochs=2, **settings)
    torch.save(cut.end, tmp_path / "end.ckpt")
    for checkpoint in (tmp_path / f"epoch{cut.end['global_step']}.ckpt", tmp_path / "end.ckpt"):
        resumed = run(ckpt_path=checkpoint, max_steps=-1, max_epochs=2, **settings)
        events = steps_of(resumed)
        assert events == steps_of(whole)[-len(events) :]
        assert events[0][:3] == ("on_train_batch_start", 1, cut.end["global_step"])
        for mine, theirs in zip(resumed.rows, whole.rows[-len(resumed.rows) :], strict=True):
            assert mine == theirs
        for part in ("epoch", "global_step", "state_dict", "optimizer_states", "lr_schedulers", "loops"):
            assert_same(resumed.end[part], whole.end[part], part)


class Stops(Callback):
    """As the Trainer's timer does when time is over."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
        trainer.should_stop = trainer.global_step == self.step


def test_a_validation_that_was_interrupted_begins_anew(tmp_path):
    class Breaks(Toy):
        def validation_step(self, batch: Any, batch_idx: int) -> None:
            if batch_idx == 1:
                raise RuntimeError("broken")
            super().validation_step(batch, batch_idx)

    saves = lightning_module("callbacks").OnExceptionCheckpoint(tmp_path, "broken")
    with pytest.raises(RuntimeError, match="broken"):
        run(module=Breaks, callbacks=(saves,), enable_checkpointing=True)
    resumed, whole = run(ckpt_path=tmp_path / "broken.ckpt"), run()
    assert resumed.events == whole.events[-len(resumed.events) :]
    assert resumed.events[0][0] == "on_validation_epoch_start"
    assert_same(resumed.end["state_dict"], whole.end["state_dict"], "weights")


@pytest.mark.parametrize("batches", [2, 8])
def test_where_epochs_have_another_number_of_batches_the_next_one_begins_at_its_beginning(tmp_path, batches):
    whole = run(tmp_path)
    place = tmp_path / f"step{BATCHES}.ckpt"
    resumed = run(ckpt_path=place, data=lambda: toy_images(batch_size=40 // batches))
    names = [event[0] for event in resumed.events]
    assert names[:6] == [event[0] for event in whole.events[seen(place) :]][:6]
    started = [event for event in resumed.events if event[0] == "on_train_batch_start"]
    assert [(epoch, number) for _, epoch, _, number, _ in started] == [(1, b) for b in range(batches)]


@pytest.mark.parametrize("limit", [1.0, 0], ids=["validation", "none"])
def test_another_loader_gives_no_further_batch_of_an_epoch_that_is_over(tmp_path, limit):
    def fit(ckpt_path: Path | None = None) -> tuple[Diary, Any]:
        diary = Diary()
        keep = {"dirpath": tmp_path, "filename": "{step}", "save_top_k": -1, "auto_insert_metric_name": False}
        saves = lightning_module("callbacks").ModelCheckpoint(every_n_train_steps=BATCHES, **keep)
        settings = {"enable_checkpointing": True, "callbacks": [diary, saves], "limit_val_batches": limit}
        loaders = noise_loader(8 * BATCHES, 8, (8,)), DataLoader(TensorDataset(torch.ones(2, 3, 8, 8)))
        trainer = quiet_trainer(max_epochs=2, **settings)
        trainer.fit(Toy(), *loaders, ckpt_path=ckpt_path)
        return diary, trainer

    whole, _ = fit()
    resumed, trainer = fit(tmp_path / f"{BATCHES}.ckpt")
    names = [event[:4] for event in whole.events]
    assert [event[:4] for event in resumed.events] == names[names.index(("on_train_batch_start", 0, 3, 3)) + 1 :]
    assert [type(callback).__name__ for callback in trainer.callbacks] == ["Diary", "ModelCheckpoint"]


def test_monitors_do_not_change_how_a_module_of_others_is_resumed(tmp_path):
    class Plain(LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 4))

        def training_step(self, batch: Any, batch_idx: int) -> Tensor:
            return self.net(batch.views[0]).square().mean()

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), lr=0.01)

    run(tmp_path, module=Plain)
    place = tmp_path / f"step{BATCHES}.ckpt"
    alone, watched = (run(ckpt_path=place, module=Plain, callbacks=callbacks) for callbacks in ((), monitors()))
    assert [event[:3] for event in watched.events] == [event[:3] for event in alone.events]
    assert_same(watched.end["loops"], alone.end["loops"], "loops")


def monitors() -> tuple[Callback, ...]:
    return OnlineLinearProbe(3, "net.0"), CollapseMonitor("net.1", every_n_steps=1)


def means(folder: Path | None, checkpoint: Path | None = None, *, world: int = 1) -> list[tuple[int, dict[str, float]]]:
    """What an epoch with monitors logs when it ends."""
    data = partial(toy_images, batch_size=40 // BATCHES // world)
    module = partial(Toy, 4)
    done = run(folder, checkpoint, module=module, data=data, callbacks=monitors(), max_epochs=2, world=world)
    return [(step, row) for step, row in done.rows if "epoch/weight" in row]


@pytest.mark.parametrize("steps", range(1, BATCHES + 1))
def test_means_of_an_epoch_are_over_all_of_it(tmp_path, steps):
    whole = means(tmp_path)
    assert whole[0][1].keys() >= {"collapse/std", "collapse/effective_rank", "probe/train_top1"}
    assert means(None, tmp_path / f"step{steps}.ckpt") == whole


def test_means_of_an_epoch_are_over_all_ranks(tmp_path, two_ranks):
    whole = two_ranks(partial(means, world=2), tmp_path)
    assert whole[0][0][1].keys() >= {"collapse/std", "collapse/effective_rank", "probe/train_top1"}
    assert two_ranks(partial(means, world=2), None, tmp_path / "step2.ckpt") == whole
