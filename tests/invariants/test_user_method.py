"""A method of the user's own, put into the registry, gets every invariant without a test of its own."""

import sys
from dataclasses import replace

import pytest

import sslbolts
from sslbolts.callbacks import Indicator
from sslbolts.methods.registry import METHODS, Method
from sslbolts.training.memory import FeatureQueue, forget_staged
from tests.invariants import checks, toy_vicreg, waiting
from tests.invariants.cases import MethodCase, case_of


@pytest.fixture
def case(monkeypatch) -> MethodCase:
    monkeypatch.setitem(sys.modules, "sslbolts.methods.decorrelation_toy", toy_vicreg)
    line = Method("decorrelation_toy", views="byol", needs="nothing", paper="none", published="none")
    monkeypatch.setitem(METHODS, "ToyVICReg", line)
    return case_of("ToyVICReg")


def test_it_is_found_by_name_and_made_small(case):
    assert sslbolts.methods.get_method("ToyVICReg") is toy_vicreg.ToyVICReg
    assert case.module().expander[-1].out_features == 16


def test_it_passes_every_invariant(case, tmp_path, two_ranks):
    checks.two_processes_equal_one(case, two_ranks)
    checks.slow_state_moves_once_per_optimizer_step(case)
    watched = checks.watched_run(case, tmp_path)
    checks.indicators_are_logged(case, watched)
    checks.resumed_run_is_the_uninterrupted_one(case, watched)
    checks.monitors_change_no_bit(case, watched)
    checks.evaluation_on_two_processes_is_that_on_one(case, watched, two_ranks)
    checks.backbone_is_exported_exactly(case, tmp_path)
    eager = checks.losses_of_two_steps(case)
    checks.half_precision_is_finite(case, eager)
    checks.compiled_backbone_has_the_same_loss(case, eager, "eager")
    waiting.step_never_waits_for_the_device(case)


class _NotGathered(toy_vicreg.ToyVICReg):
    """Looks at this rank's rows only."""

    def training_step(self, batch, batch_idx):
        z1, z2 = self.expander(self.embed(batch.views)).chunk(2)
        self.pending = z1.detach().mean(0).to(self.mean_embedding.dtype)
        return (z1 - z2).square().mean() + toy_vicreg._spread_and_redundancy(z1)


class _MovesTooOften(toy_vicreg.ToyVICReg):
    """Updates its buffer in every batch."""

    def training_step(self, batch, batch_idx):
        loss = super().training_step(batch, batch_idx)
        self.mean_embedding += 1
        return loss


class _ForgetsRows(toy_vicreg.ToyVICReg):
    """Has a queue that never takes what it is given."""

    def __init__(self, *args, **arguments):
        super().__init__(*args, **arguments)
        self.queue = FeatureQueue(8, 1)

    def training_step(self, batch, batch_idx):
        self.queue.stage(batch.views[0].flatten(1)[:, :1])
        return super().training_step(batch, batch_idx)

    def on_before_optimizer_step(self, optimizer):
        super().on_before_optimizer_step(optimizer)
        forget_staged(self)


class _SaysNothing(toy_vicreg.ToyVICReg):
    """Names an indicator that it does not log."""

    indicators = (Indicator("train/health", meaning="ill", below=0.5),)


class _Waits(toy_vicreg.ToyVICReg):
    """Looks at its loss."""

    def training_step(self, batch, batch_idx):
        loss = super().training_step(batch, batch_idx)
        return loss if loss > 0 else -loss


class _WaitsAfterwards(toy_vicreg.ToyVICReg):
    """Looks at its gradients, outside of the training step."""

    def on_before_optimizer_step(self, optimizer):
        super().on_before_optimizer_step(optimizer)
        if next(self.backbone.parameters()).grad.norm() > 1e9:
            raise AssertionError("diverged")


class _Forgets(toy_vicreg.ToyVICReg):
    """Keeps state outside of the state dict."""

    def training_step(self, batch, batch_idx):
        self.steps = getattr(self, "steps", 0) + 1
        return super().training_step(batch, batch_idx) * self.steps


def test_each_invariant_catches_its_fault(case, tmp_path, two_ranks):
    with pytest.raises(AssertionError):
        checks.two_processes_equal_one(replace(case, method=_NotGathered), two_ranks)
    with pytest.raises(AssertionError):
        checks.slow_state_moves_once_per_optimizer_step(replace(case, method=_MovesTooOften))
    with pytest.raises(AssertionError, match="queue does not take what was staged"):
        checks.slow_state_moves_once_per_optimizer_step(replace(case, method=_ForgetsRows))
    silent, forgetful = (replace(case, method=method) for method in (_SaysNothing, _Forgets))
    with pytest.raises(AssertionError, match="train/health"):
        checks.indicators_are_logged(silent, checks.watched_run(silent, tmp_path / "silent"))
    with pytest.raises(AssertionError, match=r"waits for the device|to the host"):
        waiting.step_never_waits_for_the_device(replace(case, method=_Waits))
    with pytest.raises(AssertionError, match=r"waits for the device|to the host"):
        waiting.step_never_waits_for_the_device(replace(case, method=_WaitsAfterwards))
    with pytest.raises(AssertionError):
        checks.resumed_run_is_the_uninterrupted_one(forgetful, checks.watched_run(forgetful, tmp_path / "forgetful"))
