"""Batches of labeled and unlabeled images: how many, which, and in what order."""

import pytest
import torch

from sslbolts.data import CIFAR10MiniDataModule
from sslbolts.data.mixed_sampler import MixedSampler
from sslbolts.errors import UsageError
from sslbolts.evaluation.few_label import few_label_rows, write_rows
from tests.helpers.trainers import quiet_trainer

LABELS = torch.full((50,), -1)
LABELS[[3, 11, 20, 21, 40]] = torch.tensor([0, 1, 0, 1, 2])
FEW = {3, 11, 20, 21, 40}


def plans(labels=LABELS, batch_size=8, labeled=3, seed=3, epoch=0, **settings):
    sampler = MixedSampler(labels, batch_size, labeled=labeled, seed=seed, **settings)
    sampler.set_epoch(epoch)
    return [plan.indices.tolist() for plan in sampler]


def mini(**settings):
    return CIFAR10MiniDataModule(**{"batch_size": 1000, "num_workers": 0, "seed": 3, "image_size": 32, **settings})


def test_every_batch_begins_with_labeled_images_and_an_epoch_has_each_unlabeled_one_once():
    batches = plans()
    assert [len(batch) for batch in batches] == [8] * 9  # 45 unlabeled images, five in each
    assert all(set(batch[:3]) <= FEW and not set(batch[3:]) & FEW for batch in batches)
    unlabeled = [row for batch in batches for row in batch[3:]]
    assert sorted(unlabeled) == sorted(set(range(50)) - FEW)
    assert unlabeled != [row for batch in plans(epoch=1) for row in batch[3:]]
    assert batches == plans()
    assert batches != plans(seed=4)


def test_labeled_images_come_equally_often_over_epochs():
    sampler = MixedSampler(LABELS, 8, labeled=3, seed=0)
    stream = []
    for epoch in range(5):  # 135 places, 27 for each
        sampler.set_epoch(epoch)
        stream += [row for plan in sampler for row in plan.indices[:3].tolist()]
    turns = [stream[start : start + 5] for start in range(0, 135, 5)]
    assert all(set(turn) == FEW for turn in turns)
    assert len({tuple(turn) for turn in turns}) > 10


def test_more_labeled_places_than_labeled_images_repeat_them():
    assert all(set(batch[:12]) == FEW for batch in plans(batch_size=14, labeled=12))


def test_a_global_batch_may_have_more_places_than_there_are_images():
    labels = torch.tensor([0, -1, -1, -1])
    batches = [plans(labels, batch_size=3, labeled=2, rank=rank, world_size=2) for rank in range(2)]
    assert [batch[:2] for batch, *_ in batches] == [[0, 0], [0, 0]]
    assert len({batch[2] for batch, *_ in batches}) == 2


@pytest.mark.parametrize("world_size", [2, 3])
def test_ranks_share_the_images_of_one_process(world_size):
    alone = plans(batch_size=4 * world_size, labeled=2 * world_size)
    shares = [plans(batch_size=4, labeled=2, rank=rank, world_size=world_size) for rank in range(world_size)]
    for whole, parts in zip(alone, zip(*shares, strict=True), strict=True):
        assert whole == [row for part in parts for row in part[:2]] + [row for part in parts for row in part[2:]]


def test_a_run_goes_on_in_the_middle_of_an_epoch():
    sampler = MixedSampler(LABELS, 8, labeled=3, seed=3)
    sampler.go_on(9 + 4, 4)
    assert [plan.indices.tolist() for plan in sampler] == plans(epoch=1)[4:]


def test_batches_of_a_datamodule_hold_labels_at_their_beginning():
    data = mini(labels_fraction=0.02, labeled_batch_size=200)
    batch = data.on_after_batch_transfer(next(iter(data.train_dataloader())), 0)
    assert (batch.targets[:200] >= 0).all()
    assert (batch.targets[200:] == -1).all()
    assert torch.equal(batch.targets[:200], data.images("train").targets[batch.indices[:200]])
    assert len(set(batch.indices[:200].tolist())) == 100  # each of them twice
    assert len(data.train_dataloader()) == 4900 // 800


def test_a_share_and_a_list_are_those_of_the_protocols(tmp_path):
    targets = mini().targets("train")
    rows = few_label_rows(targets, fraction=0.01, seed=3)
    listed = write_rows(tmp_path / "rows.txt", rows, what="1 %", seed=3)
    for few in ({"labels_fraction": 0.01}, {"labels_rows": str(listed)}, {"labels_rows": rows.tolist()}):
        kept = mini(**few).targets("train")
        assert torch.equal((kept >= 0).nonzero().squeeze(1), rows), few
        assert torch.equal(kept[rows], targets[rows])


def test_other_images_keep_every_label_and_an_epoch_of_all():
    data = mini(labels_fraction=0.1, labeled_batch_size=10)
    other = data.with_images(train=data.images("test"))
    assert (other.targets("train") >= 0).all()
    assert len(other.train_dataloader()) == len(data.images("test")) // 1000


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"labels_fraction": 0.0}, r"labels_fraction=0.0: it is a share of every class, in \(0, 1\]"),
        ({"labels_fraction": 0.1, "labels_per_class": 3}, "labels_per_class=3, labels_fraction=0.1: each says"),
        ({"labeled_batch_size": 0}, "labeled_batch_size=0: it must be a whole number of at least 1"),
        ({"labeled_batch_size": 1000}, "leaves no place for unlabeled images"),
        ({"labeled_batch_size": 10, "drop_last": False}, "leave drop_last=False out"),
    ],
)
def test_a_wrong_argument_is_one_clear_line(settings, message):
    with pytest.raises(UsageError, match=message) as error:
        mini(**settings)
    assert "\n" not in str(error.value)


def test_what_the_images_do_not_allow_is_named(tmp_path):
    with pytest.raises(UsageError, match="places in a batch for unlabeled images, and 0 of 5,000"):
        mini(labeled_batch_size=10).train_dataloader()
    with pytest.raises(UsageError, match="row 5000 is no labeled training image of 5,000"):
        mini(labels_rows=[3, 5000]).targets("train")
    with pytest.raises(UsageError, match=r'there is no file ".*nowhere\.txt" of rows'):
        mini(labels_rows=str(tmp_path / "nowhere.txt")).targets("train")
    with pytest.raises(UsageError, match="none of the 50 training images is labeled"):
        plans(labels=torch.full((50,), -1))
    data = mini(labels_fraction=0.1, labeled_batch_size=10)
    data.trainer = quiet_trainer(overfit_batches=2)
    with pytest.raises(UsageError, match="no fixed first batches to overfit"):
        data.train_dataloader()
