"""The plan of an epoch."""

import pytest
import torch

from sslbolts.data.sampler import EpochSampler
from sslbolts.errors import UsageError
from sslbolts.seeds import generator, mix


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


def test_fewer_images_than_a_global_batch_names_both_numbers():
    with pytest.raises(UsageError, match=r"100 images.*takes 128 .*batch_size=64 x 2 devices.*batch_size=50 or less"):
        EpochSampler(100, 64, seed=0, world_size=2)
    assert len(EpochSampler(100, 64, seed=0, world_size=2, drop_last=False)) == 1


def test_mix_spreads_neighbouring_numbers():
    bits = torch.tensor(
        [[mix(7, number) >> bit & 1 for bit in range(62)] for number in range(2000)], dtype=torch.float64
    )
    assert ((bits.mean(0) - 0.5).abs() < 0.06).all()  # five standard deviations
    changed = (bits[1:] != bits[:-1]).double().mean()
    assert abs(changed - 0.5) < 0.01


def test_generators_of_different_parts_draw_differently():
    draws = {torch.rand(1, generator=generator(0, part)).item() for part in range(50)}
    assert len(draws) == 50
