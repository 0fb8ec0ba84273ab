"""The collapse monitor: what it measures, when it warns, what it says."""

import math
import re
import warnings
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sslbolts.callbacks import CollapseMonitor, Indicator
from sslbolts.errors import UsageError
from sslbolts.methods.registry import METHODS, get_method
from sslbolts.readouts import effective_rank, normalized_std
from tests.callbacks.host import Host, metrics, train_loader, trainer


class Collapsing(Host):
    """Its projector gives what the test says."""

    indicators = (Indicator("train/accuracy", meaning="the task is not learned", below=0.2, fixes=("more epochs",)),)

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.projector = nn.Identity()
        self.seen: list[Tensor] = []

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        x, _ = batch
        z = torch.randn(len(x), 32)
        if self.kind == "point":
            z = 1 + 1e-3 * z
        elif self.kind == "line":
            z = z[:, :1] * torch.ones(32) + 1e-3 * z
        elif self.kind == "nan":
            z[0, 0] = torch.nan
        self.seen.append(self.projector(z))
        self.log("train/accuracy", 0.1 if self.kind == "unlearned" else 0.9)
        return super().training_step(batch, batch_idx)


def run(kind: str, **settings: Any) -> tuple[list[str], dict[str, float], Collapsing]:
    host = Collapsing(kind)
    session = trainer(CollapseMonitor(every_n_steps=2, **settings), max_epochs=2)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        session.fit(host, train_loader())
    told = [str(w.message) for w in caught if "Usual fixes" in str(w.message)]
    return told, metrics(session), host


def test_healthy_embeddings_are_measured_in_silence():
    told, values, host = run("healthy")
    assert told == []
    measured = host.seen[10::2]  # the second epoch
    assert values["collapse/std"] == pytest.approx(sum(normalized_std(z).item() for z in measured) / 5, rel=1e-5)
    assert values["collapse/effective_rank"] == pytest.approx(
        sum(effective_rank(z).item() for z in measured) / 5, rel=1e-4
    )
    assert values["collapse/std"] == pytest.approx(1 / math.sqrt(32), rel=0.1)


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        (
            "point",
            r"collapse/std is \d.*evenly spread embeddings would have 0\.177.*Usual fixes: a smaller learning rate",
        ),
        ("line", r"collapse/effective_rank is 1.*very few of 16 directions.*Usual fixes: stronger"),
        ("nan", r"finite values of projector is 0\.998.*diverged.*bf16-mixed"),
        ("unlearned", r"train/accuracy is 0\.1 at step 5: the task is not learned\. Usual fixes: more epochs\."),
    ],
)
def test_each_illness_is_told_once_with_value_meaning_and_fixes(kind, says):
    told, _, _ = run(kind)
    assert len(told) == 1
    assert re.search(says, told[0])


SIGNS = [(name, sign) for name in METHODS for sign in get_method(name).indicators]


@pytest.mark.parametrize(("name", "sign"), SIGNS, ids=[f"{name}-{sign.metric}" for name, sign in SIGNS])
def test_every_sign_that_a_method_names_is_told_once_while_its_others_are_well(name, sign):
    class Ill(Host):
        indicators = get_method(name).indicators

        def training_step(self, batch: Any, batch_idx: int) -> Tensor:
            self.log(sign.metric, sign.above + 1 if sign.below is None else sign.below - 1)
            return super().training_step(batch, batch_idx)

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        trainer(CollapseMonitor("encoder", every_n_steps=1), max_epochs=1).fit(Ill(), train_loader())
    assert [sign.meaning in str(w.message) for w in caught if "Usual fixes" in str(w.message)] == [True]


def test_another_run_is_told_again():
    monitor = CollapseMonitor(every_n_steps=2)
    for _ in range(2):
        with pytest.warns(UserWarning, match="collapse/std is"):
            trainer(monitor, max_epochs=1).fit(Collapsing("point"), train_loader())


def test_patience():
    assert len(run("point", patience=10)[0]) == 1
    assert run("point", patience=11)[0] == []


def test_bad_measurements_must_follow_each_other():
    """Two of three batches are bad, and never three in a row."""

    class Unsteady(Host):
        indicators = Collapsing.indicators

        def training_step(self, batch: Any, batch_idx: int) -> Tensor:
            self.log("train/accuracy", 0.1 if batch_idx % 3 else 0.9)
            return super().training_step(batch, batch_idx)

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        trainer(CollapseMonitor("encoder", every_n_steps=1, patience=3), max_epochs=2).fit(Unsteady(), train_loader())
    assert [w for w in caught if "Usual fixes" in str(w.message)] == []


def test_what_to_look_at_is_found_or_asked_for():
    with pytest.raises(UsageError, match=r"no projector and no backbone.* encoder, classifier"):
        trainer(CollapseMonitor(), max_epochs=1).fit(Host(), train_loader())
    with pytest.raises(UsageError, match=r'"encodr".*Did you mean "encoder"'):
        trainer(CollapseMonitor("encodr"), max_epochs=1).fit(Host(), train_loader())
    host = Collapsing("healthy")
    host.spare = nn.Identity()
    with pytest.warns(UserWarning, match='no training step of an epoch ran "spare"'):
        trainer(CollapseMonitor("spare"), max_epochs=1).fit(host, train_loader())
    two = [CollapseMonitor("encoder"), CollapseMonitor("classifier")]
    with pytest.raises(UsageError, match='would log "collapse/std": give them names'):
        trainer(*two, max_epochs=1).fit(host, train_loader())


def test_two_monitors_log_under_their_names_and_tell_the_modules_own_signs_once():
    torch.manual_seed(0)
    two = CollapseMonitor("encoder", every_n_steps=1), CollapseMonitor(every_n_steps=1, name="z")
    session, host = trainer(*two, max_epochs=1), Collapsing("unlearned")
    with pytest.warns(UserWarning, match="not learned") as caught:
        session.fit(host, train_loader())
    assert sum("the task is not learned" in str(w.message) for w in caught) == 1
    of_projector = sum(normalized_std(z).item() for z in host.seen) / len(host.seen)
    assert metrics(session)["z/collapse/std"] == pytest.approx(of_projector, rel=1e-5)
    assert metrics(session)["collapse/std"] != metrics(session)["z/collapse/std"]


def test_the_module_may_name_what_to_look_at():
    host = Collapsing("healthy")
    host.embedding = "encoder"
    trainer(CollapseMonitor(every_n_steps=2), max_epochs=1).fit(host, train_loader())
    host.embedding = "spare"
    with pytest.raises(UsageError, match='"spare"'):
        trainer(CollapseMonitor(), max_epochs=1).fit(host, train_loader())


@pytest.mark.parametrize("arguments", [{"every_n_steps": 0}, {"patience": 0}, {"min_std": 1.0}, {"min_rank": -0.1}])
def test_wrong_arguments_are_named(arguments):
    with pytest.raises(UsageError, match=next(iter(arguments))):
        CollapseMonitor(**arguments)


def test_of_an_epoch_without_a_finite_embedding_no_value_is_compared():
    class Diverging(Host):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            if self.current_epoch:
                nn.init.constant_(self.encoder[1].bias, float("nan"))
            return super().training_step(batch, batch_idx)

    run = trainer(CollapseMonitor("encoder", every_n_steps=1), max_epochs=2)
    with pytest.warns(UserWarning, match="diverged"):
        run.fit(Diverging(), train_loader())
    assert not [name for name in run.callback_metrics if name.startswith("collapse/")]
