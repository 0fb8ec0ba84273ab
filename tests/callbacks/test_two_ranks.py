"""Two processes: the numbers of one, ranks equal, checkpoints and early stopping alive."""

from typing import Any

import pytest
import torch

from sslbolts._lightning import lightning_module
from tests.callbacks import ranks
from tests.callbacks.host import Host, metrics, train_loader, trainer, val_loader


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    path = str(tmp_path_factory.mktemp("ranks") / "one.ckpt")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    result = ranks.fit(path)
    torch.set_num_threads(threads)
    return path, result


@pytest.mark.parametrize("rows", [997, 26])
@pytest.mark.parametrize("indexed", [False, True], ids=["by position", "by index"])
def test_odd_numbers_of_queries_give_the_numbers_of_one_process_exactly(two_ranks, checkpoint, indexed, rows):
    one = ranks.evaluate(checkpoint[0], indexed, rows)
    first, second = two_ranks(ranks.evaluate, checkpoint[0], indexed, rows)
    assert first == second
    for name in ("probe/top1", "knn/k5_t0.07", "knn/k20_t0.07", "ridge/top1"):
        assert one[name] == first[name], name
        assert (one[name] * rows) == pytest.approx(round(one[name] * rows), abs=1e-3)  # a count of the rows
    for name in ("rankme", "class_separation"):
        assert one[name] == pytest.approx(first[name], rel=1e-6)


def test_training_with_everything_on(two_ranks, checkpoint, tmp_path):
    first, second = two_ranks(ranks.fit, str(tmp_path / "two.ckpt"))
    assert first["metrics"] == second["metrics"]
    assert torch.equal(first["probe"], second["probe"])
    assert first["names"] == checkpoint[1]["names"]
    assert first["baselines"] == checkpoint[1]["baselines"] == second["baselines"]
    weights = [name for name in first["host"] if not name.startswith("encoder.2.")]  # batch norm is per rank
    for name in weights:
        assert torch.equal(first["host"][name], second["host"][name])


def test_the_probe_trains_as_in_one_process_on_the_whole_batch(two_ranks):
    one = ranks.probe_on_frozen_features(32)
    first, second = two_ranks(ranks.probe_on_frozen_features, 16)
    assert torch.equal(first["weight"], second["weight"])
    torch.testing.assert_close(first["weight"], one["weight"], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(first["mean"], one["mean"], rtol=1e-4, atol=1e-5)


def test_weights_are_bitwise_those_without_monitors(two_ranks):
    without = two_ranks(ranks.bare_weights, False)
    with_monitors = two_ranks(ranks.bare_weights, True)
    for a, b in zip(without, with_monitors):
        for name, value in a.items():
            assert torch.equal(value, b[name]), name


def test_model_checkpoint_and_early_stopping(two_ranks, tmp_path):
    first, second = two_ranks(follow, str(tmp_path))
    assert first == second
    assert first["epochs"] == 2
    assert first["score"] is not None


def test_a_bank_with_fewer_batches_than_ranks(two_ranks):
    first, second = two_ranks(ranks.small_bank)
    assert first == second == ranks.small_bank()


def test_the_packaged_images_through_their_datamodule(two_ranks):
    first, second = two_ranks(ranks.packaged)
    assert first == second == ranks.packaged()
    assert first["knn/k20_t0.07"] > 0.15


@pytest.mark.parametrize("rows", [8, 9])
@pytest.mark.parametrize("kind", [ranks.Triples, ranks.Indexed], ids=["patients", "indices"])
def test_a_third_item_that_is_no_index_drops_no_image(two_ranks, kind, rows):
    first, second = two_ranks(in_order, kind, rows)
    assert sorted(first + second) == list(range(rows))


@pytest.mark.parametrize("rows", [8, 9])
def test_images_of_a_shuffling_sampler_are_counted_once_by_their_index(two_ranks, rows):
    first, second = two_ranks(shuffled, ranks.Indexed, rows)
    assert sorted(first + second) == list(range(rows))


@pytest.mark.parametrize("rows", [8, 9])
def test_without_an_index_a_shuffling_sampler_drops_no_image(two_ranks, rows):
    first, second = two_ranks(shuffled, ranks.Triples, rows)
    assert set(first + second) == set(range(rows))


def in_order(kind: Any, rows: int) -> list[int]:
    return ranks.counted(kind, rows, shuffle=False)


def shuffled(kind: Any, rows: int) -> list[int]:
    return ranks.counted(kind, rows, shuffle=True)


def test_a_rank_without_a_batch_takes_part(two_ranks):
    first, second = two_ranks(ranks.stream_on_one_rank)
    one = ranks.stream_on_one_rank()
    assert first == second
    assert first == pytest.approx(one, rel=1e-6)


@pytest.mark.parametrize("order", [ranks.Backwards, ranks.Drawn])
def test_baselines_are_of_the_images_that_the_loaders_own_order_gives_first(two_ranks, order):
    first, second = two_ranks(ranks.baselines_of_some, order)
    assert first == second == ranks.baselines_of_some(order)


@pytest.mark.parametrize("even", [True, False])
def test_loaders_that_are_dealt_out_already_give_the_numbers_and_pictures_of_one_process(two_ranks, tmp_path, even):
    first, second = two_ranks(ranks.dealt_by_hand, str(tmp_path / "two"), even)
    one = ranks.dealt_by_hand(str(tmp_path / "one"), even)
    assert first == second
    assert first == pytest.approx(one, rel=1e-5)
    assert one["knn/k5_t0.07/untrained"] > 0
    drawn = [sorted(path.name for path in (tmp_path / run / "pictures").iterdir()) for run in ("two", "one")]
    assert drawn[0] == drawn[1]
    assert len(drawn[0]) == (1 if even else 4)


def test_right_answers_are_counted_where_one_rank_has_no_image(two_ranks):
    assert two_ranks(ranks.right_on_one_rank) == [{"top1": 0.5}] * 2


def follow(folder: str) -> dict[str, Any]:
    torch.manual_seed(0)
    callbacks = lightning_module("callbacks")
    best = callbacks.ModelCheckpoint(folder, monitor="knn/k5_t0.07", mode="max", filename="best")
    stop = callbacks.EarlyStopping("probe/top1", mode="max", patience=1, min_delta=1.0)
    run = trainer(*ranks.monitors(), best, stop, max_epochs=6, enable_checkpointing=True, **ranks.two_devices())
    run.fit(Host(), train_loader(), val_loader())
    return {"epochs": run.current_epoch, "score": float(best.best_model_score), "metrics": metrics(run)}


def test_no_rank_waits_for_one_whose_step_does_not_run_the_layer(two_ranks):
    first, second = two_ranks(ranks.layer_on_one_rank)
    assert first["seen"] == second["seen"] == 4 * 16  # five batches of a rank, of which the first is left out
    assert torch.equal(first["weight"], second["weight"])
    assert first["metrics"] == second["metrics"]
    assert first["metrics"].keys() >= {"probe/top1", "probe/train_top1", "collapse/std"}
