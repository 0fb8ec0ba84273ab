"""The plan of an epoch."""

import pytest
import torch

from sslbolts.data.sampler import EpochSampler, OrderedEpochSampler, even_draws
from sslbolts.errors import UsageError
from sslbolts.training.seeds import generator, mix


def plans(images=20, batch_size=4, seed=3, epoch=0, **settings):
    sampler = EpochSampler(images, batch_size, seed=seed, **settings)
    sampler.set_epoch(epoch)
    return list(sampler)


def rows(plans_):
    return [plan.indices.tolist() for plan in plans_]


def test_an_epoch_holds_every_image_once_in_another_order_each_epoch():
    first, second = plans(epoch=0), plans(epoch=1)
    assert sorted(row for batch in rows(first) for row in batch) == list(range(20))
    assert rows(first) != rows(second)
    assert rows(plans(epoch=1)) == rows(second)
    assert rows(plans(seed=4)) != rows(first)


@pytest.mark.parametrize("world_size", [2, 3])
def test_ranks_share_the_global_batch_of_one_process_in_rank_order(world_size):
    images, per_rank = 26, 4
    alone = plans(images, per_rank * world_size)
    shares = [plans(images, per_rank, rank=rank, world_size=world_size) for rank in range(world_size)]
    for whole, parts in zip(alone, zip(*shares)):
        assert whole.indices.tolist() == torch.cat([part.indices for part in parts]).tolist()


def test_incomplete_batches_are_dropped_or_kept_smaller():
    assert [len(row) for row in rows(plans(11, 4))] == [4, 4]
    assert [len(row) for row in rows(plans(11, 4, drop_last=False))] == [4, 4, 3]


def test_the_last_batch_without_drop_last_is_of_one_size_on_all_ranks_and_holds_every_image():
    shares = [rows(plans(11, 2, drop_last=False, rank=rank, world_size=3)) for rank in range(3)]
    assert [[len(row) for row in share] for share in shares] == [[2, 2]] * 3
    seen = [index for share in shares for row in share for index in row]
    assert set(seen) == set(range(11))
    assert len(seen) == 12  # one image came twice


def test_every_batch_of_every_epoch_and_rank_has_a_seed_of_its_own():
    seeds = [
        plan.seed
        for seed in range(3)
        for epoch in range(5)
        for rank in range(4)
        for plan in plans(100, 5, seed=seed, epoch=epoch, rank=rank, world_size=4)
    ]
    assert len(set(seeds)) == len(seeds) == 3 * 5 * 4 * 5
    assert len({seed & 0xFFFFFFFF for seed in seeds}) == len(seeds)  # what torch's CPU generator takes of them


def test_starting_in_the_middle_gives_the_rest_of_the_epoch():
    sampler = EpochSampler(20, 4, seed=0)
    whole = list(sampler)
    sampler.go_on(done=3, done_in_epoch=3)
    assert rows(sampler) == rows(whole[3:])
    assert [plan.seed for plan in sampler] == [plan.seed for plan in whole[3:]]
    assert len(sampler) == 5


def test_an_epoch_that_was_cut_short_is_taken_up_in_the_next():
    sampler = EpochSampler(20, 4, seed=0)
    stream = [*plans(seed=0, epoch=0), *plans(seed=0, epoch=1)]
    sampler.go_on(done=3, done_in_epoch=0)
    assert [plan.seed for plan in sampler] == [plan.seed for plan in stream[3:8]]
    assert rows(sampler) == rows(stream[3:8])
    sampler.set_epoch(1)
    assert rows(sampler) == rows(stream[5:])


LABELS = torch.tensor([5] * 12 + [1] * 5 + [9] * 2 + [3])  # sizes 12, 5, 2 and 1


def test_labels_are_drawn_equally_often_and_so_are_the_images_of_a_label():
    rows = even_draws(LABELS, generator(0))
    assert len(rows) == len(LABELS)
    assert {label: int((LABELS[rows] == label).sum()) for label in (5, 1, 9, 3)} == dict.fromkeys((5, 1, 9, 3), 5)
    times = rows.bincount(minlength=20)
    for label in (5, 1, 9, 3):
        of_label = times[label == LABELS]
        assert of_label.max() - of_label.min() <= 1
    assert torch.equal(rows, even_draws(LABELS, generator(0)))
    assert not torch.equal(rows, even_draws(LABELS, generator(1)))


def test_draws_that_do_not_divide_differ_by_one_and_every_image_has_its_chance():
    labels = torch.tensor([0] * 8 + [1] * 2 + [2])
    draws = [even_draws(labels, generator(seed)) for seed in range(400)]
    for rows in draws:
        assert sorted(labels[rows].bincount().tolist()) == [3, 4, 4]
    often = torch.cat(draws).bincount(minlength=11) / 400
    expected = torch.tensor([11 / 3 / 8] * 8 + [11 / 3 / 2] * 2 + [11 / 3])
    assert (often - expected).abs().max() < 0.11  # more than four standard deviations
    first = torch.stack([rows[0] for rows in draws])
    assert labels[first].bincount().tolist() == pytest.approx([400 / 3] * 3, abs=45)  # in random order


def test_images_without_a_label_are_not_drawn():
    labels = torch.tensor([-1, 0, 0, -1, 1, 0])
    assert even_draws(labels, generator(0)).sort().values.tolist() in ([1, 2, 4, 4, 4, 5], [1, 2, 5, 4, 4, 4])
    assert even_draws(torch.full((4,), -1), generator(0)).sort().values.tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("world_size", [1, 2])
def test_an_even_epoch_is_shared_among_ranks_and_can_be_taken_up_in_the_middle(world_size):
    epochs = []
    for epoch in (0, 1):
        shares = []
        for rank in range(world_size):
            sampler = EpochSampler(20, 4 // world_size, seed=3, rank=rank, world_size=world_size)
            assert sampler.draw_evenly_over(LABELS)
            sampler.set_epoch(epoch)
            shares.append(rows(sampler))
            sampler.go_on(done=5 * epoch + 2, done_in_epoch=2)
            assert rows(sampler) == shares[-1][2:]
        epochs.append([index for batches in zip(*shares) for batch in batches for index in batch])
    assert all(LABELS[epoch].bincount()[[1, 3, 5, 9]].tolist() == [5] * 4 for epoch in epochs)
    assert epochs[0] != epochs[1]


def test_a_sampler_that_keeps_the_order_says_that_it_does_not_draw_evenly():
    sampler = OrderedEpochSampler(20, 4, seed=0, shuffle=False)
    assert not sampler.draw_evenly_over(LABELS)
    assert [index for batch in rows(sampler) for index in batch] == list(range(20))
    with pytest.raises(UsageError, match="19 labels were given to draw from 20 images"):
        EpochSampler(20, 4, seed=0).draw_evenly_over(LABELS[1:])


def test_fewer_images_than_a_global_batch_names_both_numbers():
    with pytest.raises(UsageError, match=r"100 images.*takes 128 .*batch_size=64 x 2 devices.*batch_size=50 or less"):
        EpochSampler(100, 64, seed=0, world_size=2)
    assert len(EpochSampler(100, 64, seed=0, world_size=2, drop_last=False)) == 1


def test_mix_spreads_neighboring_numbers():
    bits = torch.tensor(
        [[mix(7, number) >> bit & 1 for bit in range(62)] for number in range(2000)], dtype=torch.float64
    )
    assert ((bits.mean(0) - 0.5).abs() < 0.06).all()  # five standard deviations
    changed = (bits[1:] != bits[:-1]).double().mean()
    assert abs(changed - 0.5) < 0.01


def test_generators_of_different_parts_draw_differently():
    draws = {torch.rand(1, generator=generator(0, part)).item() for part in range(50)}
    assert len(draws) == 50


@pytest.mark.parametrize(
    ("images", "batch_size", "world", "last"),
    [(33, 16, 1, 1), (17, 8, 2, 1), (18, 8, 2, 1), (19, 8, 2, 2), (34, 16, 1, 2), (32, 16, 1, 16), (5, 1, 1, 1)],
)
def test_the_last_batch_of_an_epoch(images, batch_size, world, last):
    for rank in range(world):
        settings = {"world_size": world, "rank": rank, "drop_last": False}
        assert len(plans(images, batch_size, **settings)[-1].indices) == last
        assert EpochSampler(images, batch_size, seed=0, **settings).last_batch == last
    assert EpochSampler(40, 16, seed=0, drop_last=True).last_batch == 16
