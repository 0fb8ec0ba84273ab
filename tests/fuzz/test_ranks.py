"""What ranks share: batches, frames, random numbers and rows, put together from any number of them."""

import contextlib
from collections import Counter
from collections.abc import Iterator

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from sslbolts.data.frame_sampler import Clips, FrameSampler, FrameSampling
from sslbolts.data.labels import keep_labels, keep_share
from sslbolts.data.mixed_sampler import MixedSampler
from sslbolts.data.sampler import EpochSampler, even_draws
from sslbolts.errors import UsageError
from sslbolts.readouts import kmeans as kmeans_module
from sslbolts.training import shared_draws
from sslbolts.training.seeds import mix
from sslbolts.training.stratified import stratified
from tests.fuzz.drawn import labels, rows, seeds

worlds = st.integers(1, 7)
epochs = st.integers(0, 3)


def _plans(sampler: EpochSampler, epoch: int) -> list[torch.Tensor]:
    sampler.set_epoch(epoch)
    plans = list(sampler)
    assert len(plans) == len(sampler)
    return [plan.indices for plan in plans]


@given(st.integers(1, 60), st.integers(1, 9), worlds, st.booleans(), st.booleans(), epochs, seeds)
def test_an_epoch_has_each_image_once_over_ranks(images, batch, world, drop_last, shuffle, epoch, seed):
    chosen = {"seed": seed, "world_size": world, "shuffle": shuffle, "drop_last": drop_last}
    if drop_last and images < batch * world:
        with pytest.raises(UsageError, match=f"{images:,} images.*{batch * world:,}"):
            EpochSampler(images, batch, **chosen)
        return
    of_ranks = [_plans(EpochSampler(images, batch, rank=rank, **chosen), epoch) for rank in range(world)]
    seen = Counter(int(row) for plans in of_ranks for plan in plans for row in plan)
    assert set(seen) <= set(range(images))
    if drop_last:
        assert max(seen.values()) == 1
        assert len(seen) == images // (batch * world) * batch * world
    else:
        assert len(seen) == images
        assert sum(seen.values()) - images < world
    for together in zip(*of_ranks, strict=True):
        assert len({len(plan) for plan in together}) == 1
    assert [len(plan) for plan in of_ranks[0]][:-1] == [batch] * (len(of_ranks[0]) - 1)
    assert len(of_ranks[0][-1]) == EpochSampler(images, batch, **chosen).last_batch
    joined = [torch.cat(together) for together in zip(*of_ranks, strict=True)]
    if images % (batch * world) == 0:  # the global batches are those of one process
        alone = _plans(EpochSampler(images, batch * world, seed=seed, shuffle=shuffle, drop_last=drop_last), epoch)
        assert all(map(torch.equal, joined, alone))


@given(st.integers(1, 30), st.integers(1, 5), worlds, epochs, st.integers(0, 40), seeds)
def test_a_resumed_epoch_goes_on_where_it_was(images, batch, world, epoch, done, seed):
    sampler = EpochSampler(images, batch, seed=seed, rank=seed % world, world_size=world, drop_last=False)
    sampler.set_epoch(epoch)
    whole = list(sampler)
    done %= len(sampler)
    sampler.go_on(epoch * len(sampler) + done, done)
    rest = list(sampler)
    assert [plan.seed for plan in rest] == [plan.seed for plan in whole[done:]]
    assert all(torch.equal(ours.indices, theirs.indices) for ours, theirs in zip(rest, whole[done:], strict=True))


@given(st.integers(1, 40), st.integers(1, 6), st.floats(0, 1), st.integers(1, 6), worlds, epochs, seeds)
def test_mixed_batches(images, batch, share, labeled, world, epoch, seed):
    drawn = torch.Generator().manual_seed(seed)
    given_labels = torch.where(torch.rand(images, generator=drawn) < share, torch.arange(images) % 3, -1)
    try:
        samplers = [
            MixedSampler(given_labels, batch, labeled=labeled, seed=seed, rank=rank, world_size=world)
            for rank in range(world)
        ]
    except UsageError as error:
        assert "labeled_batch_size" in str(error)
        assert labeled >= batch or not (given_labels >= 0).any() or (given_labels < 0).sum() < (batch - labeled) * world
        return
    of_ranks = [_plans(sampler, epoch) for sampler in samplers]
    seen: Counter[int] = Counter()
    stream: list[int] = []
    for together in zip(*of_ranks, strict=True):
        for plan in together:
            assert len(plan) == batch
            assert (given_labels[plan[:labeled]] >= 0).all()
            assert (given_labels[plan[labeled:]] < 0).all()
            seen.update(plan[labeled:].tolist())
            stream += plan[:labeled].tolist()
    assert max(seen.values()) == 1
    count = Counter(stream)
    known = int((given_labels >= 0).sum())
    assert max(count.values()) - (min(count.values()) if len(count) == known else 0) <= 2


@st.composite
def _clips(draw):
    views = draw(st.lists(st.integers(1, 3), min_size=1, max_size=5))
    lengths = [draw(st.integers(1, 12)) for count in views for _ in range(count)]
    return Clips(torch.tensor(lengths), torch.arange(len(views)).repeat_interleave(torch.tensor(views)))


@given(_clips(), st.integers(1, 6), st.integers(1, 4), st.sampled_from(["none", "views", "times"]), st.integers(1, 3),
       worlds, st.booleans(), seeds)  # fmt: skip
def test_frames_of_a_batch(clips, rows_, per_sequence, pairs, times, world, drop_last, seed):
    settings = {"time_window": times + 1} if pairs == "views" else {"lag": times} if pairs == "times" else {}
    chosen = {"seed": seed, "world_size": world, "drop_last": drop_last}
    try:
        sampling = FrameSampling(rows_, rows_per_sequence=per_sequence, pairs=pairs, **settings)
        samplers = [FrameSampler(clips, sampling, rank=rank, **chosen) for rank in range(world)]
    except UsageError as error:
        assert str(error)
        return
    places = clips.places()
    clip_of = torch.repeat_interleave(torch.arange(len(clips.lengths)), clips.lengths)
    for together in zip(*(_plans(sampler, 1) for sampler in samplers), strict=True):
        sequences = [places.sequences[plan].unique().tolist() for plan in together]
        if drop_last:  # those of a global batch are different ones
            assert len({row for rows_of in sequences for row in rows_of}) == sum(map(len, sequences))
        for plan in together:
            assert len(plan) == rows_ * (1 if pairs == "none" else 2)
            if pairs == "none":
                windows = plan.view(-1, per_sequence)
                assert (windows.diff() == 1).all()
                assert (clip_of[windows] == clip_of[windows[:, :1]]).all()
                continue
            anchor, positive = plan.chunk(2)
            assert torch.equal(places.sequences[anchor], places.sequences[positive])
            apart = places.times[positive] - places.times[anchor]
            same_clip = clip_of[anchor] == clip_of[positive]
            assert (apart == (times if pairs == "times" else 0)).all()
            assert (same_clip == (pairs == "times")).all()


@contextlib.contextmanager
def _as_rank(module: object, rank: int, world: int) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "rank", lambda: rank)
        patch.setattr(module, "world_size", lambda: world)
        yield


@given(st.integers(1, 5), st.integers(0, 3), st.integers(1, 6), st.sampled_from([0, 1]), worlds, seeds)
def test_draws_of_ranks_are_those_of_one_process(images, other, below, dim, world, seed):
    def draw(count: int) -> list[torch.Tensor]:
        drawn = torch.Generator().manual_seed(seed)
        shape = (count, other) if dim == 0 else (other, count)
        return [
            shared_draws.uniform(*shape, generator=drawn, images=dim),
            shared_draws.integers(*shape, below=below, generator=drawn, images=dim),
            shared_draws.normal(*shape, generator=drawn, images=dim),
        ]

    whole = draw(images * world)
    parts = []
    for rank in range(world):
        with _as_rank(shared_draws, rank, world):
            parts.append(draw(images))
    for together, expected in zip(zip(*parts), whole):
        assert torch.equal(torch.cat(together, dim), expected)
    assert ((whole[0] >= 0) & (whole[0] < 1)).all()
    assert ((whole[1] >= 0) & (whole[1] < below)).all()


@given(st.integers(0, 30), worlds)
def test_shards_are_the_whole(count, world):
    features = torch.arange(count)
    shards = []
    for rank in range(world):
        with _as_rank(kmeans_module, rank, world):
            shards.append(kmeans_module.shard(features))
    assert torch.equal(torch.cat(shards), features)


@given(st.integers(0, 40), st.integers(1, 6), seeds)
def test_even_draws(count, classes, seed):
    given_labels = labels(seed, count, classes)
    drawn = even_draws(given_labels, torch.Generator().manual_seed(seed))
    assert len(drawn) == count
    if not (given_labels >= 0).any():
        assert sorted(drawn.tolist()) == list(range(count))
        return
    found = given_labels[drawn]
    assert (found >= 0).all()
    shares = Counter(found.tolist())
    present = set(given_labels[given_labels >= 0].tolist())
    assert max(shares.values()) - min(shares.get(label, 0) for label in present) <= 1
    for label in present:
        times = Counter(drawn[found == label].tolist())
        images = int((given_labels == label).sum())
        assert len(times) == min(images, shares.get(label, 0))
        assert not times or max(times.values()) - min(times.values()) <= 1


@given(st.integers(1, 40), st.integers(1, 5), st.integers(1, 60), seeds)
def test_stratified_rows(count, classes, wanted, seed):
    given_labels = labels(seed, count, classes)
    assume(bool((given_labels >= 0).any()))
    chosen = stratified(given_labels, wanted)
    known = int((given_labels >= 0).sum())
    assert len(chosen) == min(wanted, known)
    assert (chosen.diff() > 0).all()
    assert (given_labels[chosen] >= 0).all()
    for label in range(classes):  # each class has its share, but for rounding
        share = int((given_labels == label).sum()) * len(chosen) / known
        assert abs(int((given_labels[chosen] == label).sum()) - share) < 2


@given(st.integers(1, 40), st.integers(1, 5), st.integers(1, 9), st.floats(0.001, 1), seeds)
def test_kept_labels(count, classes, per_class, share, seed):
    given_labels = labels(seed, count, classes)
    sizes = {label: int((given_labels == label).sum()) for label in range(classes) if (given_labels == label).any()}
    try:
        kept = keep_labels(given_labels, per_class, seed=seed)
    except UsageError:
        assert not sizes or min(sizes.values()) < per_class
    else:
        assert ((kept == given_labels) | (kept == -1)).all()
        assert all(int((kept == label).sum()) == per_class for label in sizes)
    try:
        kept = keep_share(given_labels, share, seed=seed)
    except UsageError:
        assert not sizes
    else:
        assert ((kept == given_labels) | (kept == -1)).all()
        assert all(int((kept == label).sum()) == max(1, round(share * size)) for label, size in sizes.items())


@given(st.lists(st.integers(-(2**70), 2**70), min_size=1, max_size=5))
def test_seeds_are_those_that_torch_takes(parts):
    assert 0 <= mix(*parts) < 2**63
    assert mix(*parts) == mix(*parts)
    torch.rand(1, generator=torch.Generator().manual_seed(mix(*parts)))
    assert rows(mix(*parts) % 2**32, 2).isfinite().all()
