"""MoCo's keys, queue, teacher and schedule, beyond what holds for every method."""

import copy
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader

from sslbolts import MoCo, UsageError
from sslbolts._lightning import Callback
from sslbolts.distributed import rank
from tests.helpers.nets import TinyBackbone, WithBatchNorm
from tests.helpers.trainers import quiet_trainer
from tests.helpers.views import NoiseViews, noise_loader

SMALL = {"hidden_dim": 8, "output_dim": 8, "queue_length": 16, "lr_scaling": "none"}


class _Watched(TinyBackbone):
    """Keeps the batches that it sees."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[torch.Tensor] = []

    def forward(self, x):
        self.seen.append(x)
        return super().forward(x)


def test_three_steps_are_those_of_the_papers_algorithm():
    method = MoCo(TinyBackbone(), momentum=0.9, temperature=0.3, milestones=(0.6,), **SMALL)
    student = nn.Sequential(copy.deepcopy(method.backbone), copy.deepcopy(method.projector))
    teacher, queue = copy.deepcopy(student), method.queue.rows.clone()
    optimizer = torch.optim.SGD(student.parameters(), lr=0.03, momentum=0.9, weight_decay=1e-4)
    loader = noise_loader(24, 8)
    for step, batch in enumerate(loader):
        optimizer.param_groups[0]["lr"] = 0.03 * 0.1 ** (step == 2)  # the milestone
        q = F.normalize(student(batch.views[0]), dim=1)
        with torch.no_grad():  # the teacher moves before the keys, with the weights from before the step
            for slow, fast in zip(teacher.parameters(), student.parameters()):
                slow.copy_(0.9 * slow + 0.1 * fast)
            k = F.normalize(teacher(batch.views[1]), dim=1)
        logits = torch.cat([(q * k).sum(1, keepdim=True), q @ queue.T], 1) / 0.3
        optimizer.zero_grad()
        F.cross_entropy(logits, torch.zeros(8, dtype=torch.int64)).backward()
        optimizer.step()
        queue = queue.clone()
        queue[(8 * step) % 16 : (8 * step) % 16 + 8] = k

    quiet_trainer(max_epochs=1).fit(method, loader)
    torch.testing.assert_close(method.queue.rows, queue)
    for ours, theirs in zip([*method.backbone.parameters(), *method.projector.parameters()], student.parameters()):
        torch.testing.assert_close(ours, theirs)


def test_keys_are_made_in_another_order_and_come_back_in_their_own():
    method = MoCo(_Watched(), **SMALL)
    x = torch.randn(8, 3, 32, 32)
    keys = method.keys(x, batch_idx=0)
    (seen,) = method.teacher.backbone.seen
    assert not torch.equal(seen, x)
    assert torch.equal(seen.flatten(1).sort(0).values, x.flatten(1).sort(0).values)
    torch.testing.assert_close(keys, F.normalize(method.teacher(x), dim=1))
    assert not keys.requires_grad
    method.keys(x, batch_idx=1)
    assert not torch.equal(method.teacher.backbone.seen[-1], seen), "every batch is shuffled anew"


def _shuffled_over_ranks(x):
    torch.manual_seed(0)
    method = MoCo(_Watched(), **SMALL)
    own = x.chunk(2)[rank()]
    keys = method.keys(own, batch_idx=0)
    from_here = [any(torch.equal(image, mine) for mine in own) for image in method.teacher.backbone.seen[0]]
    torch.testing.assert_close(keys, F.normalize(method.teacher(own), dim=1))
    return from_here


def test_keys_are_shuffled_over_ranks(two_ranks):
    here = two_ranks(_shuffled_over_ranks, torch.randn(16, 3, 16, 16))
    assert all(0 < sum(from_here) < 8 for from_here in here)
    assert sum(map(sum, here)) % 2 == 0  # what one rank keeps the other does not have


def test_symmetric_adds_both_directions_and_queues_both_keys():
    losses = []
    (batch,) = noise_loader(8, 8)
    for symmetric, views in ((False, (0, 1)), (False, (1, 0)), (True, (0, 1))):
        torch.manual_seed(0)
        method = MoCo(TinyBackbone(), symmetric=symmetric, **SMALL)
        before = method.queue.rows.clone()
        method.log = lambda *_, **__: None
        method.trainer = quiet_trainer(max_steps=1)
        losses.append(method.training_step(batch._replace(views=[batch.views[v] for v in views]), 0))
        method.queue.commit()
        changed = (method.queue.rows != before).any(1)
        assert changed.tolist() == [True] * (16 if symmetric else 8) + [False] * (0 if symmetric else 8)
    torch.testing.assert_close(losses[2], losses[0] + losses[1])


def test_one_device_splits_its_batch_norms_while_it_trains():
    network = WithBatchNorm()
    method = MoCo(network, bn_splits=4, **SMALL)
    kinds = []
    step = method.training_step
    method.training_step = lambda *args: kinds.append(type(network.layers[1]).__name__) or step(*args)
    quiet_trainer(max_steps=1).fit(method, noise_loader(8, 8))
    assert kinds == ["_SplitBatchNorm2d"]
    assert type(network.layers[1]) is type(method.teacher.backbone.layers[1]) is nn.BatchNorm2d


class _Synchronizes(Callback):
    """Does, after the module was set up, what sync_batchnorm=True does, which a CPU refuses."""

    def on_fit_start(self, trainer, pl_module):
        nn.SyncBatchNorm.convert_sync_batchnorm(pl_module)


def test_groups_and_synchronized_batch_norms_exclude_each_other():
    method = MoCo(WithBatchNorm(), bn_splits=8, **SMALL)
    with pytest.raises(UsageError, match=r"bn_splits=8 has no effect on synchronized batch norms: pass bn_splits=1"):
        quiet_trainer(max_steps=1, callbacks=[_Synchronizes()]).fit(method, noise_loader(8, 8))


def test_a_last_batch_that_is_smaller_is_queued_like_the_others():
    method = MoCo(TinyBackbone(), bn_splits=1, **SMALL)
    loader = DataLoader(NoiseViews(20), batch_size=8)
    quiet_trainer(max_epochs=1).fit(method, loader)
    assert method.queue.pointer.item() == 20 % 16


def test_all_parameters_are_decayed():
    method = MoCo(WithBatchNorm(), **SMALL)
    trainer = quiet_trainer(max_steps=1)
    trainer.fit(method, noise_loader(8, 8))
    (group,) = trainer.optimizers[0].param_groups
    assert group["weight_decay"] == 1e-4
    assert len(group["params"]) == len(list(method.backbone.parameters())) + 4


@pytest.mark.parametrize(("symmetric", "accumulated", "keys"), [(False, 1, 8), (True, 1, 16), (False, 2, 16)])
def test_a_queue_that_keys_do_not_divide_is_refused(symmetric, accumulated, keys):
    method = MoCo(TinyBackbone(), symmetric=symmetric, **{**SMALL, "queue_length": 20})
    with pytest.raises(UsageError, match=f"queue_length=20 is no multiple of the {keys} keys .* e.g. 16"):
        quiet_trainer(max_steps=1, accumulate_grad_batches=accumulated).fit(method, noise_loader(16, 8))


@pytest.mark.parametrize("arguments", [{"temperature": 0}, {"bn_splits": 0}, {"milestones": (60, 80)}])
def test_wrong_arguments_are_named(arguments):
    with pytest.raises(UsageError, match=next(iter(arguments))):
        MoCo(TinyBackbone(), **arguments)


def test_version_1_divides_its_learning_rate_twice():
    method = MoCo(TinyBackbone(), milestones=(0.6, 0.8), **{**SMALL, "optimizer": partial(torch.optim.SGD, lr=0.5)})
    trainer = quiet_trainer(max_epochs=1)
    trainer.fit(method, noise_loader(8 * 10, 8))
    factor = trainer.lr_scheduler_configs[0].scheduler.lr_lambdas[0]
    assert [factor(step) for step in range(10)] == pytest.approx([1] * 6 + [0.1] * 2 + [0.01] * 2)
