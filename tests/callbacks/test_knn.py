"""The kNN monitor: its numbers, its bank, its features, its baselines."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from sslbolts._lightning import Callback, LightningDataModule, lightning_module
from sslbolts.callbacks import KNNMonitor
from sslbolts.callbacks.shared.bank import Bank
from sslbolts.errors import UsageError
from sslbolts.readouts import class_separation, knn_predict, rankme, ridge_classifier
from tests.callbacks.host import Host, bank_loader, images, metrics, train_loader, trainer, val_loader


def validate(monitor: KNNMonitor, host: Any = None, loader: Any = None, **settings: Any) -> dict[str, float]:
    run = trainer(monitor, **settings)
    run.validate(host or seeded_host(), loader or val_loader(), verbose=False)
    return metrics(run)


def seeded_host(host: type = Host) -> Any:
    torch.manual_seed(0)
    return host()


def test_numbers_are_those_of_the_readouts_on_module_of_x():
    found = validate(KNNMonitor(k=(5, 20), temperature=0.1, bank=bank_loader()))
    host = seeded_host().eval()
    (xb, yb), (xq, yq) = images(203, seed=4).tensors, images(97, seed=3).tensors
    with torch.no_grad():
        bank, queries = host(xb), host(xq)
    for k in (5, 20):
        right = (knn_predict(queries, bank, yb, k=k, temperature=0.1).argmax(1) == yq).sum().item()
        assert found[f"knn/k{k}_t0.1"] == pytest.approx(right / 97, abs=1e-7)
    right = (ridge_classifier(queries, bank, yb).scores.argmax(1) == yq).sum().item()
    assert found["ridge/top1"] == pytest.approx(right / 97, abs=1e-7)
    assert found["rankme"] == pytest.approx(rankme(bank).item(), rel=1e-5)
    assert found["class_separation"] == pytest.approx(class_separation(bank, yb).item(), rel=1e-4)


class WithOutputs(Host):
    def validation_step(self, batch: Any, batch_idx: int) -> Any:
        return {"features": self(batch[0]), "pixels": batch[0].flatten(1)}


def test_features_that_validation_step_returns_are_used_and_not_computed_again():
    calls = []
    host = seeded_host(WithOutputs)
    host.encoder.register_forward_hook(lambda *args: calls.append(len(args[2])))
    found = validate(KNNMonitor(bank=bank_loader(), k=5), host)
    assert sum(calls) == 97 + 203 + 25  # the first batch is read from forward, too, as the bank is
    assert found["knn/k5_t0.07"] == validate(KNNMonitor(bank=bank_loader(), k=5))["knn/k5_t0.07"]


def test_features_by_name_and_by_callable():
    def pixels(module: Any, batch: Any, outputs: Any) -> Tensor:
        return batch[0].flatten(1)

    (xb, yb), (xq, yq) = images(203, seed=4).tensors, images(97, seed=3).tensors
    right = (knn_predict(xq.flatten(1), xb.flatten(1), yb, k=5).argmax(1) == yq).sum().item()
    for features in (pixels, "encoder.0"):
        found = validate(KNNMonitor(bank=bank_loader(), k=5, features=features))
        assert found["knn/k5_t0.07"] == pytest.approx(right / 97, abs=1e-7)


class Stream(IterableDataset):
    def __iter__(self) -> Any:
        yield from images(203, seed=4)


@pytest.mark.parametrize(
    "bank",
    [
        lambda: bank_loader(shuffle=True),
        lambda: bank_loader(batch_size=7, num_workers=1),
        lambda: DataLoader(Stream(), batch_size=40),
        lambda: [tuple(batch) for batch in bank_loader()],
        lambda: [{"image": x, "label": y} for x, y in bank_loader()],
    ],
    ids=["shuffled", "other batches, a worker", "a stream", "a list of batches", "mappings"],
)
def test_any_loader_is_a_bank(bank):
    assert validate(KNNMonitor(bank=bank, k=5)) == pytest.approx(
        validate(KNNMonitor(bank=bank_loader(), k=5)), rel=1e-5
    )


class Data(LightningDataModule):
    """Gives uint8 images, which become floats on the device."""

    def __init__(self) -> None:
        super().__init__()
        self.stages = []

    def bank_dataloader(self) -> DataLoader:
        x, y = images(203, seed=4).tensors
        return DataLoader(TensorDataset((x * 20 + 128).clamp(0, 255).byte(), y), batch_size=40)

    def train_dataloader(self) -> DataLoader:
        x, y = images(160, seed=2).tensors
        return DataLoader(TensorDataset((x * 20 + 128).clamp(0, 255).byte(), y), batch_size=16)

    def val_dataloader(self) -> DataLoader:
        x, y = images(97, seed=3).tensors
        return DataLoader(TensorDataset((x * 20 + 128).clamp(0, 255).byte(), y), batch_size=25)

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        self.stages.append(self.trainer.state.stage.value)
        x, y = batch
        return (x.float() - 128) / 20, y


def test_the_bank_of_a_datamodule_passes_through_its_hooks_as_validation_does():
    data, monitor = Data(), KNNMonitor(k=5)
    run = trainer(monitor, max_epochs=1, num_sanity_val_steps=0)
    run.fit(seeded_host(), datamodule=data)
    # Baselines before the first step: 6 batches of the bank and 4 of queries, as in validation, never augmented.
    assert data.stages[:11] == ["validate"] * 10 + ["train"]
    assert metrics(run)["knn/k5_t0.07/raw_pixels"] > 0.4


def test_baselines_are_measured_once_on_the_network_as_it_comes():
    monitor = KNNMonitor(k=5, bank=bank_loader())
    before = validate(KNNMonitor(k=5, bank=bank_loader()))
    run = trainer(monitor)
    run.fit(seeded_host(), train_loader(), val_loader())
    assert metrics(run)["knn/k5_t0.07/untrained"] == before["knn/k5_t0.07"]
    assert metrics(run)["ridge/top1/untrained"] == before["ridge/top1"]
    (xb, yb), (xq, yq) = images(203, seed=4).tensors, images(97, seed=3).tensors
    mean = xb.flatten(1).mean(0)
    right = (knn_predict(xq.flatten(1) - mean, xb.flatten(1) - mean, yb, k=5).argmax(1) == yq).sum().item()
    assert metrics(run)["knn/k5_t0.07/raw_pixels"] == pytest.approx(right / 97, abs=1e-7)
    assert "knn/k5_t0.07/untrained" not in run.test(seeded_host(), val_loader(), verbose=False)[0]


def test_baselines_without_validation_in_the_first_epoch_and_with_a_limit():
    monitor = KNNMonitor(k=5, bank=bank_loader())
    run = trainer(monitor, max_epochs=2, check_val_every_n_epoch=2, limit_val_batches=2, num_sanity_val_steps=0)
    run.fit(seeded_host(), train_loader(), val_loader())
    assert round(metrics(run)["knn/k5_t0.07/untrained"] * 50, 4) % 1 == 0  # two batches of 25 queries


@pytest.mark.parametrize("bank", [bank_loader, lambda: DataLoader(Stream(), batch_size=40)], ids=["plan", "stream"])
def test_max_bank_takes_each_class_in_proportion(bank):
    kept, whole_bank = [], Bank.whole
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Bank, "whole", lambda self, share: kept.append(whole_bank(self, share)) or kept[-1])
        validate(KNNMonitor(k=5, bank=bank(), max_bank=50))
    counts = torch.bincount(kept[0].targets, minlength=5)
    whole = torch.bincount(images(203, seed=4).tensors[1], minlength=5)
    assert counts.sum() == 50
    assert ((counts - whole * 50 / 203).abs() <= 1).all()


def test_fast_dev_run_looks_at_a_few_images_only():
    monitor = KNNMonitor(k=5, bank=bank_loader())
    run = trainer(monitor, fast_dev_run=1)
    run.fit(seeded_host(), train_loader(), val_loader())
    assert "knn/k5_t0.07" in metrics(run)


def test_unlabeled_queries_are_left_out_and_none_at_all_is_said():
    x, y = images(97, seed=3).tensors
    half = torch.where(torch.arange(97) < 50, y, -1)
    some = validate(
        KNNMonitor(k=5, bank=bank_loader()), without_loss(), DataLoader(TensorDataset(x, half), batch_size=25)
    )
    first = validate(
        KNNMonitor(k=5, bank=bank_loader()), without_loss(), DataLoader(TensorDataset(x[:50], y[:50]), batch_size=25)
    )
    assert some == first
    with pytest.warns(UserWarning, match="no query has a label"):
        none = validate(
            KNNMonitor(k=5, bank=bank_loader()), without_loss(), DataLoader(TensorDataset(x, -torch.ones_like(y)))
        )
    assert sorted(none) == ["class_separation", "rankme"]


def without_loss() -> Host:
    host = seeded_host()
    host.validation_step = lambda batch, batch_idx: None
    return host


def test_several_validation_loaders_the_first_are_the_queries():
    class Several(Host):
        def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
            pass

    found = validate(KNNMonitor(k=5, bank=bank_loader()), seeded_host(Several), [val_loader(), val_loader(31)])
    assert found == pytest.approx(validate(KNNMonitor(k=5, bank=bank_loader()), without_loss()))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"k": ()}, "k="),
        ({"temperature": -1}, "temperature=-1"),
        ({"every_n_epochs": 0}, "every_n_epochs=0"),
        ({"max_bank": 1}, "max_bank=1"),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(UsageError, match=message):
        KNNMonitor(**arguments)


@pytest.mark.parametrize(
    ("monitor", "message"),
    [
        (KNNMonitor(), "has no bank: bank= was not given and there is no DataModule"),
        (KNNMonitor(bank=[]), "is empty"),
        (KNNMonitor(bank=bank_loader(), features="nothing"), r'no layer "nothing".* There are: encoder'),
        (KNNMonitor(bank=bank_loader(), features="spare"), 'runs "spare"'),
        (KNNMonitor(bank=[(torch.zeros(4, 3, 4, 4),)]), "no labels are found"),
        (KNNMonitor(bank=bank_loader(), features=lambda module, batch, outputs: batch[0][0, 0, 0]), "has shape"),
    ],
)
def test_what_cannot_work_is_said_in_one_sentence(monitor, message):
    host = Host()
    host.spare = torch.nn.Identity()
    with pytest.raises(UsageError, match=message):
        trainer(monitor).fit(host, train_loader(), val_loader())


class Diverging(Host):
    """Features of images whose first pixel is positive (or of all) are not finite."""

    share = 1.0

    def forward(self, x: Tensor) -> Tensor:
        bad = x[:, 0, 0, 0] > (0 if self.share < 1 else -torch.inf)
        return torch.where(bad[:, None], torch.inf, super().forward(x))

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return self.classifier(self.encoder(batch[0])).square().mean()

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        pass


def test_a_run_that_diverges_goes_on_and_its_numbers_are_nan():
    run = trainer(KNNMonitor(k=5, bank=bank_loader()))
    with pytest.warns(UserWarning, match=r"100\.00% of the bank's images have features that are not finite"):
        run.fit(seeded_host(Diverging), train_loader(), val_loader())
    found = metrics(run)
    for name in ("knn/k5_t0.07", "ridge/top1", "rankme", "class_separation", "knn/k5_t0.07/untrained"):
        assert math.isnan(found[name]), name
    assert found["knn/k5_t0.07/raw_pixels"] > 0.4


def test_images_without_finite_features_are_left_out_of_the_bank_and_wrong_as_queries():
    (xb, yb), (xq, yq) = images(203, seed=4).tensors, images(97, seed=3).tensors
    host = seeded_host(Diverging)
    host.share = 0.5
    monitor = KNNMonitor(k=5, bank=bank_loader())
    with pytest.warns(UserWarning, match="of the bank's images have features that are not finite") as warned:
        found = validate(monitor, host)
    assert sum("not finite" in str(warning.message) for warning in warned) == 1
    kept, good = xb[:, 0, 0, 0] <= 0, xq[:, 0, 0, 0] <= 0
    with torch.no_grad():
        bank, queries = seeded_host().eval()(xb[kept]), seeded_host().eval()(xq[good])
    right = (knn_predict(queries, bank, yb[kept], k=5).argmax(1) == yq[good]).sum().item()
    assert found["knn/k5_t0.07"] == pytest.approx(right / 97, abs=1e-7)
    assert found["rankme"] == pytest.approx(rankme(bank).item(), rel=1e-5)


def test_baselines_of_another_run_are_measured_anew():
    monitor = KNNMonitor(k=5, bank=bank_loader())
    first = trainer(monitor, max_epochs=1)
    first.fit(seeded_host(), train_loader(), val_loader())
    torch.manual_seed(1)
    other = Host()
    expected = validate(KNNMonitor(k=5, bank=bank_loader()), other)["ridge/top1"]
    assert expected != metrics(first)["ridge/top1/untrained"]
    run = trainer(monitor, max_epochs=1)
    run.fit(other, train_loader(), val_loader())
    assert metrics(run)["ridge/top1/untrained"] == expected
    first.fit_loop.max_epochs = 2
    first.fit(seeded_host(), train_loader(), val_loader())  # another module of the same Trainer
    expected = validate(KNNMonitor(k=5, bank=bank_loader()), seeded_host())["ridge/top1"]
    assert metrics(first)["ridge/top1/untrained"] == expected


class Followed(Callback):
    """Metrics that are there after each epoch."""

    def __init__(self) -> None:
        self.seen: list[list[str]] = []

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        self.seen.append(sorted(set(trainer.callback_metrics) & {"knn/k5_t0.07", "rankme", "val_loss"}))


def test_what_was_not_measured_is_not_there_to_be_compared():
    followed = Followed()
    run = trainer(KNNMonitor(k=5, bank=bank_loader(), every_n_epochs=3, baselines=False), followed, max_epochs=6)
    run.fit(seeded_host(), train_loader(batch_size=80), val_loader())
    measured, not_measured = ["knn/k5_t0.07", "rankme", "val_loss"], ["val_loss"]
    assert followed.seen == [measured, not_measured, not_measured, measured, not_measured, measured]


def test_what_is_compared_is_measured(tmp_path):
    callbacks = lightning_module("callbacks")
    best = callbacks.ModelCheckpoint(tmp_path, monitor="knn/k5_t0.07", mode="max", save_top_k=-1)
    stop = callbacks.EarlyStopping("knn/k5_t0.07", mode="max", patience=10)
    compared = []
    for monitored in ([best], [stop]):
        monitor = KNNMonitor(k=5, bank=bank_loader(), every_n_epochs=3, baselines=False)
        report = monitor.report
        monitor.report = lambda *args, report=report, **named: compared.append(1) or report(*args, **named)
        run = trainer(monitor, *monitored, max_epochs=5, enable_checkpointing=monitored == [best])
        run.fit(seeded_host(), train_loader(batch_size=80), val_loader())
    assert len(compared) == 10
    assert len(best.best_k_models) == 5


def test_after_a_run_that_failed_the_bank_is_looked_for_anew():
    class Fails(Host):
        def training_step(self, batch: Any, batch_idx: int) -> Tensor:
            raise RuntimeError("broken")

    made: list[DataLoader] = []
    monitor = KNNMonitor(k=5, bank=lambda: made.append(bank_loader()) or made[-1])
    with pytest.raises(RuntimeError, match="broken"):
        trainer(monitor).fit(Fails(), train_loader(), val_loader())
    before = len(made)
    validate(monitor)
    assert len(made) == before + 1


class OtherOutputs(Host):
    def validation_step(self, batch: Any, batch_idx: int) -> Any:
        return {"features": self.change(self(batch[0]))}


@pytest.mark.parametrize(
    "change",
    [lambda x: x - x.mean(0), lambda x: x[:, :7], torch.nn.functional.normalize],
    ids=["values", "width", "scale"],
)
def test_other_features_from_the_step_than_from_forward_are_refused(change):
    host = seeded_host(OtherOutputs)
    host.change = change
    with pytest.raises(UsageError, match=r'returns other outputs\["features"\]'):
        validate(KNNMonitor(k=5, bank=bank_loader()), host)


def test_max_bank_reads_the_images_where_the_dataset_names_its_classes():
    data = images(203, seed=4)

    class Named(Dataset):
        labels = ["cat"] * 203

        def __len__(self) -> int:
            return 203

        def __getitem__(self, index: int) -> Any:
            return data[index]

    bank = DataLoader(Named(), batch_size=40)
    expected = validate(KNNMonitor(k=5, bank=bank_loader(), max_bank=50))
    assert validate(KNNMonitor(k=5, bank=bank, max_bank=50)) == expected


def test_the_order_of_a_bank_is_drawn_once():
    class Counted(torch.utils.data.SequentialSampler):
        drawn = 0

        def __iter__(self) -> Any:
            type(self).drawn += 1  # the loader is copied
            return super().__iter__()

    data = images(203, seed=4)
    sampler = Counted(data)
    validate(KNNMonitor(k=5, bank=DataLoader(data, batch_size=40, sampler=sampler), max_bank=50))
    assert Counted.drawn == 1
