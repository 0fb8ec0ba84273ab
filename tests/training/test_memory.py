"""Queues and other memories: once per optimizer step, equal on every rank, never sent around."""

import pytest
import torch
from torch import Tensor, nn

from sslbolts import SSLModule
from sslbolts._lightning import lightning_module
from sslbolts.batch import ViewBatch
from sslbolts.distributed import rank
from sslbolts.errors import UsageError
from sslbolts.training.memory import FeatureQueue, Memory, memory_names
from tests.helpers.nets import TinyBackbone
from tests.helpers.trainers import quiet_trainer
from tests.helpers.views import noise_loader
from tests.invariants.cases import case_of


class Remembers(SSLModule):
    """Regresses onto a queue of its own features; the smallest method with a memory."""

    num_views = 2

    def __init__(self, backbone: nn.Module, length: int = 16) -> None:
        super().__init__(backbone, optimizer=torch.optim.SGD, warmup_epochs=0, lr_scaling="none")
        self.queue = FeatureQueue(length, self.num_features)
        self.seen: list[Tensor] = []

    def training_step(self, batch: ViewBatch, batch_idx: int) -> Tensor:
        self.seen.append(self.queue.rows.clone())
        features = self.backbone(batch.views[0])
        self.queue.stage(features)
        return (features @ self.queue.rows.T).square().mean()


def test_queue_keeps_the_newest_rows_and_starts_over_at_its_end():
    queue = FeatureQueue(5, 1)
    for first in (1.0, 4.0):  # 1 2 3, then 4 5 6
        queue.stage(torch.arange(first, first + 3)[:, None])
        queue.commit()
    assert queue.rows.flatten().tolist() == [6.0, 2.0, 3.0, 4.0, 5.0]
    assert queue.pointer.item() == 1


def test_queue_starts_with_random_unit_vectors():
    rows = FeatureQueue(64, 8).rows
    torch.testing.assert_close(rows.norm(dim=1), torch.ones(64))
    assert rows.std(dim=0).min() > 0.1


def test_everything_staged_is_one_update():
    queue = FeatureQueue(4, 1)
    queue.stage(torch.ones(1, 1))
    before = queue.rows.clone()
    queue.stage(torch.full((2, 1), 2.0, requires_grad=True))
    assert torch.equal(queue.rows, before)
    queue.commit()
    assert queue.rows[:3].flatten().tolist() == [1.0, 2.0, 2.0]
    pointer = queue.pointer.clone()
    queue.commit()  # nothing is staged any more
    assert torch.equal(queue.pointer, pointer)


def test_queue_shorter_than_a_step_is_refused():
    queue = FeatureQueue(2, 1)
    queue.stage(torch.ones(3, 1))
    with pytest.raises(UsageError, match="a queue of 2 rows cannot take the 3 of one step"):
        queue.commit()


def test_queue_moves_with_the_optimizer_not_with_every_batch():
    module = Remembers(TinyBackbone())
    quiet_trainer(max_steps=2, accumulate_grad_batches=2).fit(module, noise_loader(32, 8, (8, 8)))
    first, second, third, fourth = module.seen
    assert torch.equal(first, second)
    assert not torch.equal(second, third)
    assert torch.equal(third, fourth)
    assert module.queue.pointer.item() == 0  # 2 steps of 2 batches of 8 rows, in 16 places


class Marks(Remembers):
    """Writes its rank into the queue after the start, where only being sent around would change it."""

    def on_train_start(self) -> None:
        self.seen.append(self.queue.rows.clone())
        self.queue.rows.fill_(self.global_rank)


def _train(world: int) -> list[Tensor]:
    torch.manual_seed(rank())  # every rank makes another queue; that of rank 0 counts
    module = Marks(TinyBackbone())
    quiet_trainer(world=world, max_steps=1).fit(module, noise_loader(8, 8, (8, 8), rank=rank(), world=world))
    return [*module.seen, module.queue.rows]


def test_queue_starts_as_that_of_the_first_rank_and_is_never_sent_again(two_ranks):
    (start, _, end), (other_start, other_step, other_end) = two_ranks(_train, 2)
    assert torch.equal(start, other_start)
    assert (other_step == 1).all()
    assert torch.equal(end[:8], other_end[:8])  # what both staged


def test_names_of_memories_are_those_of_the_state_dict():
    module = Remembers(TinyBackbone())
    assert set(memory_names(module)) == {name for name in module.state_dict() if name.startswith("queue.")}


def test_memory_without_an_update_says_what_to_define():
    memory = Memory()
    memory.stage(torch.ones(1))
    with pytest.raises(NotImplementedError, match=r"Memory must define update"):
        memory.commit()


class _WithNorm(TinyBackbone):
    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(self.num_features)

    def forward(self, x):
        return self.norm(super().forward(x))


@pytest.mark.parametrize(("name", "fixed"), [("MoCo", {"bn_splits": 1}), ("OBoW", {}), ("SwAV", {})])
def test_a_queue_goes_through_the_pass_that_measures_batch_norms_for_averaged_weights(name, fixed):
    case = case_of(name)
    averaging = lightning_module("callbacks").StochasticWeightAveraging(swa_lrs=0.01, swa_epoch_start=1)
    trainer = quiet_trainer(max_epochs=2, callbacks=[averaging])
    method = case.module(_WithNorm, **fixed)
    trainer.fit(method, case.loader())
    assert trainer.current_epoch == 3  # that pass is one more
    assert not any(memory._staged for memory in method.modules() if isinstance(memory, Memory))
