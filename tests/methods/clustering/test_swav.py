"""What makes SwAV SwAV."""

import math
from functools import partial

import pytest
import torch
import torch.nn.functional as F

from sslbolts import SwAV, UsageError
from sslbolts._lightning import Callback
from sslbolts.distributed import rank
from sslbolts.losses import sinkhorn, swapped_prediction
from sslbolts.methods.clustering.swav import CodeQueue, _perplexity
from tests.golden.reference import architectures
from tests.helpers.nets import TinyBackbone
from tests.helpers.trainers import Recorder, quiet_trainer
from tests.helpers.views import noise_loader

SIZES = (32, 32, 16, 16)


def _method(**arguments):
    chosen = {"hidden_dim": 16, "output_dim": 8, "num_prototypes": 6, "freeze_prototypes_steps": 0, **arguments}
    return SwAV(TinyBackbone(), **{"lr_scaling": "none", "warmup_epochs": 0, **chosen})


def test_head_and_prototypes_have_the_parameters_of_the_official_ones():
    with torch.device("meta"):
        method = SwAV("torchvision/resnet50")
    reference = architectures()["swav_rn50"]
    for name, module in (("head", method.projector), ("prototypes", method.prototypes), ("all", method)):
        assert sum(p.numel() for p in module.parameters()) == reference[name]["total"]
        assert sum(p.numel() for p in module.parameters() if p.requires_grad) == reference[name]["trainable"]


class _Prototypes(Callback):
    """The prototypes that every batch sees."""

    def __init__(self):
        self.seen = []

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self.seen.append(pl_module.prototypes.weight.detach().clone())


def test_prototypes_stand_still_at_first_decay_included_and_have_length_one():
    watcher = _Prototypes()
    optimizer = partial(torch.optim.SGD, lr=0.5, momentum=0.9, weight_decay=0.1)
    method = _method(freeze_prototypes_steps=2, optimizer=optimizer)
    quiet_trainer(max_steps=4, callbacks=[watcher]).fit(method, noise_loader(32, 8, SIZES))
    first, second, third, fourth = watcher.seen
    assert torch.equal(first, second)
    assert torch.equal(first, third)
    assert not torch.equal(third, fourth)
    torch.testing.assert_close(fourth.norm(dim=1), torch.ones(6))


def test_batches_that_accumulate_see_the_same_prototypes():
    watcher = _Prototypes()
    optimizer = partial(torch.optim.SGD, lr=0.5)
    trainer = quiet_trainer(max_steps=2, accumulate_grad_batches=2, callbacks=[watcher])
    trainer.fit(_method(optimizer=optimizer), noise_loader(32, 8, SIZES))
    assert torch.equal(watcher.seen[0], watcher.seen[1])
    assert torch.equal(watcher.seen[2], watcher.seen[3])
    assert not torch.equal(watcher.seen[1], watcher.seen[2])


def _embeddings(method, views):
    features = torch.cat([method.backbone(view) for view in views])
    return F.normalize(method.projector.train()(features).detach(), dim=1).chunk(len(views))


def test_every_crop_predicts_the_codes_of_the_large_ones():
    method, recorder = _method(), Recorder()
    loader = noise_loader(8, 8, SIZES)
    scores = [z @ method.prototypes.weight.detach().T for z in _embeddings(method, next(iter(loader)).views)]
    expected = swapped_prediction(scores, [sinkhorn(score) for score in scores[:2]])
    quiet_trainer(max_steps=1, callbacks=[recorder]).fit(method, loader)
    torch.testing.assert_close(recorder.losses[0], expected, rtol=1e-4, atol=1e-5)


def test_a_full_queue_joins_the_codes_of_its_view_and_a_filling_one_does_not():
    frozen = partial(torch.optim.SGD, lr=0.0)
    method, recorder = _method(queue_length=16, queue_from_epoch=0, optimizer=frozen), Recorder()
    method.eval()
    for module in method.modules():  # embeddings that do not depend on the other images
        module.train = lambda mode=True: None
    loader = noise_loader(24, 8, SIZES)
    weight = method.prototypes.weight.detach().T
    batches = [_scores_of(method, batch.views, weight) for batch in loader]
    quiet_trainer(max_steps=3, callbacks=[recorder]).fit(method, loader)
    alone = [swapped_prediction(s, [sinkhorn(s[0]), sinkhorn(s[1])]) for s in batches]
    together = [sinkhorn(torch.cat([s[view] for s in batches]))[-8:] for view in (0, 1)]
    expected = [alone[0], alone[1], swapped_prediction(batches[2], together)]
    torch.testing.assert_close(torch.stack(recorder.losses), torch.stack(expected), rtol=1e-4, atol=1e-5)


def _scores_of(method, views, weight):
    with torch.no_grad():
        features = torch.cat([method.backbone(view) for view in views])
        return list((F.normalize(method.projector(features), dim=1) @ weight).chunk(len(views)))


def test_the_queue_waits_for_its_epoch_and_knows_after_loading_whether_it_is_full():
    method = _method(queue_length=32, queue_from_epoch=1)
    quiet_trainer(max_epochs=1).fit(method, noise_loader(32, 8, SIZES))
    assert method.queue.pushed == 0
    quiet_trainer(max_epochs=2).fit(method, noise_loader(32, 8, SIZES))
    assert method.queue.pushed == 32
    assert method.queue.is_full
    again = CodeQueue(32, 2, 8)
    again.load_state_dict(method.queue.state_dict())
    assert not again.is_full
    again.count()
    assert again.is_full  # of its 32 rows 32 were written
    again.pushed.fill_(31)
    again.count()
    assert not again.is_full


def test_every_parameter_is_adapted_and_decayed_alike():
    (group,) = _method().parameter_groups()
    assert "weight_decay" not in group
    assert len(group["params"]) == len(list(_method().parameters()))


def test_perplexity_counts_the_prototypes_that_are_nearest():
    assert _perplexity(torch.eye(6)).item() == pytest.approx(6)
    assert _perplexity(torch.eye(6)[[0, 1, 2, 0, 1, 2]]).item() == pytest.approx(3)
    uneven = torch.eye(6)[[0, 0, 0, 4]]  # the entropy of (3/4, 1/4)
    assert _perplexity(uneven).item() == pytest.approx(math.exp(0.75 * math.log(4 / 3) + 0.25 * math.log(4)))


def test_embeddings_that_are_one_point_have_perplexity_one():
    z = F.normalize(torch.randn(1, 128) + 1e-4 * torch.randn(64, 128), dim=1)
    prototypes = F.normalize(torch.randn(3000, 128), dim=1)
    assert _perplexity(z @ prototypes.T).item() == pytest.approx(1)
    assert SwAV.indicators[1].is_bad(1.0)


def _perplexity_on_ranks():
    return _perplexity(torch.eye(6)[[0, 1]] if rank() == 0 else torch.eye(6)[[1, 2]])


def test_perplexity_is_that_of_the_images_of_all_ranks(two_ranks):
    expected = math.exp(0.5 * math.log(4) + 0.5 * math.log(2))  # shares 1/4, 1/2, 1/4
    for found in two_ranks(_perplexity_on_ranks):
        assert found.item() == pytest.approx(expected)


class _Logged(Callback):
    """The steps in which a value was logged."""

    def __init__(self, metric):
        self.metric, self.steps = metric, []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        if self.metric in trainer.callback_metrics:
            self.steps.append(trainer.global_step - 1)


def test_the_loss_of_guessing_is_watched():
    trainer = quiet_trainer(max_epochs=2)
    trainer.fit(_method(), noise_loader(8, 8, SIZES))
    values = trainer.callback_metrics
    assert values["train/loss_over_guessing"].item() == pytest.approx(values["train/loss"].item() / math.log(6))
    assert SwAV.indicators[0].is_bad(1.0)


@pytest.mark.parametrize(
    ("arguments", "first"),
    [({}, 2), ({"freeze_prototypes_steps": 3}, 3), ({"warmup_epochs": 2}, 4), ({"warmup_epochs": 1.5}, 4)],
)
def test_a_start_that_only_guesses_is_not_reported(arguments, first):
    logged = _Logged("train/loss_over_guessing")
    quiet_trainer(max_steps=6, callbacks=[logged]).fit(_method(**arguments), noise_loader(16, 8, SIZES))
    assert logged.steps == list(range(first, 6))


def test_wrong_arguments_are_named():
    for arguments, words in (
        ({"epsilon": 0}, "epsilon=0"),
        ({"temperature": float("nan")}, "temperature=nan: it must be finite"),
        ({"num_prototypes": 1}, "num_prototypes=1: it must be a whole number of at least 2"),
        ({"queue_length": -1}, "queue_length=-1"),
        ({"queue_from_epoch": -3}, "queue_from_epoch=-3"),
        ({"freeze_prototypes_steps": 0.5}, "freeze_prototypes_steps=0.5"),
        ({"final_lr": 2}, "final_lr=2"),
    ):
        with pytest.raises(UsageError, match=words):
            _method(**arguments)
    with pytest.raises(UsageError, match="a batch of 1 views"):
        quiet_trainer(max_steps=1).fit(_method(), noise_loader(8, 8, (32,)))
    with pytest.raises(UsageError, match="a queue of 4 rows cannot take the 8"):
        quiet_trainer(max_steps=1).fit(_method(queue_length=4, queue_from_epoch=0), noise_loader(8, 8, SIZES))
