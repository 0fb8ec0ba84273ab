"""Pictures as callbacks: they are drawn, go to files and loggers, and show what they say."""

from typing import Any

import pytest
import timm
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from sslbolts import SimCLR
from sslbolts._lightning import Callback, lightning_module
from sslbolts.callbacks import (
    AttentionMaps,
    AugmentationSheet,
    ClusterSheet,
    EmbeddingPlot,
    KNNMonitor,
    NeighborSheet,
    Reconstructions,
)
from sslbolts.callbacks.pictures.shared.images import displayable
from sslbolts.data import CIFAR10MiniDataModule
from sslbolts.errors import UsageError
from tests.callbacks.host import Host, bank_loader, train_loader, trainer, val_loader
from tests.helpers.nets import TinyBackbone


class Recorder(lightning_module("loggers").CSVLogger):
    """A logger that takes pictures as W&B's does."""

    def __init__(self, folder: Any) -> None:
        super().__init__(folder, name="", version="")
        self.seen: list[tuple[str, tuple[int, int], int]] = []

    def log_image(self, key: str, images: list[Any], step: int | None = None, **kwargs: Any) -> None:
        self.seen += [(key, image.size, step) for image in images]


class Masked(Host):
    """A generative host: it hides half of the pixels at random, and puts zeros there."""

    def reconstruct(self, images: Tensor) -> tuple[Tensor, Tensor]:
        shown = images * (torch.rand_like(images) > 0.5)
        return shown, shown


def pictures_of(folder: Any) -> set[str]:
    return {path.name for path in (folder / "pictures").iterdir()}


def test_every_picture_of_a_foreign_project_is_a_file_and_goes_to_its_loggers(tmp_path):
    logger = Recorder(tmp_path)
    bank = bank_loader
    callbacks = [
        NeighborSheet(k=2, queries=3, bank=bank, every_n_epochs=2),
        EmbeddingPlot(projections=["pca"]),
        ClusterSheet(clusters=2),
        AugmentationSheet(images=2),
        Reconstructions(images=2),
    ]
    run = trainer(*callbacks, logger=logger, default_root_dir=tmp_path)
    run.fit(Masked(), train_loader(), val_loader())
    assert pictures_of(tmp_path) == {
        "augmentations-epoch0001.png",
        "clusters-epoch0002.png",
        "embedding-epoch0002.png",
        "neighbors-epoch0002.png",
        "reconstructions-epoch0002.png",
    }
    assert {key for key, *_ in logger.seen} == {
        f"pictures/{name}" for name in ("neighbors", "embedding", "clusters", "augmentations", "reconstructions")
    }
    for key, size, step in logger.seen:
        name = key.removeprefix("pictures/")
        with Image.open(next((tmp_path / "pictures").glob(f"{name}-*"))) as file:
            assert file.size == size
        assert step == (0 if name == "augmentations" else run.global_step)


def test_tensorboard_gets_the_pixels(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    logger = lightning_module("loggers").TensorBoardLogger(tmp_path, name="", version="")
    trainer(ClusterSheet(clusters=1), logger=[logger, Recorder(tmp_path / "second")]).fit(
        Host(), train_loader(), val_loader()
    )
    events = EventAccumulator(str(tmp_path)).Reload()
    (image,) = events.Images("pictures/clusters")
    with Image.open(tmp_path / "pictures" / "clusters-epoch0002.png") as file:
        assert (image.width, image.height) == file.size


def test_pictures_without_labels(tmp_path):
    images = DataLoader(TensorDataset(torch.rand(40, 3, 8, 8)), batch_size=20)

    class Net(Host):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = nn.Sequential(nn.Flatten(), nn.Linear(192, 8))

        def training_step(self, batch: Any, batch_idx: int) -> Tensor:
            return self(batch[0]).square().mean()

        def validation_step(self, batch: Any, batch_idx: int) -> None:
            pass

    callbacks = [NeighborSheet(1, 2, bank=images), EmbeddingPlot(projections=["pca"]), ClusterSheet(clusters=1)]
    trainer(*callbacks, max_epochs=1, default_root_dir=tmp_path).fit(Net(), images, images)
    assert len(pictures_of(tmp_path)) == 3


def test_a_knn_monitor_and_a_sheet_of_neighbors_share_the_pass_over_the_bank(tmp_path):
    calls = []

    class Counting(Host):
        def forward(self, x: Tensor) -> Tensor:
            calls.append(len(x))
            return super().forward(x)

    def bank_rows(*callbacks: Any) -> int:
        calls.clear()
        run = trainer(*callbacks, max_epochs=1, default_root_dir=tmp_path, limit_train_batches=1)
        run.fit(Counting(), train_loader(), val_loader())
        return sum(calls)

    alone = bank_rows(KNNMonitor(k=5, bank=bank_loader, baselines=False))
    for order in (0, 1):
        both = [KNNMonitor(k=5, bank=bank_loader, baselines=False), NeighborSheet(k=1, queries=2)]
        assert bank_rows(*both[::-1] if order else both) == alone + 97  # the queries, and not the bank
    assert (
        bank_rows(KNNMonitor(k=5, bank=bank_loader, baselines=False), NeighborSheet(1, 2, bank=bank_loader))
        > alone + 200
    )


@pytest.mark.parametrize("rebuilt", [True, False])
def test_neighbors_are_those_of_a_naive_search(tmp_path, monkeypatch, rebuilt):
    """The images that the sheet shows, by the order of cosines in numpy."""
    drawn: dict[str, Any] = {}

    def remember(queries: Tensor, query_targets: Tensor, bank: Tensor, targets: Tensor, rows: Any, **_: Any) -> None:
        drawn.update(queries=queries, bank=bank, targets=targets, rows=rows, query_targets=query_targets)

    monkeypatch.setattr("sslbolts.callbacks.pictures.neighbors.draw_neighbors", remember)
    loader = bank_loader(shuffle=False)
    source = loader if rebuilt else [tuple(batch) for batch in loader]  # a list of batches cannot be rebuilt
    host = Host()
    run = trainer(NeighborSheet(k=4, queries=5, bank=source, max_bank=None), default_root_dir=tmp_path)
    run.validate(host, val_loader(), verbose=False)
    x, y = bank_loader(shuffle=False).dataset.tensors
    q, t = val_loader().dataset.tensors
    with torch.no_grad():
        cosine = F.normalize(host.eval()(q)) @ F.normalize(host(x)).T
    chosen = [int((t == label).nonzero()[0]) for label in range(5)]
    assert drawn["query_targets"].tolist() == t[chosen].tolist()
    assert torch.equal(drawn["queries"], displayable(q[chosen]))
    expected = cosine[chosen].argsort(dim=1, descending=True)[:, :4]
    assert torch.equal(drawn["bank"][drawn["rows"]["Host"]], displayable(x[expected.flatten()]).view(5, 4, 3, 4, 4))
    assert torch.equal(drawn["targets"][drawn["rows"]["Host"]], y[expected])
    pixels, mine = displayable(x).flatten(1).float(), displayable(q[chosen]).flatten(1).float()
    mean = pixels.mean(0)
    raw = (F.normalize(mine - mean) @ F.normalize(pixels - mean).T).argsort(dim=1, descending=True)[:, :4]
    assert torch.equal(drawn["targets"][drawn["rows"]["raw pixels"]], y[raw])


def test_a_method_of_ours_with_its_datamodule(tmp_path):
    data = CIFAR10MiniDataModule(batch_size=32, num_workers=0)
    callbacks = [
        NeighborSheet(1, 2, max_bank=200),
        AugmentationSheet(images=2, draws=2),
        EmbeddingPlot(projections=["pca"]),
    ]
    run = trainer(*callbacks, max_epochs=1, default_root_dir=tmp_path, limit_train_batches=2, limit_val_batches=2)
    run.fit(SimCLR(TinyBackbone(), hidden_dim=8, output_dim=4), data)
    names = {"neighbors-epoch0001.png", "augmentations-epoch0001.png", "embedding-epoch0001.png"}
    assert pictures_of(tmp_path) == names


def test_attention_maps_of_a_transformer_in_any_module(tmp_path):
    class Transformer(Host):
        def __init__(self) -> None:
            super().__init__()
            no_token = {"class_token": False, "global_pool": "avg"}
            self.vit = timm.create_model(
                "vit_tiny_patch16_224", img_size=16, patch_size=4, depth=2, num_classes=0, **no_token
            )
            self.encoder = nn.Sequential(self.vit, nn.Linear(192, 32))

    images = TensorDataset(torch.randn(12, 3, 16, 16), torch.arange(12) % 5)
    module = Transformer()
    fused = [block.attn.fused_attn for block in module.vit.blocks]
    titles = []

    class Maps(AttentionMaps):
        def draw(self, *args: Any) -> Any:
            figure = super().draw(*args)
            titles.append(" ".join(figure.get_suptitle().split()))
            return figure

    run = trainer(Maps("vit", images=1), default_root_dir=tmp_path)
    run.fit(module, DataLoader(images, batch_size=6), DataLoader(images, batch_size=6))
    assert pictures_of(tmp_path) == {"attention-epoch0002.png"}
    assert titles == ["What the average patch attends to after 2 epochs"]
    assert [block.attn.fused_attn for block in module.vit.blocks] == fused
    assert not any(child._forward_hooks for child in module.modules())


@pytest.mark.parametrize(
    ("callback", "words"),
    [
        (lambda: AttentionMaps(), "Host has no attention to draw"),
        (lambda: AttentionMaps("encodr"), 'Did you mean "encoder"?'),
        (lambda: Reconstructions(), "Host has no reconstruct"),
        (lambda: NeighborSheet(), "no bank"),
        (lambda: NeighborSheet(k=0), "k=0"),
        (lambda: EmbeddingPlot(max_images=2), "max_images=2"),
        (lambda: ClusterSheet(clusters=0), "clusters=0"),
        (lambda: AttentionMaps(threshold=2), "threshold=2"),
        (lambda: AugmentationSheet(images=0), "images=0"),
        (lambda: EmbeddingPlot(every_n_epochs=0), "every_n_epochs=0"),
    ],
)
def test_what_cannot_be_drawn_is_said_before_training(callback, words, tmp_path):
    with pytest.raises(UsageError) as raised:
        trainer(callback(), default_root_dir=tmp_path, max_epochs=1).fit(Host(), train_loader(), val_loader())
    assert words in str(raised.value)


def test_images_are_taken_from_all_of_a_loader_that_is_sorted_by_class(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(ClusterSheet, "draw", lambda self, trainer, images, features, targets, _: seen.append(targets))
    targets = torch.arange(5).repeat_interleave(20)
    loader = DataLoader(TensorDataset(torch.rand(100, 3, 4, 4), targets), batch_size=8)
    trainer(ClusterSheet(max_images=10), default_root_dir=tmp_path).validate(Host(), loader, verbose=False)
    (drawn,) = seen
    assert len(drawn) == 10
    assert drawn.unique().tolist() == [0, 1, 2, 3, 4]


def test_a_dry_run_draws_and_leaves_no_file(tmp_path):
    run = trainer(ClusterSheet(clusters=1), default_root_dir=tmp_path, fast_dev_run=2)
    run.fit(Host(), train_loader(), val_loader())
    assert not list(tmp_path.iterdir())


def test_a_picture_at_the_last_validation_of_an_epoch_only(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(EmbeddingPlot, "draw", lambda self, trainer, *_: drawn.append(trainer.global_step))
    plot = EmbeddingPlot(every_n_epochs=2)
    run = trainer(plot, max_epochs=5, val_check_interval=0.3, default_root_dir=tmp_path)
    run.fit(Host(), train_loader(), val_loader())  # 10 batches: validations after 3, 6 and 9
    assert drawn == [19, 39, 49]


class Endless(IterableDataset):
    """Ten batches whose number nobody knows beforehand."""

    def __iter__(self) -> Any:
        return iter(train_loader(batch_size=None).dataset)


@pytest.mark.parametrize(
    ("every", "settings", "epochs"),
    [
        (10, {"max_epochs": 20, "check_val_every_n_epoch": 3}, [12, 18]),  # validated after 3, 6, ..., 18
        (3, {"max_epochs": 7, "check_val_every_n_epoch": 2}, [4, 6]),
        (10, {"max_epochs": -1, "max_steps": 26}, [2]),  # ten steps an epoch: no third validation
        (10, {"max_epochs": -1, "max_steps": 30}, [3]),
        (10, {"max_epochs": -1, "max_steps": 7, "accumulate_grad_batches": 4}, [2]),  # three steps an epoch
        (10, {"max_epochs": 3, "check_val_every_n_epoch": None, "val_check_interval": 14}, [3]),  # after 14 and 28
        (2, {"max_epochs": 5}, [2, 4, 5]),
    ],
)
def test_pictures_come_when_so_many_epochs_are_over_and_at_the_last_validation(
    tmp_path, monkeypatch, every, settings, epochs
):
    drawn = []
    monkeypatch.setattr(EmbeddingPlot, "draw", lambda self, trainer, *_: drawn.append(trainer.current_epoch + 1))
    run = trainer(EmbeddingPlot(every_n_epochs=every), default_root_dir=tmp_path, **settings)
    run.fit(Host(), train_loader(), val_loader())
    assert drawn == epochs


@pytest.mark.parametrize(
    ("settings", "steps"),
    [
        ({}, [20, 30]),  # every second epoch, and the last
        ({"val_check_interval": 4}, [14, 24]),  # which validation of an epoch is its last is not known
        ({"limit_train_batches": 5}, [10, 15]),
    ],
)
def test_pictures_of_data_without_a_length(tmp_path, monkeypatch, settings, steps):
    drawn = []
    monkeypatch.setattr(EmbeddingPlot, "draw", lambda self, trainer, *_: drawn.append(trainer.global_step))
    run = trainer(EmbeddingPlot(every_n_epochs=2), default_root_dir=tmp_path, max_epochs=3, **settings)
    run.fit(Host(), DataLoader(Endless(), batch_size=16), val_loader())
    assert drawn == steps


def test_a_picture_when_training_is_told_to_stop_and_none_too_many_when_it_is_resumed(tmp_path, monkeypatch):
    drawn = []

    class Stop(Callback):
        def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
            trainer.should_stop = trainer.global_step == 23

    monkeypatch.setattr(EmbeddingPlot, "draw", lambda self, trainer, *_: drawn.append(trainer.global_step))
    run = trainer(EmbeddingPlot(every_n_epochs=10), Stop(), default_root_dir=tmp_path, max_epochs=5)
    run.fit(Host(), train_loader(), val_loader())
    assert drawn == [23]
    drawn.clear()
    before = trainer(default_root_dir=tmp_path, max_epochs=3)
    before.fit(Host(), train_loader(), val_loader())
    before.save_checkpoint(tmp_path / "last.ckpt")
    more = trainer(EmbeddingPlot(every_n_epochs=2), default_root_dir=tmp_path, max_epochs=7)
    more.fit(Host(), train_loader(), val_loader(), ckpt_path=tmp_path / "last.ckpt")
    assert drawn == [40, 60, 70]


class Diverged(Masked):
    """Its features of some images, or of all, are no numbers."""

    def __init__(self, healthy: float) -> None:
        super().__init__()
        self.healthy = healthy

    def forward(self, x: Tensor) -> Tensor:
        sick = x[:, 0, 0, 0] > self.healthy
        return torch.where(sick[:, None], x.new_tensor([torch.nan, torch.inf]).repeat(16), super().forward(x))

    def reconstruct(self, images: Tensor) -> tuple[Tensor, Tensor]:
        return images, images * torch.nan


@pytest.mark.parametrize(("healthy", "drawn"), [(1.0, True), (-torch.inf, False)])
def test_features_that_are_not_finite_end_no_run(tmp_path, monkeypatch, healthy, drawn):
    titles = []
    for name in ("embedding", "clusters", "neighbors"):
        module = f"sslbolts.callbacks.pictures.{name}.draw_{name}"
        monkeypatch.setattr(module, lambda *_, title, **__: titles.append(title))
    pictures = [EmbeddingPlot(projections=["pca"]), ClusterSheet(), NeighborSheet(2, 3, bank=bank_loader)]
    run = trainer(*pictures, Reconstructions(images=2), default_root_dir=tmp_path, max_epochs=1)
    if drawn:
        run.validate(Diverged(healthy), val_loader(), verbose=False)
        sick = int((val_loader().dataset.tensors[0][:, 0, 0, 0] > healthy).sum())
        assert 0 < sick < 93
        assert len(titles) == 3
        assert f"without {sick} whose features are not finite" in titles[0]
    else:
        with pytest.warns(UserWarning, match="EmbeddingPlot draws nothing after epoch 1: features of 97 of 97"):
            run.fit(Diverged(healthy), train_loader(), val_loader())
        assert not titles


@pytest.mark.parametrize("shape", [(48,), (3, 4, 2, 2)], ids=["vectors", "volumes"])
def test_what_has_no_picture_ends_no_run_and_is_said_once(tmp_path, shape):
    x, y = train_loader().dataset.tensors
    data = TensorDataset(x.view(-1, *shape), y)
    pictures = [NeighborSheet(1, 2, bank=DataLoader(data, 40)), EmbeddingPlot(), ClusterSheet(), Reconstructions()]
    for picture in pictures:
        picture.publisher.every_n_epochs = 1
    settings = {"max_epochs": 2, "limit_train_batches": 1, "limit_val_batches": 1, "default_root_dir": tmp_path}
    run = trainer(*pictures, AugmentationSheet(images=2), **settings)
    with pytest.warns(UserWarning, match="cannot be drawn") as warned:
        run.fit(Masked(), DataLoader(data, batch_size=16), DataLoader(data, batch_size=16))
    assert run.current_epoch == 2
    told = [str(warning.message) for warning in warned if "cannot be drawn" in str(warning.message)]
    assert len(told) == 5
    assert all(
        f"got shape (16, {', '.join(map(str, shape))}" in text or "got shape (2," in text or "(8," in text
        for text in told
    )
    assert not (tmp_path / "pictures").exists()


def test_an_empty_last_batch_is_no_image_more(tmp_path):
    x, y = val_loader().dataset.tensors
    batches = DataLoader([(x[:20], y[:20]), (x[:0], y[:0])], batch_size=None)
    run = trainer(ClusterSheet(clusters=2), Reconstructions(), default_root_dir=tmp_path)
    host = Masked()
    host.validation_step = lambda batch, batch_idx: None
    run.validate(host, batches, verbose=False)
    assert len(pictures_of(tmp_path)) == 2


def test_a_transformer_that_is_built_in_configure_model_is_found(tmp_path):
    class Late(Host):
        def configure_model(self) -> None:
            sizes = {"img_size": 16, "patch_size": 8, "depth": 1, "num_classes": 0}
            self.backbone = timm.create_model("vit_tiny_patch16_224", **sizes)

        def validation_step(self, batch: Any, batch_idx: int) -> None:
            pass

    run = trainer(AttentionMaps(images=1), default_root_dir=tmp_path)
    run.validate(Late(), DataLoader(TensorDataset(torch.randn(2, 3, 16, 16), torch.arange(2))), verbose=False)
    assert pictures_of(tmp_path) == {"validate-attention-epoch0000.png"}


def test_normalized_images_get_their_colors_back():
    original = torch.randint(0, 256, (5, 3, 6, 6), dtype=torch.uint8)

    class Data:
        mean = (0.4, 0.5, 0.6)
        std = (0.2, 0.3, 0.4)

    column = torch.tensor(Data.mean).view(3, 1, 1), torch.tensor(Data.std).view(3, 1, 1)
    assert torch.equal(displayable((original / 255 - column[0]) / column[1], Data()), original)
