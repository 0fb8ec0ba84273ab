"""Modules of other projects: what their steps and batches may do, and what callbacks must not do to them."""

import copy
import io
import warnings
from dataclasses import dataclass
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from sslbolts._lightning import Callback
from sslbolts.batch import class_labels, images_of, targets_of
from sslbolts.callbacks import CollapseMonitor, KNNMonitor, OnlineLinearProbe
from sslbolts.callbacks.shared.accuracies import accuracies
from sslbolts.callbacks.shared.linear_heads import LinearHeads
from sslbolts.errors import UsageError
from sslbolts.readouts import class_separation, ridge
from tests.callbacks.host import Host, bank_loader, images, metrics, train_loader, trainer, val_loader


def weights_after(host: Host, *callbacks: Callback, train: Any = None, val: Any = None) -> dict[str, Tensor]:
    """Weights and random state after a short run, with the callbacks or without."""
    torch.manual_seed(1)
    run = trainer(*callbacks, max_epochs=1, limit_train_batches=4)
    run.fit(host, train or train_loader(), val or val_loader())
    return {name: x.clone() for name, x in host.state_dict().items()} | {"rng": torch.get_rng_state()}


def assert_same_bits(host: type, *callbacks: Callback, **loaders: Any) -> None:
    torch.manual_seed(0)
    alone = weights_after(host(), **loaders)
    torch.manual_seed(0)
    watched = weights_after(host(), *callbacks, **loaders)
    assert alone.keys() == watched.keys()
    for name, x in alone.items():
        assert torch.equal(x, watched[name]), name


class Copying(Host):
    """Keeps copies of its encoder that are made in the middle of a step, and runs them."""

    def __init__(self) -> None:
        super().__init__()
        self.copies: list[nn.Module] = []
        self.saved = io.BytesIO()

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        self.copies = [copy.deepcopy(self.encoder)]
        self.copies[0](batch[0])
        if batch_idx == 1:
            torch.save(self.encoder, self.saved)
        return super().training_step(batch, batch_idx)


def test_copies_of_a_layer_record_nothing_and_its_pickle_needs_nothing_of_ours():
    rows, between = [], []
    original = LinearHeads.step

    class Look(Callback):
        def on_train_batch_end(self, trainer: Any, pl_module: Any, *args: Any) -> None:
            between.append(any(module._forward_hooks for module in pl_module.modules()))

    host = Copying()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LinearHeads, "step", lambda self, x, y: rows.append(len(x)) or original(self, x, y))
        run = trainer(OnlineLinearProbe(5, "encoder"), CollapseMonitor("encoder"), Look(), max_epochs=1)
        run.fit(host, train_loader(), val_loader())
    assert rows == [16] * 10  # not those of the copies
    assert between == [False] * 10
    host.saved.seek(0)
    assert b"sslbolts" not in host.saved.getvalue()
    loaded = torch.load(host.saved, weights_only=False)
    assert loaded(torch.ones(2, 3, 4, 4)).shape == (2, 32)


class Alternating(Host):
    """Its encoder runs in every other step, and never in some."""

    idle = False

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        if batch_idx % 2 == 0 or self.idle:
            return None
        return super().training_step(batch, batch_idx)

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        if batch_idx % 2:
            super().validation_step(batch, batch_idx)


def test_steps_that_do_not_run_the_layer_are_left_out():
    probe, collapse = OnlineLinearProbe(5, "encoder"), CollapseMonitor("encoder", every_n_steps=100)
    run = trainer(probe, collapse, max_epochs=1)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*(ran|label).*")
        run.fit(Alternating(), train_loader(), val_loader())
    assert probe._heads.batches == 5
    assert metrics(run).keys() >= {"probe/train_top1", "probe/top1", "collapse/std"}


def test_a_layer_that_no_step_runs_is_said_once():
    host = Alternating()
    host.idle = True
    monitors = OnlineLinearProbe(5, "encoder"), CollapseMonitor("encoder")
    with pytest.warns(UserWarning, match="ran") as caught:
        trainer(*monitors, max_epochs=2).fit(host, train_loader())
    told = [str(w.message) for w in caught if 'no training step of an epoch ran "encoder"' in str(w.message)]
    assert len(told) == 2  # one of each


class NoForward(Host):
    """Its layers are called by its steps alone, on batches that nobody else knows."""

    def forward(self, batch: Any, stage: str) -> Tensor:
        raise AssertionError("this is not for images")

    def _loss(self, batch: Any) -> Tensor:
        batch = dict(batch) if isinstance(batch, dict) else batch
        x, y = self.taken(batch)
        return F.cross_entropy(self.classifier(self.encoder(x)), y)

    def taken(self, batch: Any) -> tuple[Tensor, Tensor]:
        return batch[0], batch[1]

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return self._loss(batch)

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self._loss(batch)


def test_without_forward_the_layer_itself_takes_the_images():
    torch.manual_seed(0)
    host = NoForward()
    run = trainer(
        KNNMonitor(k=5, bank=bank_loader(), features="encoder"), OnlineLinearProbe(5, "encoder"), max_epochs=1
    )
    run.fit(host, train_loader(), val_loader())
    with torch.no_grad():
        bank, queries = (host.encoder.eval()(images(rows, seed=seed).tensors[0]) for rows, seed in ((203, 4), (97, 3)))
    near = (F.normalize(queries) @ F.normalize(bank).T).topk(5)
    votes = torch.zeros(97, 5).scatter_add_(1, images(203, seed=4).tensors[1][near.indices], (near.values / 0.07).exp())
    right = (votes.argmax(1) == images(97, seed=3).tensors[1]).float().mean().item()
    assert metrics(run)["knn/k5_t0.07"] == pytest.approx(right, abs=1e-6)
    message = r"forward of NoForward gives no features of images \(TypeError: .*name a submodule"
    with pytest.raises(UsageError, match=message):
        trainer(KNNMonitor(k=5, bank=bank_loader())).validate(host, val_loader(), verbose=False)


@dataclass
class Record:
    label: Tensor
    picture: Tensor


class Swapped(NamedTuple):
    label: Tensor
    image: Tensor


def popped(rows: list[tuple[Tensor, int]]) -> dict[str, Any]:
    return {"payload": torch.stack([x for x, _ in rows]), "label": torch.tensor([int(y) for _, y in rows])}


KINDS = {
    "labels popped from a mapping": (popped, lambda b: (b["payload"], b.pop("label")), lambda b: b["payload"], None),
    "index, views, labels": (
        lambda rows: [torch.arange(len(rows)), [popped(rows)["payload"]], popped(rows)["label"]],
        lambda b: (b[1][0], b[2]),
        lambda b: b[1][0],
        lambda b: b[2],
    ),
    "dataclass": (
        lambda rows: Record(popped(rows)["label"], popped(rows)["payload"]),
        lambda b: (b.picture, b.label),
        lambda b: b.picture,
        None,
    ),
    "named tuple": (
        lambda rows: Swapped(popped(rows)["label"], popped(rows)["payload"]),
        lambda b: (b.image, b.label),
        lambda b: b.image,
        None,
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_with_a_callable_batches_may_have_any_form(kind):
    collate, taken, pictures, labels = KINDS[kind]

    class Odd(NoForward):
        def _loss(self, batch: Any) -> Tensor:
            x, y = taken(batch)
            return F.cross_entropy(self.classifier(self.encoder(x)), y)

    def features(module: Any, batch: Any, outputs: Any) -> Tensor:
        return module.encoder(pictures(batch))

    def loaders(rows: int, seed: int) -> DataLoader:
        return DataLoader(images(rows, seed=seed), batch_size=16, collate_fn=collate)

    knn = KNNMonitor(k=5, bank=loaders(64, 4), features=features, targets=labels)
    by_name, by_call = OnlineLinearProbe(5, "encoder", labels), OnlineLinearProbe(5, features, labels, name="called")
    run = trainer(knn, by_name, by_call, max_epochs=1, num_sanity_val_steps=0)
    run.fit(Odd(), loaders(48, 2), loaders(40, 3))
    assert metrics(run).keys() >= {"knn/k5_t0.07", "knn/k5_t0.07/untrained", "probe/top1", "called/top1"}
    assert by_name._heads.seen == by_call._heads.seen == 48


def test_a_callable_runs_in_eval_mode_and_leaves_no_trace():
    modes = []

    def features(module: Any, batch: Any, outputs: Any) -> Tensor:
        modes.append(module.training)
        return module.encoder(batch[0]) + torch.rand(len(batch[0]), 32)

    def labels(batch: Any) -> Tensor:
        return batch[1] * (torch.rand(len(batch[1])) < 0.9)

    assert_same_bits(
        Host, OnlineLinearProbe(5, features, labels), KNNMonitor(k=5, bank=bank_loader(), features=features)
    )
    assert modes
    assert not any(modes)


class Merging(nn.Linear):
    """A layer that adds a small update to its weights in eval mode, and takes it away in training, as LoRA does."""

    def __init__(self, *sizes: int) -> None:
        super().__init__(*sizes)
        self.update = nn.Parameter(torch.randn_like(self.weight) / 3)
        self.weight.requires_grad_(False)
        self.merged = False
        self.told: list[bool] = []

    def train(self, mode: bool = True) -> "Merging":
        super().train(mode)
        self.told.append(mode)
        if self.merged == mode:
            self.merged = not mode
            self.weight.data += -self.update.data if mode else self.update.data
        return self

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) if self.merged else F.linear(x, self.weight + self.update, self.bias)


class Adapted(Host):
    proper = True

    def __init__(self) -> None:
        super().__init__()
        self.encoder[1] = Merging(48, 32)
        self.frozen = Merging(4, 4).eval()

    def on_validation_model_train(self) -> None:
        if self.proper:
            self.train()  # Lightning sets the flags alone
            self.frozen.eval()


class LeftMerged(Adapted):
    """As Lightning leaves it after validation."""

    proper = False


@pytest.mark.parametrize("host", [Adapted, LeftMerged])
def test_layers_that_do_work_in_train_and_eval_are_as_without_callbacks(host):
    def features(module: Any, batch: Any, outputs: Any) -> Tensor:
        assert module.encoder[1].merged
        return module.encoder(batch[0])

    seen = []

    class Look(Callback):
        def on_train_batch_start(self, trainer: Any, pl_module: Any, *args: Any) -> None:
            seen.append((pl_module.encoder[1].merged, pl_module.frozen.merged, pl_module.frozen.training))

    assert_same_bits(host, Look(), OnlineLinearProbe(5, features), KNNMonitor(k=5, bank=bank_loader()))
    assert seen == [(not host.proper, True, False)] * 4


class Noisy(Host):
    """Its validation looks at distorted images."""

    def validation_step(self, batch: Any, batch_idx: int) -> Any:
        return {"features": self(batch[0] + 9 * torch.randn(batch[0].shape))}


def test_queries_of_a_layer_are_made_as_the_bank_is_where_the_step_makes_others():
    torch.manual_seed(0)
    noisy, clean = Noisy(), Host()
    clean.load_state_dict(noisy.state_dict())
    found = []
    for host in (noisy, clean):
        run = trainer(KNNMonitor(k=5, bank=bank_loader(), features="encoder"))
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            run.validate(host, val_loader(), verbose=False)
        said = ["queries are made by such a pass" in str(w.message) for w in caught]
        assert sum(said) == (host is noisy)
        found.append(metrics(run)["knn/k5_t0.07"])
    assert found[0] == found[1]

    def features(module: Any, batch: Any, outputs: Any) -> Tensor:
        return module(batch[0]) if outputs is None else outputs["features"]

    with pytest.raises(UsageError, match="with outputs of the step of Noisy"):
        trainer(KNNMonitor(k=5, bank=bank_loader(), features=features)).validate(noisy, val_loader(), verbose=False)


@pytest.mark.parametrize(
    "labels",
    [
        torch.tensor([3, 0, -1], dtype=torch.int32),
        torch.tensor([3, 0, -1], dtype=torch.int16),
        torch.tensor([[3], [0], [-1]]),
        torch.tensor([3, 0, -1]).numpy(),
        [3, 0, -1],
        [[3], [0], [-1]],
        [torch.tensor(3), torch.tensor(0), torch.tensor(-1)],
        [3, 0, None],
        torch.tensor([3.0, 0.0, float("nan")]),
        torch.tensor([3, 0, -100]),
    ],
)
def test_labels_of_any_whole_numbers(labels):
    for found in (class_labels(labels), targets_of((torch.zeros(3, 2), labels)), targets_of({"y": labels})):
        assert found.tolist() == [3, 0, -1]
        assert found.dtype == torch.int64


def test_labels_of_bytes_and_truth_and_with_a_single_one():
    assert class_labels(torch.eye(3)[[1, 2]]).tolist() == [1, 2]
    assert class_labels(torch.tensor([200, 1], dtype=torch.uint8)).tolist() == [200, 1]
    assert class_labels(torch.tensor([True, False])).tolist() == [1, 0]


@pytest.mark.parametrize(
    ("labels", "form"),
    [
        (torch.tensor([1.0, 0.5]), r"shape \(2,\) and torch.float32: 0.5 is no label: round it"),
        (torch.ones(3, 3), r"shape \(3, 3\) .*: \[1.0, 1.0, 1.0\], which marks 3 classes is no label"),
        (torch.zeros(3, 3, 2), r"shape \(3, 3, 2\) .*: an array \(3, 2\) is no label"),
        (torch.tensor(1), r"shape \(\) .* each image's class"),
        (["cat", "dog"], r'type list: "cat" is no label: give the class\'s number, e.g. names.index\("cat"\)'),
        (None, "type NoneType"),
    ],
)
def test_what_are_no_labels_is_named(labels, form):
    with pytest.raises(UsageError, match=f"labels of a batch have {form}"):
        class_labels(labels)


def test_indices_are_no_images():
    with pytest.raises(UsageError, match="no images are found"):
        images_of([torch.arange(4), [torch.zeros(4, 3, 2, 2)], torch.arange(4)])


def test_large_labels_take_no_more_than_small_ones(monkeypatch):
    x, y = images(203, seed=4).tensors
    queries, wanted = images(97, seed=3).tensors
    wanted[0] = 5  # a class that the bank has not
    limits = []
    monkeypatch.setattr(ridge, "ridge_memory", lambda width, classes, *penalties: limits.append(classes))
    settings = {"k": [5], "temperature": 0.1, "ridge": True}
    large = accuracies(queries.flatten(1), wanted * 10**8, x.flatten(1), y * 10**8, **settings)
    assert large == accuracies(queries.flatten(1), wanted, x.flatten(1), y, **settings)
    assert limits == [5, 5]
    assert class_separation(x.flatten(1), y * 10**8) == class_separation(x.flatten(1), y)


def test_ridge_that_would_not_fit_is_nan_and_kNN_goes_on():
    x = torch.randn(4, 20_000)
    with pytest.warns(UserWarning, match=r"would take 8\.9 GB.* NaN"):
        found = accuracies(
            x, torch.tensor([0, 0, 1, 1]), x, torch.tensor([0, 0, 1, 1]), k=[1], temperature=0.1, ridge=True
        )
    assert found[0] == 1
    assert len(found) == 2
    assert found[1] != found[1]
