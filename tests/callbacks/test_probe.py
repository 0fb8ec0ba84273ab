"""The online probe: what it reads, what it learns, what it refuses."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from sslbolts._lightning import Callback
from sslbolts.callbacks import OnlineLinearProbe
from sslbolts.callbacks.shared.linear_heads import LinearHeads
from sslbolts.errors import UsageError
from tests.callbacks.host import Host, images, metrics, train_loader, trainer, val_loader
from tests.invariants.waiting import _NoCopies, _NoWaiting


def heads(width: int = 6, classes: int = 3, lrs: tuple[float, ...] = (0.1, 0.5), decay: float = 0.0) -> LinearHeads:
    return LinearHeads(width, classes, lrs, weight_decay=decay, device=torch.device("cpu"))


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_heads_take_the_steps_of_torch_sgd_on_cross_entropy(decay):
    ours = heads(decay=decay)
    layers = [nn.Linear(6, 3) for _ in range(2)]
    optimizers = []
    for layer, lr in zip(layers, (0.1, 0.5)):
        nn.init.zeros_(layer.weight)
        nn.init.zeros_(layer.bias)
        groups = [{"params": [layer.weight], "weight_decay": decay}, {"params": [layer.bias]}]
        optimizers.append(torch.optim.SGD(groups, lr=lr, momentum=0.9))
    mean, variance, seen = torch.zeros(6), torch.ones(6), torch.empty(0, 6)
    for step in range(8):
        x, y = 3 * torch.randn(20, 6) + 5, torch.randint(0, 3, (20,))
        rows = (x - mean) / (variance + 1e-5).sqrt()
        expected = [(layer(rows).argmax(1) == y).sum().item() for layer in layers]
        counts = ours.step(x, y).tolist()
        assert counts == [20, *expected, 20, 0]
        for layer, optimizer in zip(layers, optimizers):
            if step:  # the first batch only measures mean and deviation
                optimizer.zero_grad()
                F.cross_entropy(layer(rows), y).backward()
                optimizer.step()
        seen = torch.cat([seen, x])
        mean, variance = seen.mean(0), seen.var(0, unbiased=False)
    x = torch.randn(4, 6)
    rows = (x - mean) / (variance + 1e-5).sqrt()
    expected_logits = torch.stack([layer(rows) for layer in layers], 1)
    torch.testing.assert_close(ours.logits(x), expected_logits.detach(), rtol=1e-4, atol=1e-4)


def test_rows_without_label_or_with_nan_have_no_part():
    whole, part = heads(), heads()
    for _ in range(4):
        x, y = torch.randn(20, 6), torch.randint(0, 3, (20,))
        more = torch.cat([x, torch.full((1, 6), torch.nan), torch.randn(3, 6)])
        labels = torch.cat([y, torch.tensor([1]), -torch.ones(3, dtype=torch.long)])
        labeled, *others = part.step(more, labels).tolist()
        assert [labeled - 1, *others] == whole.step(x, y).tolist()
    torch.testing.assert_close(whole.weight, part.weight)
    torch.testing.assert_close(whole.mean, part.mean)


def test_a_step_never_makes_the_host_wait():
    ours = heads(decay=0.1)
    x, y = torch.randn(20, 6), torch.randint(-1, 4, (20,))
    with _NoCopies(), _NoWaiting():
        for _ in range(3):
            ours.step(x, y)
    assert ours.seen > 0


def test_features_of_any_scale_are_learned_with_the_default_learning_rates():
    for scale, shift in ((1e-3, 0.0), (1.0, 5.0), (1e3, -1e3)):
        ours = LinearHeads(20, 4, OnlineLinearProbe(4).lrs, weight_decay=0.0, device=torch.device("cpu"))
        centers = torch.randn(4, 20)
        for _ in range(100):
            y = torch.randint(0, 4, (64,))
            counts = ours.step(scale * (centers[y] + torch.randn(64, 20)) + shift, y)
        assert max(counts[1:-2].tolist()) > 0.9 * 64


def test_mean_and_deviation_are_those_of_all_labeled_rows_however_they_come():
    ours, seen = heads(), torch.empty(0, 6)
    for labeled in (1, 0, 2, 0, 0, 1, 20, 3, 0, 1):
        x, y = 3 * torch.randn(20, 6) + 5, torch.randint(0, 3, (20,))
        y[labeled:] = -1
        ours.step(x, y)
        seen = torch.cat([seen, x[:labeled]])
        torch.testing.assert_close(ours.mean, seen.mean(0), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(ours.variance, seen.var(0, unbiased=False), rtol=1e-4, atol=1e-4)


def test_later_a_batch_has_the_share_of_a_hundredth_for_each_typical_batch():
    ours = heads()
    for _ in range(200):
        ours.step(torch.randn(20, 6), torch.randint(0, 3, (20,)))
    mean, x = ours.mean.clone(), torch.randn(40, 6) + 7
    ours.step(x, torch.zeros(40, dtype=torch.long))
    typical = (200 * 20 + 40) / 201
    torch.testing.assert_close(ours.mean, mean + 0.01 * 40 / typical * (x.mean(0) - mean))


def test_a_batch_without_labels_changes_nothing():
    ours = heads(decay=0.1)
    for _ in range(5):
        ours.step(torch.randn(20, 6), torch.randint(0, 3, (20,)))
    before = ours.state_dict()
    assert ours.step(torch.randn(20, 6), -torch.ones(20, dtype=torch.long)).tolist() == [0, 0, 0, 0, 0]
    for name, value in ours.state_dict().items():
        assert torch.equal(value, before[name]) if isinstance(value, Tensor) else value == before[name], name


def test_with_one_label_in_a_hundred_it_learns_what_there_is_to_learn():
    generator = torch.Generator().manual_seed(0)
    centers, scales = torch.randn(10, 128, generator=generator), 5 * torch.rand(128, generator=generator) + 1

    def batch(rows: int) -> tuple[Tensor, Tensor]:
        y = torch.randint(0, 10, (rows,), generator=generator)
        return scales * (centers[y] + 2 * torch.randn(rows, 128, generator=generator)) + 3, y

    ours = LinearHeads(128, 10, OnlineLinearProbe(10).lrs, weight_decay=0.0, device=torch.device("cpu"))
    for _ in range(1500):
        x, y = batch(64)
        ours.step(x, torch.where(torch.rand(64, generator=generator) < 0.01, y, -1))
    x, y = batch(2000)
    ratio = ours.variance / x.var(0)
    assert 0.8 < ratio.mean() < 1.2
    assert 0.5 < ratio.min() < ratio.max() < 2
    top1 = (ours.logits(x).argmax(2) == y[:, None]).float().mean(0).max().item()
    # The nearest of the class means of as many rows, by deviations that are known: what can be had without tuning.
    few, labels = batch(960)
    means = torch.stack([(few / scales)[labels == c].mean(0) for c in range(10)])
    reference = (torch.cdist(x / scales, means).argmin(1) == y).float().mean().item()
    assert top1 > 0.9 * reference


def test_it_reads_the_training_steps_own_features_without_a_further_forward_pass():
    calls = []
    host = Host()
    host.encoder.register_forward_hook(lambda module, args, output: calls.append(module.training))
    trainer(OnlineLinearProbe(5, "encoder"), max_epochs=1, num_sanity_val_steps=0).fit(
        host, train_loader(), val_loader()
    )
    assert calls == [True] * 10 + [False] * 4


class TwoViews(Host):
    """Several views in one call, view after view, and a small crop."""

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        x, _ = batch
        features = self.encoder(torch.cat([x, x + 1]))
        assert self.small(x[:, :, :2, :2]).shape[0] == len(x)
        return features.square().mean()

    def small(self, x: Tensor) -> Tensor:
        return self.encoder[1](F.interpolate(x, 4).flatten(1))


def test_rows_that_repeat_per_view_get_the_labels_of_each_view():
    probe, seen = OnlineLinearProbe(5, "encoder"), []
    original = LinearHeads.step

    def spy(self: LinearHeads, x: Tensor, targets: Tensor) -> Tensor:
        seen.append((len(x), targets))
        return original(self, x, targets)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LinearHeads, "step", spy)
        trainer(probe, max_epochs=1).fit(TwoViews(), train_loader(shuffle=False))
    assert [rows for rows, _ in seen] == [32] * 10
    expected = images(160, seed=2).tensors[1][:16]
    assert torch.equal(seen[0][1], expected.repeat(2))


def test_maps_tokens_and_callables_are_features_too():
    class Maps(Host):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Conv2d(3, 8, 1)
            self.encoder = nn.Sequential(nn.Flatten(), nn.Linear(128, 32))

        def forward(self, x: Tensor) -> Tensor:
            return self.encoder(self.stem(x))

        def training_step(self, batch: Any, batch_idx: int) -> Any:
            return {"loss": super().training_step(batch, batch_idx), "pixels": batch[0].flatten(1).requires_grad_()}

    def pixels(module: Any, batch: Any, outputs: Any) -> Tensor:
        return outputs["pixels"] if outputs else batch[0].flatten(1)

    by_name, by_call = OnlineLinearProbe(5, "stem"), OnlineLinearProbe(5, pixels, name="pixels")
    run = trainer(by_name, by_call)
    run.fit(Maps(), train_loader(), val_loader())
    assert by_name._heads is not None
    assert by_call._heads is not None
    assert (by_name._heads.width, by_call._heads.width) == (8, 48)
    assert metrics(run)["pixels/top1"] > 0.4


def test_top5_is_there_where_classes_are_many():
    run = trainer(OnlineLinearProbe(40, "encoder"), max_epochs=1)
    run.fit(Host(), train_loader(), val_loader())
    assert metrics(run)["probe/top5"] >= metrics(run)["probe/top1"]


def test_top5_is_the_first_five():
    """Classes 19, 18, ... 0 in this order: 15 is the fifth, and 14 the sixth."""
    probe, logits = OnlineLinearProbe(20, lrs=(0.1,)), torch.arange(20.0).expand(2, 20)
    probe._heads_for = lambda features: type("Heads", (), {"logits": staticmethod(lambda x: x[:, None])})
    probe.collect(None, None, None, logits, torch.tensor([15, 14]))
    assert probe._right[0][..., 0].tolist() == [[False, True], [False, False]]


def test_every_other_batch():
    probe = OnlineLinearProbe(5, "encoder", every_n_batches=2)
    trainer(probe, max_epochs=1).fit(Host(), train_loader())
    assert probe._heads is not None
    assert probe._heads.batches == 5


def test_activation_checkpointing_does_not_repeat_rows():
    class Recomputed(Host):
        def training_step(self, batch: Any, batch_idx: int) -> Tensor:
            x, y = batch
            features = torch.utils.checkpoint.checkpoint(self.encoder, x, use_reentrant=False)
            return F.cross_entropy(self.classifier(features), y)

    rows = []
    original = LinearHeads.step
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LinearHeads, "step", lambda self, x, y: rows.append(len(x)) or original(self, x, y))
        trainer(OnlineLinearProbe(5, "encoder"), max_epochs=1).fit(Recomputed(), train_loader())
    assert rows == [16] * 10


def unlabeled(rows: int = 32) -> DataLoader:
    x, y = images(rows, seed=2).tensors
    return DataLoader(TensorDataset(x, torch.full_like(y, -1)), batch_size=16)


def test_training_without_any_label_warns_and_logs_nothing():
    run = trainer(OnlineLinearProbe(5, "encoder"), max_epochs=1)
    host = Host()
    host.training_step = lambda batch, batch_idx: host(batch[0]).square().mean()  # type: ignore[method-assign]
    with pytest.warns(UserWarning, match="no training image of this epoch had a label"):
        run.fit(host, unlabeled())
    assert "probe/train_top1" not in metrics(run)


def test_a_diverged_network_is_not_taken_for_a_lack_of_labels():
    run = trainer(OnlineLinearProbe(5, lambda module, batch, outputs: batch[0].flatten(1) * torch.nan), max_epochs=1)
    with pytest.warns(UserWarning, match="features of all 160 labeled training images of this epoch are NaN") as warned:
        run.fit(Host(), train_loader())
    assert not [warning for warning in warned if "had a label" in str(warning.message)]
    assert "probe/train_top1" not in metrics(run)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_classes": 1}, "num_classes=1"),
        ({"num_classes": 5, "lrs": ()}, "at least one learning rate"),
        ({"num_classes": 5, "weight_decay": -1.0}, "weight_decay=-1.0"),
        ({"num_classes": 5, "every_n_batches": 0}, "every_n_batches=0"),
        ({"num_classes": 5, "name": ""}, "name is empty"),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(UsageError, match=message):
        OnlineLinearProbe(**arguments)


@pytest.mark.parametrize(
    ("probe", "message"),
    [
        (OnlineLinearProbe(5), r'Host has no layer "backbone"\. There are: encoder, classifier, encoder\.0'),
        (OnlineLinearProbe(5, "encodr"), r'no layer "encodr"\. Did you mean "encoder"\?'),
        (OnlineLinearProbe(3, "encoder"), "label 4 but num_classes=3"),
        (OnlineLinearProbe(5, "encoder", targets=lambda batch: batch[1][:7]), "16 rows and the batch has 7 labels"),
        (OnlineLinearProbe(5, lambda module, batch, outputs: outputs), "has type dict"),
    ],
)
def test_what_cannot_work_is_said_in_one_sentence(probe, message):
    host = Host()
    with pytest.raises(UsageError, match=message):
        trainer(probe, max_epochs=1).fit(host, train_loader())
    assert not any(module._forward_hooks for module in host.modules())


def test_a_label_of_no_class_in_a_later_batch_is_said_at_the_end_of_the_epoch():
    x, y = images(160, seed=2).tensors
    y = torch.where(torch.arange(160) < 16, y.clamp(max=3), y)  # the first batch has no label 4
    rows = (y[16:] >= 4).sum()
    assert rows > 0
    with pytest.raises(UsageError, match=rf"{rows} labels of this epoch are 4 or more, but num_classes=4"):
        trainer(OnlineLinearProbe(4, "encoder")).fit(Host(), DataLoader(TensorDataset(x, y), batch_size=16))


def test_a_label_of_no_class_trains_nothing():
    whole, part = heads(), heads()
    for _ in range(3):
        x, y = torch.randn(20, 6), torch.randint(0, 3, (20,))
        whole.step(x, y)
        counts = part.step(torch.cat([x, torch.randn(2, 6)]), torch.cat([y, torch.tensor([3, 99])]))
        assert counts[-2:].tolist() == [20, 2]
    torch.testing.assert_close(whole.weight, part.weight)


def test_another_run_starts_with_new_heads_and_the_same_one_goes_on():
    probe = OnlineLinearProbe(5, "encoder")
    run = trainer(probe, max_epochs=1)
    run.fit(host := Host(), train_loader(), val_loader())
    assert probe._heads.batches == 10
    run.fit_loop.max_epochs = 2
    run.fit(host, train_loader(), val_loader())
    assert probe._heads.batches == 20
    run.fit_loop.max_epochs = 3
    run.fit(Host(), train_loader(), val_loader())  # another module
    assert probe._heads.batches == 10
    trainer(probe, max_epochs=1).fit(Host(), train_loader(), val_loader())
    assert probe._heads.batches == 10


def test_counts_of_a_run_that_failed_are_not_those_of_the_next():
    class Fails(Host):
        def training_step(self, batch: Any, batch_idx: int) -> Tensor:
            if batch_idx == 5:
                raise RuntimeError("broken")
            return super().training_step(batch, batch_idx)

    probe = OnlineLinearProbe(5, "encoder")
    with pytest.raises(RuntimeError, match="broken"):
        trainer(probe).fit(Fails(), train_loader())
    rows = []

    class Watches(Callback):
        def on_train_batch_end(self, *_: Any) -> None:
            rows.append(int(probe._train_counts[-2]))

    trainer(probe, Watches(), max_epochs=1).fit(Host(), train_loader())
    assert rows == list(range(16, 161, 16))


def test_testing_takes_the_learning_rate_that_validation_has_chosen(tmp_path):
    probe = OnlineLinearProbe(5, "encoder", lrs=(0.01, 0.1))
    run = trainer(probe, max_epochs=1)
    run.fit(host := Host(), train_loader(), val_loader())
    x, _ = images(97, seed=3).tensors
    with torch.no_grad():
        guesses = probe._heads.logits(host.eval()(x)).argmax(2)
    # Labels on which one head, and then the other, is always right.
    labeled = [DataLoader(TensorDataset(x, guesses[:, head].clone()), batch_size=25) for head in (0, 1)]
    agree = (guesses[:, 0] == guesses[:, 1]).float().mean().item()
    assert agree < 1
    assert run.validate(host, labeled[0], verbose=False)[0]["probe/top1"] == 1
    assert run.test(host, labeled[1], verbose=False)[0]["test/probe/top1"] == pytest.approx(agree)
    assert probe.accuracies[0.1] == 1
    run.save_checkpoint(tmp_path / "chosen.ckpt")
    fresh = trainer(OnlineLinearProbe(5, "encoder", lrs=(0.01, 0.1)))
    again = fresh.test(Host(), labeled[1], ckpt_path=tmp_path / "chosen.ckpt", verbose=False)[0]
    assert again["test/probe/top1"] == pytest.approx(agree)


def test_testing_without_a_validation_says_that_it_chose_on_the_test_images():
    probe = OnlineLinearProbe(5, "encoder")
    run = trainer(probe, max_epochs=1, limit_val_batches=0)
    run.fit(host := Host(), train_loader())
    with pytest.warns(UserWarning, match="chosen on the test images"):
        values = run.test(host, val_loader(), verbose=False)[0]
    assert values["test/probe/top1"] == pytest.approx(max(probe.accuracies.values()))


def test_features_that_are_not_finite_are_never_right():
    class Diverged(Host):
        def validation_step(self, batch: Any, batch_idx: int) -> None:
            self(batch[0] * torch.nan)

    probe = OnlineLinearProbe(5, "encoder")
    trainer(probe, max_epochs=1).fit(Diverged(), train_loader(), val_loader())
    assert set(probe.accuracies.values()) == {0.0}


def test_a_submodule_may_be_called_by_either_of_its_names():
    host = Host()
    host.backbone = host.encoder
    probe = OnlineLinearProbe(5, "backbone")
    trainer(probe, max_epochs=1).fit(host, train_loader(), val_loader())
    assert probe.accuracies
