"""What a Trainer makes of batches, epochs, devices and accumulation."""

from collections.abc import Iterator
from typing import Any

import pytest
from torch.utils.data import DataLoader, IterableDataset

from sslbolts import UsageError
from sslbolts._lightning import Callback
from sslbolts.training import facts
from tests.helpers.nets import TinyBackbone
from tests.helpers.trainers import quiet_trainer
from tests.helpers.views import NoiseViews, noise_loader
from tests.methods.toy import Toy


class _Facts(Callback):
    """Asks before the first batch, and ends the run there."""

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        names = ("total_steps", "steps_per_epoch", "per_device_batch_size", "effective_batch_size")
        self.facts = {name: getattr(facts, name)(trainer) for name in names}
        trainer.should_stop = True


def _facts(loader: Any, world: int = 1, **settings: Any) -> dict[str, float]:
    asked = _Facts()
    quiet_trainer(world=world, callbacks=[asked], **settings).fit(Toy(TinyBackbone(), lr_scaling="none"), loader)
    return asked.facts


@pytest.mark.parametrize(
    ("settings", "total", "per_epoch", "effective"),
    [
        ({"max_epochs": 3}, 18, 6, 4),
        ({"max_steps": 7}, 7, 6, 4),
        ({"max_epochs": 2, "max_steps": 7}, 7, 6, 4),
        ({"max_epochs": 3, "accumulate_grad_batches": 4}, 6, 2, 16),  # the last two batches of an epoch step as well
        ({"max_epochs": 3, "limit_train_batches": 2}, 6, 2, 4),
        ({"fast_dev_run": True}, 1, 1, 4),
    ],
)
def test_steps_and_batches_follow_the_trainers_settings(settings, total, per_epoch, effective):
    facts = _facts(noise_loader(24, 4), **settings)
    assert facts == {
        "total_steps": total,
        "steps_per_epoch": per_epoch,
        "per_device_batch_size": 4,
        "effective_batch_size": effective,
    }


def _on_ranks() -> dict[str, float]:
    from sslbolts.distributed import rank

    return _facts(noise_loader(24, 8, rank=rank(), world=2), world=2, max_epochs=3, accumulate_grad_batches=3)


def test_devices_multiply_the_effective_batch(two_ranks):
    expected = {"total_steps": 3, "steps_per_epoch": 1, "per_device_batch_size": 4, "effective_batch_size": 24}
    assert two_ranks(_on_ranks) == [expected, expected]


def test_a_run_without_end_is_refused():
    with pytest.raises(UsageError, match="max_epochs=-1"):
        _facts(noise_loader(8, 4), max_epochs=-1)


class _Stream(IterableDataset):
    def __iter__(self) -> Iterator[Any]:
        return iter(NoiseViews(8))


def test_a_stream_without_length_needs_max_steps():
    with pytest.raises(UsageError, match=r"the training loader has no length, so max_epochs=2.*give .* max_steps"):
        _facts(DataLoader(_Stream(), 4), max_epochs=2)


def test_a_stream_with_max_steps_trains_but_cannot_warm_up_by_epochs():
    trainer = quiet_trainer(max_steps=1)
    trainer.fit(Toy(TinyBackbone(), lr_scaling="none", warmup_epochs=0), DataLoader(_Stream(), 4))
    assert trainer.global_step == 1
    with pytest.raises(UsageError, match="no length"):
        quiet_trainer(max_steps=1).fit(Toy(TinyBackbone(), warmup_epochs=1), DataLoader(_Stream(), 4))


def test_a_loader_that_does_not_tell_its_batch_size_is_named():
    loader = DataLoader([NoiseViews(4)[0]], batch_size=None)
    with pytest.raises(UsageError, match="lr_scaling='none'"):
        quiet_trainer(max_steps=1).fit(Toy(TinyBackbone()), loader)
