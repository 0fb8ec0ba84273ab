"""Monitors of images that show several classes: mean average precision, the same on any number of processes."""

import math

import pytest
import torch
from sklearn.metrics import average_precision_score
from torch.utils.data import DataLoader

from sslbolts.callbacks import EmbeddingPlot, KNNMonitor, NeighborSheet, OnlineLinearProbe
from sslbolts.callbacks.shared.linear_heads import LinearHeads
from sslbolts.data import DatasetDataModule
from sslbolts.errors import UsageError
from tests.callbacks import several_classes
from tests.callbacks.host import Host, trainer
from tests.callbacks.several_classes import SeveralHost, images, monitors

LOGGED = ("probe/map", "knn/k5_t0.07/map", "knn/k20_t0.07/map", "ridge/map")


@pytest.fixture(scope="module")
def one() -> dict[str, float]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    found = several_classes.fit()
    torch.set_num_threads(threads)
    return found


def test_two_processes_log_the_numbers_of_one_with_an_odd_number_of_queries(two_ranks, one) -> None:
    first, second = two_ranks(several_classes.fit)
    assert first == second
    names = [name for name in one if "/map" in name]
    assert {*LOGGED, "knn/k5_t0.07/map/raw_pixels", "ridge/map/untrained"} <= set(names)
    for name in names:
        assert first[name] == pytest.approx(one[name], abs=1e-6), name
    assert not {"class_separation", "probe/top1", "probe/train_top1", "ridge/top1"} & set(one)


def test_the_precision_of_neighbors_is_that_of_scikit_learn(one) -> None:
    torch.manual_seed(0)
    host = SeveralHost().eval()
    bank, queries = images(101, seed=4), images(47, seed=3)
    with torch.no_grad():
        x, z = host(bank.tensors[0]), host(queries.tensors[0])
    known, asked = bank.tensors[1][:, 0] >= 0, queries.tensors[1][:, 0] >= 0
    cosine = torch.nn.functional.normalize(z[asked]) @ torch.nn.functional.normalize(x[known]).T
    nearest, rows = cosine.sort(descending=True)
    votes = (nearest[:, :5] / 0.07).exp()
    labels = bank.tensors[1][known].float()[rows[:, :5]]  # (Q, 5, C)
    weights = votes[..., None].expand_as(labels)  # summed alike, so that equal shares stay equal
    scores = (weights * labels).sum(1) / weights.clone().sum(1)
    expected = average_precision_score(queries.tensors[1][asked][:, :4], scores[:, :4], average="macro")
    assert one["knn/k5_t0.07/map"] == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.uint8, torch.bool], ids=str)
def test_rows_may_be_of_any_type(dtype: torch.dtype, one) -> None:
    if dtype == torch.float32:
        assert several_classes.fit(dtype=dtype) == one
        return
    probe = OnlineLinearProbe(5, "encoder", multi_label=True)  # types in which no row is unknown
    run = trainer(probe, max_epochs=1)
    run.fit(
        SeveralHost(),
        DataLoader(
            images(
                32,
                2,
                torch.bool if dtype == torch.bool else torch.int64,
            ),
            batch_size=16,
        ),
        DataLoader(images(20, 3, torch.bool), batch_size=10),
    )
    assert 0.3 < float(run.callback_metrics["probe/map"]) <= 1


def test_a_head_learns_by_the_gradient_of_binary_cross_entropy() -> None:
    drawn = torch.Generator().manual_seed(0)
    x = torch.randn(40, 3, generator=drawn)
    y = (torch.rand(40, 4, generator=drawn) > 0.5).float()
    y[5] = y[6, 1] = -1
    heads = LinearHeads(3, 4, (0.1,), weight_decay=0.0, device=torch.device("cpu"), several=True)
    heads.step(x, y)  # measures mean and deviation
    before = heads.weight.clone()
    standardized = (x - heads.mean) * (heads.variance + 1e-5).rsqrt()
    weight = before.clone().requires_grad_()
    scores = torch.cat([standardized, torch.ones(40, 1)], 1) @ weight
    loss = torch.nn.functional.binary_cross_entropy_with_logits(scores, (y == 1).float(), reduction="none")
    (loss * (y >= 0)).sum().div(39).backward()
    counts = heads.step(x, y)
    assert counts.tolist() == [39, 0, 39, 0]
    torch.testing.assert_close(heads.weight, before - 0.1 * weight.grad, rtol=1e-5, atol=1e-6)


def test_a_datamodule_declares_it_and_pictures_do_without_labels(tmp_path) -> None:
    drawn = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (24, 3, 4, 4), generator=drawn, dtype=torch.uint8)
    rows = torch.eye(3)[torch.arange(24) % 3]  # could be class numbers, and are declared
    sets = [torch.utils.data.TensorDataset(x, y) for x, y in zip(pixels.split(16), rows.split(16))]
    data = DatasetDataModule(sets[0], val=sets[1], multi_label=True, batch_size=8, num_workers=0, image_size=4)
    sheet = NeighborSheet(k=2, queries=2, folder=tmp_path, every_n_epochs=1)
    callbacks = [
        KNNMonitor(k=3, max_bank=12),
        OnlineLinearProbe(features="encoder"),
        sheet,
        EmbeddingPlot(folder=tmp_path),
    ]

    class OfViews(Host):
        def training_step(self, batch, batch_idx):
            return self.classifier(self(batch.views[0])).square().mean()

        def validation_step(self, batch, batch_idx):
            return None

    run = trainer(*callbacks, max_epochs=1, num_sanity_val_steps=0)
    run.fit(OfViews(), datamodule=data)
    assert {"probe/map", "knn/k3_t0.07/map", "ridge/map"} <= set(run.callback_metrics)
    assert len(list(tmp_path.glob("pictures/*.png"))) == 2
    state = {"heads": {**callbacks[1].state_dict()["heads"], "several": False}, "train_counts": None, "chosen": 0}
    with pytest.warns(UserWarning, match="is of one class per image, and this one is not"):
        callbacks[1].load_state_dict(state)


def test_features_that_are_no_numbers_come_last_and_a_class_of_nobody_gives_no_number() -> None:
    from sslbolts.callbacks.shared.accuracies import precision_of_all, precisions

    scores = torch.tensor([[0.1, 0.0], [0.9, 0.0], [0.5, 0.0]])
    labels = torch.tensor([[0.0, 0.0], [1.0, 0.0], [1.0, 0.0]])
    everything = torch.ones(3, dtype=torch.bool)
    assert precision_of_all(scores, labels, finite=everything) == 1.0
    last = precision_of_all(scores, labels, finite=torch.tensor([True, False, True]))
    assert last == pytest.approx((1 / 1 + 2 / 3) / 2)
    assert math.isnan(precision_of_all(scores, torch.zeros(3, 2), finite=everything) or 0.0)
    assert precision_of_all(scores[:0], labels[:0], finite=everything[:0]) is None
    nothing = precisions(scores, labels, scores[:0], labels[:0], k=[1], temperature=0.07, ridge=True)
    assert all(map(math.isnan, nothing))
    assert len(nothing) == 2


def loader(labels: torch.Tensor) -> DataLoader:
    return DataLoader(torch.utils.data.TensorDataset(torch.randn(len(labels), 3, 4, 4), labels), batch_size=8)


@pytest.mark.parametrize(
    ("declared", "labels", "words"),
    [
        (True, torch.arange(16) % 5, r"labels of a batch have shape \(8,\) and torch.int64: .* no rows of several"),
        (True, torch.ones(16, 3), "labels are rows of 3 classes, but num_classes=5"),
        (True, torch.full((16, 5), 0.5), "hold the number 0.5"),
        (False, torch.ones(16, 5), r"shape \(8, 5\) and torch.float32: .* multi_label=True"),
    ],
    ids=["numbers", "another length", "shares", "not declared"],
)
def test_labels_of_another_form_than_declared_are_refused_by_their_shape(declared, labels, words) -> None:
    class Deaf(Host):
        def training_step(self, batch, batch_idx):
            return self.classifier(self(batch[0])).mean()

    with pytest.raises(UsageError, match=words):
        trainer(monitors(multi_label=declared)[0], max_epochs=1).fit(Deaf(), loader(labels))


def test_other_numbers_in_a_later_batch_are_told_of_at_the_end_of_the_epoch() -> None:
    class Deaf(Host):
        def training_step(self, batch, batch_idx):
            return self.classifier(self(batch[0])).mean()

    labels = torch.ones(24, 5)
    labels[20, 0] = 3
    with pytest.raises(UsageError, match="1 rows of labels of this epoch hold other numbers"):
        trainer(monitors()[0], max_epochs=1).fit(Deaf(), loader(labels))


def test_one_hot_rows_that_nobody_declared_are_class_numbers_and_that_is_said(monkeypatch) -> None:
    said: list[str] = []
    monkeypatch.setattr("sslbolts.callbacks.shared.queries.rank_zero_info", said.append)

    class Deaf(Host):
        def training_step(self, batch, batch_idx):
            return self.classifier(self(batch[0])).mean()

    rows = torch.eye(5)[torch.arange(24) % 5]
    run = trainer(OnlineLinearProbe(5, "encoder"), max_epochs=1)
    run.fit(Deaf(), loader(rows))
    assert len(said) == 1
    assert "taken as class numbers" in said[0]
    assert "multi_label=True" in said[0]
    assert "probe/train_top1" in run.callback_metrics
