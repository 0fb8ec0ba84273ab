"""``sslbolts fit --rewinds``, and a fit whose limit is reached where it begins."""

import contextlib
import io
import json
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist

from sslbolts._lightning import Callback
from sslbolts.cli import main
from sslbolts.cli.run.nothing_left import nothing_left_said
from sslbolts.cli.run.rewinds import LowerRate
from sslbolts.cli.training import TrainingCLI
from tests.cli.test_accidents import LAST, RUN
from tests.cli.test_ddp import TWO, started
from tests.helpers.resumption import BATCHES, Toy, run, toy_images
from tests.helpers.trainers import quiet_trainer

FIT = [*RUN, "--trainer.callbacks.every_n_train_steps=2"]


@pytest.fixture(autouse=True)
def _elsewhere(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)


class Spoils(Callback):
    """Makes the weights NaN before some step, so often, and writes down the learning rates."""

    def __init__(self, before: int, times: int, once: str | None = None) -> None:
        self.before, self.times, self.once = before, times, once  # a file that is there once it has been done
        self.rates: list[tuple[int, float]] = []

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        self.rates.append((trainer.global_step, trainer.optimizers[0].param_groups[0]["lr"]))
        if trainer.global_step == self.before and self.times > 0 and not (self.once and Path(self.once).exists()):
            self.times -= 1
            if self.once:
                trainer.strategy.barrier()
                Path(self.once).touch()
            with torch.no_grad():
                next(pl_module.parameters()).fill_(torch.nan)


def fit(*argv: str, before: int = 5, times: int = 0) -> tuple[int, list[tuple[int, float]]]:
    """The exit code, and the rate before each step."""
    spoils, own = Spoils(before, times), TrainingCLI.before_fit

    def hook(cli: Any) -> None:
        own(cli)
        cli.trainer.callbacks.insert(0, spoils)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TrainingCLI, "before_fit", hook)
        return main([*FIT, *argv]), spoils.rates


def test_each_rewind_goes_on_from_the_last_good_checkpoint_with_half_the_rate_before(capsys):
    code, plain = fit()
    assert code == 0
    assert [step for step, _ in plain] == list(range(12))
    code, rates = fit("--rewinds=2", times=2)
    assert code == 0
    assert [step for step, _ in rates] == [*range(6), 4, 5, *range(4, 12)]
    factors = [1.0] * 6 + [0.5] * 2 + [0.25] * 8
    assert [rate for _, rate in rates] == pytest.approx([dict(plain)[s] * f for (s, _), f in zip(rates, factors)])
    end = torch.load(LAST, weights_only=True)
    assert end["global_step"] == 12
    assert all(value.isfinite().all() for value in end["state_dict"].values())
    printed = capsys.readouterr().out
    assert "Rewind 1 of 2: training has diverged: " in printed
    assert f"It goes on from {LAST.resolve()} with 0.25 times the learning rate" in printed


@pytest.mark.parametrize(("rewinds", "before"), [(0, 5), (1, 5), (3, 1)], ids=["none", "too few", "no checkpoint"])
def test_a_run_that_cannot_go_back_any_more_ends_in_the_error(capsys, rewinds, before):
    code, _ = fit(f"--rewinds={rewinds}", before=before, times=9)
    assert code == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert "training has diverged" in line


def diverging(folder: Path) -> tuple[int, list[tuple[int, float]], str]:
    """A rank of a run whose second rank spoils its weights once: exit code, rates, and what was printed."""
    printed = io.StringIO()
    with contextlib.chdir(folder), contextlib.redirect_stdout(printed):
        code, rates = fit("--rewinds=1", *TWO, times=dist.get_rank())
    return code, rates, printed.getvalue()


def test_both_ranks_go_back_together(tmp_path, two_ranks):
    (code, rates, printed), (other, its_rates, nothing) = two_ranks(diverging, tmp_path)
    assert code == other == 0
    assert [step for step, _ in rates] == [*range(6), *range(4, 12)]
    assert rates == its_rates
    assert dict(rates[6:])[4] == pytest.approx(dict(rates[:6])[4] / 2)
    assert printed.count("Rewind 1 of 1: training has diverged: ") == 1
    assert "Rewind" not in nothing
    end = torch.load(tmp_path / LAST, weights_only=True)
    assert end["global_step"] == 12
    assert all(value.isfinite().all() for value in end["state_dict"].values())


@pytest.mark.slow
def test_processes_that_the_command_has_started_go_back_together(tmp_path):
    own = {"class_path": f"{__name__}.Spoils", "init_args": {"before": 5, "times": 1, "once": str(tmp_path / "once")}}
    saves = {"dirpath": "runs/mine", "save_last": True, "every_n_train_steps": 2, "enable_version_counter": False}
    both = json.dumps([own, {"class_path": "ModelCheckpoint", "init_args": saves}])
    done = started(tmp_path, *RUN[:-4], f"--trainer.callbacks={both}", "--rewinds=1")
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("Rewind 1 of 1: training has diverged: ") == 1
    end = torch.load(tmp_path / LAST, weights_only=True)
    assert end["global_step"] == 12
    assert all(value.isfinite().all() for value in end["state_dict"].values())


def test_rates_of_other_schedules_and_of_none_are_lowered_from_those_of_the_module():
    """Those of torch come back from the checkpoint, lowered already."""
    seen = []

    class Scheduled(Toy):
        def on_train_batch_start(self, batch, batch_idx):
            super().on_train_batch_start(batch, batch_idx)
            seen.append(self.trainer.optimizers[0].param_groups[0]["lr"])

    class Plain(Scheduled):
        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.01)

    for kind, second in ((Scheduled, 0.7), (Plain, 1.0)):  # Toy's schedule, in its second epoch
        path: Any = None
        for epoch, factor in enumerate((0.5, 0.25), 1):
            trainer = quiet_trainer(max_epochs=epoch, callbacks=[LowerRate(factor)])
            trainer.fit(kind(), toy_images(), ckpt_path=path)
            path = Path(f"{kind.__name__}.ckpt")
            trainer.save_checkpoint(path)
        assert seen == pytest.approx([0.01 * 0.5] * BATCHES + [0.01 * 0.25 * second] * BATCHES)
        seen.clear()


def test_a_time_that_is_over_already_is_said_in_one_line(tmp_path, capsys):
    run(tmp_path, max_time={"hours": 1})
    content = torch.load(tmp_path / "step2.ckpt", weights_only=True)
    content["callbacks"]["Timer"]["time_elapsed"]["train"] = 7200.0
    torch.save(content, tmp_path / "late.ckpt")
    trainer = quiet_trainer(max_epochs=2, max_time={"hours": 1})
    with nothing_left_said(trainer):
        trainer.fit(Toy(), datamodule=toy_images(), ckpt_path=tmp_path / "late.ckpt")
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "Nothing was trained" in line]
    assert "late.ckpt is at step 2, and --trainer.max_time=3600 s is reached." in line


@pytest.mark.parametrize(
    ("limit", "command"), [("max_steps=4", FIT), ("max_epochs=1", RUN)], ids=["after a step", "after an epoch"]
)
def test_a_limit_that_is_reached_already_is_said_in_one_line(capsys, limit, command):
    assert main([*command, f"--trainer.{limit}"]) == 0
    before = LAST.read_bytes()
    assert "Nothing was trained" not in capsys.readouterr().out
    assert main([*command, f"--trainer.{limit}", "--ckpt_path=last"]) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "Nothing was trained" in line]
    assert f"last.ckpt is at step 4, and --trainer.{limit} is reached." in line
    assert ("a validation, may have been due" in line) == (command is FIT)  # it was written before that
    assert "To train longer, give a larger one" in line
    assert LAST.read_bytes() == before
    assert main([*command, "--trainer.max_epochs=2", "--ckpt_path=last"]) == 0
    assert torch.load(LAST, weights_only=True)["global_step"] == 8
