"""Windows and pairs of frames: which rows batches have, told from naive tables of sequence, view and time."""

from collections import Counter

import pytest
import torch

from sslbolts.data.frame_sampler import Clips, FrameSampler, FrameSampling
from sslbolts.errors import UsageError

# Sequence 0 has two views of 9 and 11 frames, 1 one of 7, 2 three of 12, 3 two of 4.
LENGTHS, SEQUENCES = [9, 11, 7, 12, 12, 12, 4, 4], [0, 0, 1, 2, 2, 2, 3, 3]
FRAMES = [
    (sequence, clip, time) for clip, (sequence, length) in enumerate(zip(SEQUENCES, LENGTHS)) for time in range(length)
]
CLIPS = Clips(torch.tensor(LENGTHS), torch.tensor(SEQUENCES))


def batches(epochs=1, clips=CLIPS, **settings):
    sampling = FrameSampling(**{name: settings.pop(name) for name in list(settings) if name in SAMPLING})
    sampler = FrameSampler(clips, sampling, **({"seed": 0} | settings))
    found = []
    for epoch in range(epochs):
        sampler.set_epoch(epoch)
        plans = list(sampler)
        assert len(plans) == len(sampler)
        found += [plan.indices.tolist() for plan in plans]
    return found


SAMPLING = {"rows", "rows_per_sequence", "pairs", "time_window", "lag", "windows_per_sequence"}


def test_sequence_and_time_of_every_frame_are_known():
    places = CLIPS.places()
    assert list(zip(places.sequences.tolist(), places.times.tolist())) == [(s, t) for s, _, t in FRAMES]


def test_a_window_is_consecutive_frames_of_one_view_and_crosses_no_boundary():
    for rows in batches(epochs=200, rows=6):
        frames = [FRAMES[row] for row in rows]
        assert len({clip for _, clip, _ in frames}) == 1
        times = [time for _, _, time in frames]
        assert times == list(range(times[0], times[0] + 6))


def test_every_start_of_every_view_occurs_and_the_last_frame_too():
    starts = Counter(FRAMES[rows[0]][1:] for rows in batches(epochs=600, rows=6))
    expected = {(clip, start) for clip, length in enumerate(LENGTHS) for start in range(length - 6 + 1)}
    assert set(starts) == expected
    of_one = [count for (clip, _), count in starts.items() if clip == 2]  # the only view: two starts, 300 each
    assert sum(of_one) == 600
    assert max(of_one) < 360


def test_a_sequence_as_long_as_the_window_is_taken_whole():
    (rows,) = batches(rows=12)
    assert [FRAMES[row][2] for row in rows] == list(range(12))


def test_a_sequence_shorter_than_the_window_gives_nothing_and_is_counted():
    sampling = FrameSampling(rows=8)
    assert {FRAMES[rows[0]][0] for rows in batches(epochs=50, rows=8)} == {0, 2}
    assert sampling.left_out(CLIPS) == (
        "2 of 4 sequences are not trained on: they have fewer than the 8 frames that a batch of 8 frames takes of one."
    )
    assert FrameSampling(rows=4).left_out(CLIPS) == ""


def test_an_epoch_visits_every_sequence_once():
    assert sorted(FRAMES[rows[0]][0] for rows in batches(rows=4)) == [0, 1, 2, 3]
    thrice = Counter(FRAMES[rows[0]][0] for rows in batches(rows=4, windows_per_sequence=3))
    assert thrice == {0: 3, 1: 3, 2: 3, 3: 3}


def test_a_batch_of_several_sequences_has_a_window_of_each():
    for rows in batches(epochs=20, rows=8, rows_per_sequence=4):
        windows = [[FRAMES[row] for row in rows[start : start + 4]] for start in (0, 4)]
        assert all(len({clip for _, clip, _ in window}) == 1 for window in windows)
        assert windows[0][0][0] != windows[1][0][0]


def test_ranks_get_different_sequences_and_those_of_one_process():
    one = batches(epochs=3, rows=8, rows_per_sequence=4)
    ranks = [batches(epochs=3, rows=4, rank=rank, world_size=2) for rank in (0, 1)]
    for whole, first, second in zip(one, *ranks, strict=True):
        names = [FRAMES[rows[0]][0] for rows in (first, second)]
        assert names == [FRAMES[whole[0]][0], FRAMES[whole[4]][0]]
        assert len(set(names)) == 2


def test_plans_are_a_function_of_the_seed_and_the_epoch_and_go_on_in_the_middle():
    sampling = FrameSampling(rows=4, windows_per_sequence=2)
    sampler = FrameSampler(CLIPS, sampling, seed=3)
    sampler.set_epoch(1)
    whole = [(plan.indices.tolist(), plan.seed) for plan in sampler]
    other = FrameSampler(CLIPS, sampling, seed=3)
    other.go_on(len(other) + 3, 3)
    assert [(plan.indices.tolist(), plan.seed) for plan in other] == whole[3:]
    assert batches(rows=4, seed=3) != batches(rows=4, seed=4)


def test_without_shuffling_sequences_come_in_order():
    assert [FRAMES[rows[0]][0] for rows in batches(rows=4, shuffle=False)] == [0, 1, 2, 3]


def test_an_incomplete_last_batch_is_left_out_or_filled():
    dropped, filled = (batches(rows=12, rows_per_sequence=4, drop_last=drop) for drop in (True, False))
    assert [len(rows) for rows in dropped] == [12]
    assert [len(rows) for rows in filled] == [12, 12]
    assert {FRAMES[row][0] for rows in filled for row in rows} == {0, 1, 2, 3}


def test_pairs_of_views_are_of_one_moment_and_two_views_at_different_times():
    seen = set()
    for rows in batches(epochs=300, rows=4, pairs="views"):
        pairs = [(FRAMES[anchor], FRAMES[positive]) for anchor, positive in zip(rows[:4], rows[4:], strict=True)]
        assert all(a[0] == p[0] and a[2] == p[2] and a[1] != p[1] for a, p in pairs)
        assert len({a[2] for a, _ in pairs}) == 4
        seen |= {(a[1], p[1], a[2]) for a, p in pairs}
    # Every moment that both views have, and every ordered pair of views; sequences 1 and 3 have one view, and 4 frames.
    two = {(a, p, t) for a, p in ((0, 1), (1, 0)) for t in range(9)}
    three = {(a, p, t) for a in (3, 4, 5) for p in (3, 4, 5) if a != p for t in range(12)}
    assert seen == two | three


def test_pairs_of_views_lie_within_the_time_window_whose_every_start_occurs():
    firsts = set()
    for rows in batches(epochs=300, rows=3, pairs="views", time_window=5):
        times = [FRAMES[row][2] for row in rows[:3]]
        assert max(times) - min(times) < 5
        firsts.add((FRAMES[rows[0]][0], min(times)))
    assert {time for sequence, time in firsts if sequence == 2} == set(range(10))


def test_pairs_of_times_are_of_one_view_and_so_many_frames_apart():
    seen = set()
    for rows in batches(epochs=300, rows=2, pairs="times", lag=5):
        for anchor, positive in zip(rows[:2], rows[2:], strict=True):
            a, p = FRAMES[anchor], FRAMES[positive]
            assert a[:2] == p[:2]
            assert p[2] - a[2] == 5
            seen.add(a[1:])
    assert seen == {(clip, start) for clip, length in enumerate(LENGTHS) if length >= 7 for start in range(length - 5)}


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"rows": 13}, "no sequence has the 13 frames that a batch of 13 frames takes of one; the longest has 12"),
        ({"rows": 7, "pairs": "views"}, "no sequence has the 14 frames that a batch of 7 pairs of views takes of one"),
        ({"rows": 2, "pairs": "times"}, "no sequence has the 32 frames that a batch of 2 pairs of frames 30 apart"),
        ({"rows": 8, "rows_per_sequence": 3}, "batch_size=8 is no multiple of rows_per_sequence=3"),
        ({"rows": 8, "pairs": "views", "time_window": 7}, "time_window=7 moments do not hold 8 different ones"),
        ({"rows": 8, "lag": 2}, 'lag=2 has no effect with pairs="none"'),
        ({"rows": 8, "pairs": "times", "time_window": 20}, 'time_window=20 has no effect with pairs="times"'),
        ({"rows": 4, "world_size": 5}, "a batch takes 1 sequences on each of 5 devices, and there are 4"),
        ({"rows": 4, "windows_per_sequence": 0}, "windows_per_sequence=0"),
        ({"rows": 4, "pairs": "view"}, 'pairs="view"'),
    ],
)
def test_what_cannot_be_drawn_is_refused(settings, words):
    with pytest.raises(UsageError) as raised:
        batches(**settings)
    assert words in str(raised.value)


def test_pairs_of_views_need_two():
    with pytest.raises(UsageError, match='pairs="views" needs two views of a sequence, and there is one of each'):
        batches(rows=2, pairs="views", clips=Clips(torch.tensor([20, 20]), torch.tensor([0, 1])))
