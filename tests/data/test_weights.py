"""Images drawn by weights: how often they come, and that it follows seed, epoch and rank alone."""

from itertools import chain

import pytest
import torch

from sslbolts.data import CIFAR10MiniDataModule, DatasetDataModule, StreamDataModule
from sslbolts.data.sampler import EpochSampler, weighted_draws
from sslbolts.data.weights import sampling_weights
from sslbolts.errors import UsageError
from tests.data.helpers import broken_folder, small, write_folder

WEIGHTS = torch.tensor([0.0, 1.0, 2.0, 3.5, 0.25, 0.0, 7.0, 1.0])


def drawn(weights, seed):
    return weighted_draws(weights, torch.Generator().manual_seed(seed)).bincount(minlength=len(weights))


def test_each_image_comes_as_often_as_its_weight_says():
    expected = [8 * weight / sum(WEIGHTS.tolist()) for weight in WEIGHTS.tolist()]
    counts = torch.stack([drawn(WEIGHTS, seed) for seed in range(2000)]).double()
    assert (counts.sum(1) == 8).all()
    for row, share in enumerate(expected):
        assert set(counts[:, row].tolist()) <= {share // 1, -(-share // 1)}  # the whole number below or above
    # A count differs from the one below by 0 or 1, so its mean over 2,000 draws has at most this standard error.
    assert (counts.mean(0) - torch.tensor(expected)).abs().max() < 4 * 0.5 / 2000**0.5


def test_weights_of_classes_are_those_of_a_naive_loop():
    labels, shares = [2, 0, 0, -1, 2, 2, 1], [0.5, 3.0, 1.0]
    loop = [0.0 if label < 0 else shares[label] / labels.count(label) for label in labels]
    assert sampling_weights(shares, torch.tensor(labels), 3).tolist() == pytest.approx(loop)
    even = [0.0 if label < 0 else 1 / labels.count(label) for label in labels]
    assert sampling_weights("balanced", torch.tensor(labels), None).tolist() == pytest.approx(even)
    assert sampling_weights([1, 2, 3, 4, 5, 6, 7], torch.tensor(labels), 3).tolist() == [1, 2, 3, 4, 5, 6, 7]


def test_ranks_share_an_epochs_draws_and_a_resumed_run_goes_on_with_them():
    def plans(world_size, rank, epoch=1, go_on=None):
        sampler = EpochSampler(48, 4, seed=3, world_size=world_size, rank=rank)
        sampler.draw_by(torch.arange(48.0))
        sampler.set_epoch(epoch)
        if go_on is not None:
            sampler.go_on(*go_on)
        return [plan.indices.tolist() for plan in sampler]

    one = plans(1, 0)
    assert one != plans(1, 0, epoch=2)
    together = [a + b for a, b in zip(plans(2, 0), plans(2, 1))]
    assert [*chain(*together)] == [*chain(*one)]
    assert plans(1, 0, go_on=(12 + 5, 5)) == one[5:]


def rows_of_an_epoch(data):
    return torch.cat([plan.indices for plan in data.train_dataloader().sampler])


def test_classes_of_a_folder_come_equally_often(tmp_path):
    write_folder(tmp_path, per_class=9, classes=("cat",))
    write_folder(tmp_path, per_class=3, classes=("dog",))
    data = small(tmp_path, sampling="balanced", batch_size=2)
    assert data.targets("train")[rows_of_an_epoch(data)].bincount().tolist() == [6, 6]
    data = small(tmp_path, sampling=[1, 3], batch_size=2)
    assert data.targets("train")[rows_of_an_epoch(data)].bincount().tolist() == [3, 9]


@pytest.mark.parametrize("in_memory", [False, True])
def test_roots_come_by_their_weights_without_what_is_held_out_or_broken(tmp_path, in_memory):
    roots = [broken_folder(tmp_path / name, good=good, bad=2) for name, good in (("a", 20), ("b", 10))]
    data = small(
        [*map(str, roots)],
        root_weights=[1, 3],
        val_fraction=0.25,
        in_memory=in_memory,
        on_bad_image="skip",
        batch_size=1,
    )
    paths = data.paths("train")
    from_b = [paths[row].startswith(str(tmp_path / "b")) for row in rows_of_an_epoch(data).tolist()]
    assert abs(sum(from_b) - 0.75 * len(paths)) <= 1


ITEMS = [(torch.zeros(3, 8, 8), label) for label in (0, 1, 1, 1)]


class Stream(torch.utils.data.IterableDataset):
    def __iter__(self):
        yield from ITEMS


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda root: small(root, sampling="balancd"), 'sampling="balancd": it is "balanced", or a list'),
        (lambda root: small(root, sampling=[1, -1]), "sampling has the weight -1: weights are finite numbers"),
        (lambda root: small(root, sampling=[0, 0]), "sampling has no weight above 0"),
        (lambda root: small(root, sampling="balanced", labeled_batch_size=1), "give one of them"),
        (lambda root: small(root, sampling=[1] * 3), "sampling has 3 weights: give one for each of 12 .* of 2 classes"),
        (lambda root: small(root, root_weights=[1, 2]), "root_weights has 2 weights for 1 roots"),
        (lambda root: small(root, root_weights=[float("nan")]), "root_weights has the weight nan"),
        (lambda root: small(root, root_weights=[1], sampling="balanced"), "root_weights= and sampling= both say"),
        (lambda root: small(f"{root}/cat", sampling="balanced"), "needs labels, and no training image has one"),
        (lambda root: StreamDataModule(Stream(), epoch_images=4, sampling="balanced"), "sampling= chooses rows"),
    ],
)
def test_weights_that_say_nothing_are_refused(tmp_path, make, message):
    write_folder(tmp_path)
    with pytest.raises(UsageError, match=message):
        make(tmp_path).train_dataloader()


def test_every_datamodule_takes_them():
    data = CIFAR10MiniDataModule(sampling=[1] + [0] * 9, batch_size=100)
    assert data.targets("train")[rows_of_an_epoch(data)].unique().tolist() == [0]
    data = DatasetDataModule(ITEMS, sampling=[0, 0, 0, 1], batch_size=2, num_workers=0)
    assert rows_of_an_epoch(data).tolist() == [3] * 4
