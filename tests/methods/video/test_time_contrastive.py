"""TimeContrastive beyond the registry-wide invariants."""

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from sslbolts import TimeContrastive, UsageError, losses
from sslbolts.batch import ViewBatch
from sslbolts.data import CIFAR10MiniDataModule, MovingImagesDataModule
from sslbolts.networks.frame_embedder import SpatialSoftmax, frame_embedder, spatial_embedder
from sslbolts.training.frame_places import FramePlaces
from tests.helpers.nets import TinyBackbone
from tests.helpers.trainers import Recorder, quiet_trainer, state_of
from tests.helpers.views import noise_loader


def small(**arguments):
    torch.manual_seed(0)
    return TimeContrastive(TinyBackbone(), **({"hidden_dim": 16, "output_dim": 8} | arguments))


def moving(**settings):
    return MovingImagesDataModule(**({"batch_size": 16, "views": "tcn", "num_workers": 0, "seed": 0} | settings))


def test_the_embedder_of_the_paper_has_its_parameters_and_norms():
    embedder = spatial_embedder(288, 2048, 32)
    convolutions = (288 * 512 * 9 + 512) + (512 * 512 * 9 + 512)
    fully_connected = 2 * 512 * 2048 + 2048 * 32
    biases = 2048 + 32  # of the norms, which have no scale
    trained = sum(p.numel() for p in embedder.parameters() if p.requires_grad)
    assert trained == convolutions + fully_connected + biases
    norms = [module for module in embedder if isinstance(module, nn.BatchNorm1d)]
    assert [(norm.num_features, norm.eps, norm.momentum) for norm in norms] == [(2048, 1e-3, 1e-3), (32, 1e-3, 1e-3)]
    assert all((norm.weight == 1).all() and not norm.weight.requires_grad for norm in norms)
    assert isinstance(embedder[-1], nn.BatchNorm1d), "the embedding is normalized, and has no ReLU behind it"


def test_dropout_is_on_the_input_and_on_hidden_units():
    rates = [module.p for module in frame_embedder(8, 16, 4, dropout=0.2) if isinstance(module, nn.Dropout)]
    assert rates == [0.2, 0.2]
    rates = [module.p for module in spatial_embedder(8, 16, 4, dropout=0.2) if isinstance(module, nn.Dropout)]
    assert rates == [0.2, 0.2, 0.2]


def test_spatial_softmax_is_a_loop_over_pixels():
    maps = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = SpatialSoftmax()(maps)
    for image in range(2):
        for channel in range(3):
            weights = (maps[image, channel] - maps[image, channel].max()).exp()
            weights = weights / weights.sum()
            across = sum(weights[y, x] * (-1 + 2 * x / 4) for y in range(4) for x in range(5))
            down = sum(weights[y, x] * (-1 + 2 * y / 3) for y in range(4) for x in range(5))
            torch.testing.assert_close(found[image, channel], across)
            torch.testing.assert_close(found[image, 3 + channel], down)


def test_defaults_are_the_papers():
    method = small()
    assert method.radii == {"positive_radius": 6, "negative_radius": 12}
    assert (method.margin, small(loss="pair_triplet").margin) == (0.2, 0.5)
    (group,) = method.optimizer([nn.Parameter(torch.zeros(1))]).param_groups
    assert (group["lr"], group["weight_decay"]) == (1e-3, 1e-6)
    default = TimeContrastive(TinyBackbone())
    assert [layer.out_features for layer in default.embedder if isinstance(layer, nn.Linear)] == [2048, 32]


def test_the_learning_rate_stays():
    method = small()
    assert {method.lr_factor(step, total=100, warmup=0) for step in (0, 50, 99)} == {1.0}


@pytest.mark.parametrize("sequences", [1, 2])
def test_the_loss_of_a_window_is_that_of_its_frames_times(sequences):
    # Rows of the dataset are in no order: a batch's indices alone say when its frames were.
    order = torch.randperm(32, generator=torch.Generator().manual_seed(0))
    places = FramePlaces(order // (32 // sequences), order % (32 // sequences))
    method, rows = small(), torch.arange(3, 27)
    method._places = places
    method.log = lambda *args, **settings: None
    frames = torch.randn(24, 3, 16, 16)
    loss = method.training_step(ViewBatch([frames], torch.full((24,), -1), rows), 0)
    z = nn.functional.normalize(method.embed_frames(frames), dim=1)
    expected = losses.time_contrastive(z, places.times[rows], places.sequences[rows])
    torch.testing.assert_close(loss, expected)
    assert loss > 0


def test_the_trainer_gives_the_places_of_a_datamodule_and_takes_them_back():
    method, recorder = small(positive_radius=2, negative_radius=4), Recorder()
    data = moving(rows_per_sequence=8)
    quiet_trainer(max_steps=2, limit_val_batches=0, callbacks=[recorder]).fit(method, datamodule=data)
    assert all(0 < loss < 1 for loss in recorder.losses)
    assert method._places is None


@pytest.mark.parametrize("pairs", ["views", "times"])
@pytest.mark.parametrize("loss", ["n_pairs", "pair_triplet"])
def test_pairs_of_frames_train_it(pairs, loss):
    method, recorder = small(loss=loss), Recorder()
    settings = {"lag": 4} if pairs == "times" else {}
    data = moving(rows_per_sequence=2, pairs=pairs, **settings)
    trainer = quiet_trainer(max_steps=3, limit_val_batches=0, callbacks=[recorder])
    trainer.fit(method, datamodule=data)
    assert len(recorder.losses) == 3
    assert {"train/loss_of_chance", "train/matching_accuracy", "train/accuracy_over_chance"} <= set(
        trainer.callback_metrics
    )


def test_n_pairs_are_of_embeddings_as_they_are():
    method = small(loss="n_pairs", regularization=0.1)
    method.log = lambda *args, **settings: None
    views = [torch.randn(6, 3, 16, 16), torch.randn(6, 3, 16, 16)]
    loss = method.training_step(ViewBatch(views, torch.full((6,), -1), torch.arange(6)), 0)
    anchor, positive = method.embed_frames(torch.cat(views)).chunk(2)
    torch.testing.assert_close(loss, losses.n_pairs(anchor, positive, 0.1))


def test_negatives_are_random_at_first_and_hard_later(monkeypatch):
    method = small(loss="pair_triplet", hard_from_epoch=1)
    given = []
    monkeypatch.setattr(
        "sslbolts.methods.video.time_contrastive.pair_triplet",
        lambda anchor, positive, *, draws, **settings: (
            given.append(None if draws is None else draws.clone()) or losses.pair_triplet(anchor, positive)
        ),
    )
    data = moving(rows_per_sequence=2, pairs="views")
    quiet_trainer(max_epochs=2, limit_train_batches=2, limit_val_batches=0).fit(method, datamodule=data)
    assert [draws is None for draws in given] == [False, False, True, True]
    assert given[0].shape == (16, 32)
    assert not torch.equal(given[0], given[1])


def _train(loss, world):
    from sslbolts.distributed import rank

    torch.manual_seed(0)
    method = TimeContrastive(TinyBackbone(), loss=loss, hidden_dim=16, output_dim=8).double()
    method.embedder = nn.Linear(16, 8).double()  # without batch norm
    recorder = Recorder()
    loader = noise_loader(32, 8, rank=rank(), world=world, dtype=torch.float64)
    quiet_trainer(world=world, max_steps=2, callbacks=[recorder]).fit(method, loader)
    return torch.stack(recorder.losses), state_of(method)


@pytest.mark.parametrize("loss", ["n_pairs", "pair_triplet"])
def test_two_processes_equal_one_with_pairs_too(loss, two_ranks):
    expected, state = _train(loss, 1)
    halves = two_ranks(_train, loss, 2)
    torch.testing.assert_close((halves[0][0] + halves[1][0]) / 2, expected, rtol=1e-9, atol=1e-12)
    for _, found in halves:
        for name, value in state.items():
            torch.testing.assert_close(found[name], value, rtol=1e-8, atol=1e-9)


def test_on_maps_of_a_layer_the_rest_of_the_network_is_frozen_and_features_are_that_layers():
    torch.manual_seed(0)
    method = TimeContrastive("resnet18", layer="layer2", hidden_dim=16, output_dim=8, loss="n_pairs")
    assert method.num_features == 128
    method.backbone.layer3.register_forward_hook(lambda *_: pytest.fail("it is not run"))
    frozen = {name.split(".")[0] for name, p in method.backbone.named_parameters() if not p.requires_grad}
    trained = {name.split(".")[0] for name, p in method.backbone.named_parameters() if p.requires_grad}
    assert (frozen, trained) == ({"layer3", "layer4"}, {"conv1", "bn1", "layer1", "layer2"})
    images = torch.rand(2, 3, 64, 64)
    method.eval()
    inner = nn.Sequential(*list(method.backbone.children())[:6])
    torch.testing.assert_close(method(images), inner(images).mean((2, 3)))
    assert method.embed_frames(images).shape == (2, 8)
    loader = noise_loader(8, 4)
    quiet_trainer(max_steps=1).fit(method.train(), loader)


@pytest.mark.parametrize("place", ["left", "right"])
def test_a_spatial_embedder_sees_where_something_is_and_a_pooled_one_does_not(place):
    """Positions are what the spatial softmax is for: a shifted picture has other ones, and the same mean."""
    maps = torch.zeros(2, 1, 7, 7)
    maps[0, 0, 3, 1 if place == "left" else 5] = 5.0
    maps[1, 0, 3, 3] = 5.0
    positions = SpatialSoftmax()(maps)
    assert (positions[0, 0] < positions[1, 0] - 0.2) if place == "left" else (positions[0, 0] > positions[1, 0] + 0.2)
    torch.testing.assert_close(maps[0].mean(), maps[1].mean())


def test_equal_frames_are_the_loss_of_chance_and_neighbors_are_counted():
    method, logged = small(positive_radius=1, negative_radius=2), {}
    method.log = lambda name, value, **settings: logged.update({name: float(value)})
    method._places = FramePlaces(torch.zeros(6, dtype=torch.int64), torch.arange(6))
    method.embed_frames = lambda frames: torch.ones(6, 4)
    method.training_step(ViewBatch([torch.zeros(6, 3, 8, 8)], torch.arange(6), torch.arange(6)), 0)
    assert logged["train/loss_of_chance"] == pytest.approx(1.0)
    # Rows on a quarter circle: the nearest is a neighbor always, by chance in 10 of 30 cases.
    angles = torch.linspace(0, 1.5, 6)
    method.embed_frames = lambda frames: torch.stack((angles.cos(), angles.sin()), 1)
    method.training_step(ViewBatch([torch.zeros(6, 3, 8, 8)], torch.arange(6), torch.arange(6)), 0)
    assert logged["train/nearest_in_time"] == 1.0
    assert logged["train/accuracy_over_chance"] == pytest.approx(30 * 1 / 10)


def test_colors_of_single_frames_do_not_tell_time():
    """Colors drift in a video: the mean color would tell the time, were colors not drawn for each frame."""
    drift = torch.arange(64).float()[:, None, None, None] / 64
    frames = (0.3 + 0.4 * drift).expand(64, 3, 8, 8)
    places = FramePlaces(torch.zeros(64, dtype=torch.int64), torch.arange(64))

    def loss_of_mean_color(pixels):
        z = torch.cat((pixels.mean((2, 3)), torch.ones(64, 1)), 1)
        return losses.time_contrastive(nn.functional.normalize(z, dim=1), places.times).item()

    from sslbolts.transforms import BatchedAugment, recipe

    augment = BatchedAugment(recipe("tcn", 8).views[0])
    colored = augment(frames, generator=torch.Generator().manual_seed(0), crop=False)
    assert loss_of_mean_color(colored) > loss_of_mean_color(frames)


# -------------------------------------------------------------------------------------------------------- mistakes


def fit(method, data):
    trainer = quiet_trainer(max_steps=1, limit_val_batches=0)
    if isinstance(data, DataLoader):
        trainer.fit(method, data)
    else:
        trainer.fit(method, datamodule=data)


def still_images(**settings):
    return CIFAR10MiniDataModule(batch_size=8, num_workers=0, **settings)


@pytest.mark.parametrize(
    ("arguments", "data", "words"),
    [
        ({}, lambda: still_images(views="tcn"), "these training images have no time: use VideoFramesDataModule"),
        ({}, lambda: moving(batch_size=12), "one window of 12 frames, and none is more than negative_radius=12"),
        ({}, lambda: moving(pairs="views", rows_per_sequence=2), "takes 1 views of each image, and the batch has 2"),
        ({"loss": "n_pairs"}, lambda: moving(), "takes 2 views of each image, and the batch has 1"),
        ({"loss": "n_pairs"}, lambda: moving(pairs="views", batch_size=1), "a batch of one pair has no negatives"),
        ({}, lambda: moving(batch_size=40), "no sequence has the 40 frames"),
    ],
)
def test_data_that_does_not_fit_is_refused(arguments, data, words):
    with pytest.raises(UsageError) as raised:
        fit(small(**arguments), data())
    assert words in str(raised.value)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"negative_radius": 5}, "negative_radius=5 must be at least positive_radius=6"),
        ({"loss": "triplet"}, 'loss="triplet"'),
        ({"layer": "layer9"}, 'has no layer "layer9"'),
        ({"margin": 0}, "margin=0"),
        ({"dropout": 1.0}, "dropout=1.0"),
        ({"layer": "layers.1", "compile_backbone": True}, "compile_backbone=True compiles the whole network"),
    ],
)
def test_arguments_out_of_their_range_are_refused(arguments, words):
    with pytest.raises(UsageError) as raised:
        small(**arguments)
    assert words in str(raised.value)
