"""Probes learn what scikit-learn's classifiers learn, leave the network as it is, and choose without test images."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from sslbolts import UsageError
from sslbolts.data import CIFAR10MiniDataModule, DatasetDataModule
from sslbolts.evaluation import LinearProbe, MLPProbe, evaluate_linear, evaluate_mlp, features_of, load_encoder
from sslbolts.evaluation.accuracy import accuracies
from sslbolts.evaluation.probes.heads import ProbeHeads, probe_loss, probe_optimizer
from sslbolts.evaluation.probes.on_features import fit_heads, probe_on_features
from sslbolts.evaluation.probes.settings import ProbeSettings, probe_settings
from sslbolts.evaluation.splits import Splits
from tests.helpers.nets import SmallConvNet, WithBatchNorm
from tests.helpers.trainers import quiet_trainer, state_of


def _blobs(count: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Three overlapping clusters in 8 dimensions."""
    generator = torch.Generator().manual_seed(seed)
    centers = torch.randn(3, 8, generator=torch.Generator().manual_seed(9))
    y = torch.arange(count) % 3
    return centers[y] + torch.randn(count, 8, generator=generator), y


def test_the_linear_probe_is_within_half_a_point_of_logistic_regression():
    torch.manual_seed(0)
    encoder, data = load_encoder(SmallConvNet(), image_size=32, device="cpu"), CIFAR10MiniDataModule()
    bank, queries = features_of(encoder, data, "bank"), features_of(encoder, data, "test")
    scaler = StandardScaler().fit(bank.features)
    sklearn = LogisticRegression(C=1.0, max_iter=2000).fit(scaler.transform(bank.features), bank.targets)
    expected = sklearn.score(scaler.transform(queries.features), queries.targets)
    decay = 1 / len(bank.features)  # scikit-learn's C: the penalty is for the sum over images
    splits = Splits(bank.features, bank.targets, queries.features, queries.targets, 10, bank.indices, {})
    settings = probe_settings("features", lr=0.3, weight_decay=decay, epochs=60)
    found = probe_on_features(splits, settings, device="cpu")[0]["top1"]
    assert expected > 0.3
    assert abs(found - expected) <= 0.005


def test_the_result_names_the_settings_and_the_values_that_are_not_their_own():
    x, y = _blobs(60)
    splits = Splits(x, y, x, y, 3, torch.arange(60), {})
    changed = probe_settings("moco", lr=0.1, epochs=2, norm="standardize")
    settings = probe_on_features(splits, changed, device="cpu")[1]
    assert settings["settings"] == "moco, with other values: lr=0.1, epochs=2, norm=standardize"
    assert "1911.05722" in settings["source"]
    assert settings["learning rate chosen"].startswith("given")
    whole = probe_on_features(splits, probe_settings("moco"), device="cpu")[1]
    assert whole["settings"] == "moco"
    assert whole["learning rate chosen"].startswith("the settings'")
    several = probe_on_features(splits, probe_settings("byol", epochs=1), device="cpu")[1]
    assert several["settings"] == "byol, with other values: epochs=1", "the chosen learning rate is one of theirs"


def test_with_one_image_of_each_class_the_learning_rate_is_the_settings_own_and_the_result_says_so():
    x, y = _blobs(3)
    splits = Splits(x, y, *_blobs(30, seed=1), 3, torch.arange(3), {})
    _, settings, rows = probe_on_features(splits, probe_settings("features", epochs=5), device="cpu")
    assert "lr 0.1 " in settings["optimizer"]
    assert "no class has two" in settings["learning rate chosen"]
    assert rows == []
    with pytest.raises(UsageError, match="give one"):
        probe_on_features(splits, probe_settings("features", lr=(0.1, 0.2)), device="cpu")


@pytest.mark.parametrize("on", ["images", "features"])
@pytest.mark.parametrize(("evaluate", "settings"), [(evaluate_linear, "mae"), (evaluate_mlp, "amdim")])
def test_a_last_batch_of_one_image_is_learned_from_too(evaluate, settings, on):
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (33, 3, 8, 8), generator=generator, dtype=torch.uint8)
    dataset = TensorDataset(images, torch.arange(33) % 3)
    data = DatasetDataModule(dataset, val=dataset, num_classes=3, batch_size=32, in_memory=True, num_workers=0)
    encoder = load_encoder(nn.Flatten(), image_size=8, device="cpu")
    quiet = {"trainer": {"enable_progress_bar": False}} if on == "images" else {}
    result = evaluate(encoder, data, settings=settings, on=on, epochs=2, batch_size=32, **quiet)
    assert "33 labeled" in result.settings["images"]
    assert 0 <= result.metrics["top1"] <= 1


def test_one_row_alone_is_normalized_by_those_before_it():
    settings = ProbeSettings("test", lr=0.1, norm="batch_norm")
    heads = ProbeHeads(4, 3, count=1, settings=settings, hidden_dim=5)
    first, last = torch.rand(8, 4), torch.rand(1, 4)
    heads.normalize(first)
    mean, variance = 0.1 * first.mean(0), 0.9 + 0.1 * first.var(0)  # momentum 0.1, from 0 and 1
    torch.testing.assert_close(heads.normalize(last), (last - mean) / (variance + 1e-6).sqrt())
    assert heads.batch_norm.num_batches_tracked == 1
    torch.testing.assert_close(heads.batch_norm.running_mean, mean)
    assert torch.isfinite(heads(last)).all()


def test_larc_moves_the_bias_too_in_proportion_to_its_norm():
    x, y = _blobs(32)
    heads = ProbeHeads(8, 3, count=1, settings=probe_settings("simsiam"))
    with torch.no_grad():
        heads.bias[0].fill_(2.0)
    optimizer, _ = probe_optimizer(heads, probe_settings("simsiam"), batch_size=256, total=10, warmup=0)
    before = [parameter.detach().clone() for parameter in heads.parameters()]
    probe_loss(heads(x), y).backward()
    optimizer.step()
    for old, new in zip(before, heads.parameters(), strict=True):
        assert (new - old).norm().item() == pytest.approx(0.1 * 0.001 * old.norm().item(), rel=1e-3)


def test_each_head_learns_as_if_it_were_alone():
    x, y = _blobs(60)
    settings = ProbeSettings(
        "test", lr=1.0, sweep=(0.1, 1.0, 3.0), weight_decay=0.01, epochs=3, batch_size=16, norm="l2"
    )
    together = fit_heads(x, y, settings, num_classes=3)(x)
    for head, lr in enumerate(settings.lrs):
        alone = fit_heads(x, y, probe_settings(settings, lr=lr), num_classes=3)(x)
        torch.testing.assert_close(together[:, head], alone[:, 0])


def test_heads_take_the_steps_of_plain_torch():
    x, y = _blobs(32)
    settings = ProbeSettings("test", lr=0.5, nesterov=True, weight_decay=0.01, decay="constant")
    heads = ProbeHeads(8, 3, count=1, settings=settings)
    layer = nn.Linear(8, 3)
    with torch.no_grad():
        layer.weight.copy_(heads.weight[0].T)
        layer.bias.zero_()
    ours, schedule = probe_optimizer(heads, settings, batch_size=128, total=10, warmup=0)
    reference = torch.optim.SGD(layer.parameters(), lr=0.25, momentum=0.9, nesterov=True, weight_decay=0.01)
    for _ in range(5):
        ours.zero_grad()
        probe_loss(heads(x), y).backward()
        ours.step()
        schedule.step()
        reference.zero_grad()
        F.cross_entropy(layer(x), y).backward()
        reference.step()
    torch.testing.assert_close(heads(x)[:, 0], layer(x))


def test_the_mlp_is_the_layers_of_amdim():
    heads = ProbeHeads(8, 3, count=2, settings=probe_settings("amdim"), hidden_dim=5, dropout=0.2)
    x, _ = _blobs(32)
    heads(x)  # moves the running statistics
    heads.eval()
    for head in range(2):
        norm = nn.BatchNorm1d(5)
        layers = nn.Sequential(nn.Linear(8, 5, bias=False), norm, nn.ReLU(), nn.Linear(5, 3)).eval()
        with torch.no_grad():
            layers[0].weight.copy_(heads.hidden[head].T)
            norm.running_mean.copy_(heads.hidden_norm.running_mean.view(2, 5)[head])
            norm.running_var.copy_(heads.hidden_norm.running_var.view(2, 5)[head])
            layers[3].weight.copy_(heads.weight[head].T)
            layers[3].bias.zero_()
        torch.testing.assert_close(heads(x)[:, head], layers(x))


def test_the_learning_rate_is_chosen_without_test_images():
    x, y = _blobs(300)
    test_x, test_y = _blobs(100, seed=1)
    settings = probe_settings("features", epochs=5, lr=(1e-6, 0.1, 1.0))
    one = probe_on_features(Splits(x, y, test_x, test_y, 3, torch.arange(300), {}), settings, device="cpu")
    other = probe_on_features(Splits(x, y, test_x, test_y.flip(0), 3, torch.arange(300), {}), settings, device="cpu")
    assert one[1:] == other[1:]
    assert one[0] != other[0]
    assert len(one[2]) == 3
    best = max(one[2], key=lambda row: row["held-out top1"])
    assert f"lr {best['lr']:g}" in one[1]["optimizer"]


def test_the_network_stays_in_evaluation_mode_while_the_heads_train():
    probe = MLPProbe(WithBatchNorm(), 3, hidden_dim=4)
    probe.train()
    assert probe.heads.training
    assert not any(part.training for part in probe.network.modules())


def test_another_head_that_is_better_on_test_images_is_not_taken():
    probe, logged = LinearProbe(WithBatchNorm(), 3, settings="simclr", lr=(0.1, 1.0)), {}
    probe.log = lambda name, value, **_: logged.update({name: float(value)})
    probe.report("val", {"top1": [0.5, 0.25]})
    probe.report("test", {"top1": [0.125, 0.75]})
    assert (logged["val/top1"], logged["test/top1"]) == (0.5, 0.125)


def test_rows_without_label_have_no_part():
    _, y = _blobs(30)
    logits = torch.randn(30, 2, 3)
    half = y.clone()
    half[::2] = -1
    expected = sum(F.cross_entropy(logits[1::2, head], y[1::2]) for head in range(2))
    torch.testing.assert_close(probe_loss(logits, half), expected)


@pytest.mark.filterwarnings("ignore")
def test_training_on_images_moves_the_heads_only_and_test_reports_the_validated_head():
    generator = torch.Generator().manual_seed(0)
    images, labels = torch.randn(48, 3, 8, 8, generator=generator), torch.arange(48) % 3
    loader = DataLoader(TensorDataset(images, labels), batch_size=16)
    probe = LinearProbe(WithBatchNorm(), 3, settings="simclr", lr=(1e-9, 1.0), epochs=2)
    before = state_of(probe.network)
    trainer = quiet_trainer(max_epochs=2)
    trainer.fit(probe, loader, loader)
    assert all(torch.equal(value, before[name]) for name, value in probe.network.state_dict().items())
    values = {name: float(value) for name, value in trainer.callback_metrics.items()}
    assert values["val/top1"] == max(values["val/top1_lr1e-09"], values["val/top1_lr1"])
    trainer.test(probe, loader, verbose=False)
    assert float(trainer.callback_metrics["test/top1"]) == values["val/top1"]
    with torch.no_grad():
        logits = probe.eval()(images)[:, probe.chosen_head]
    assert values["val/top1"] == pytest.approx(accuracies(logits, labels)["top1"], abs=1e-6)


@pytest.mark.filterwarnings("ignore")
def test_images_under_the_settings_crops_are_learned_and_held_out_ones_are_not():
    """Classes are colors, which crops and flips leave: the probe must find them."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(120) % 3
    images = torch.randint(0, 60, (120, 3, 8, 8), generator=generator, dtype=torch.uint8)
    images[torch.arange(120), labels] += 150
    dataset = TensorDataset(images, labels)
    data = DatasetDataModule(dataset, val=dataset, num_classes=3, in_memory=True, num_workers=0)
    encoder = load_encoder(nn.Flatten(), image_size=8, device="cpu")
    quiet = {"enable_progress_bar": False}
    result = evaluate_linear(encoder, data, settings="byol", epochs=5, batch_size=32, trainer=quiet)
    assert result.metrics["top1"] == 1.0
    assert "12 held-out training images" in result.settings["learning rate chosen"]
    assert "108 labeled" in result.settings["images"]
    mlp = evaluate_mlp(encoder, data, epochs=10, batch_size=32, hidden_dim=16, lr=1e-2)
    assert mlp.metrics["top1"] == 1.0


def _on_a_rank() -> dict[str, float]:
    """A probe's run on this rank's share of 31 images."""
    generator = torch.Generator().manual_seed(0)
    images, labels = torch.randn(31, 3, 8, 8, generator=generator), torch.arange(31) % 3
    torch.manual_seed(0)
    probe = LinearProbe(WithBatchNorm(), 3, settings="simclr", lr=(0.1, 1.0), epochs=2)
    dataset = TensorDataset(images, labels, torch.arange(31))
    world = torch.distributed.get_world_size() if torch.distributed.is_initialized() else 1
    trainer = quiet_trainer(world=world, max_epochs=2, use_distributed_sampler=True)
    train = DataLoader(TensorDataset(images[:24], labels[:24]), batch_size=24 // world)
    trainer.fit(probe, train, DataLoader(dataset, batch_size=8))
    return {name: float(value) for name, value in trainer.callback_metrics.items()}


@pytest.mark.filterwarnings("ignore")
def test_two_processes_are_one(two_ranks):
    ranks = two_ranks(_on_a_rank)
    alone = _on_a_rank()
    assert ranks[0].keys() == alone.keys()
    for name in [name for name in alone if name.startswith("val/")]:
        assert ranks[0][name] == ranks[1][name] == pytest.approx(alone[name], abs=1e-9)


def _last_row_alone() -> tuple[torch.Tensor, int]:
    """Weights and steps after an epoch of four images and one on this rank."""
    images, labels = torch.randn(10, 3, 8, 8, generator=torch.Generator().manual_seed(0)), torch.arange(10) % 3
    torch.manual_seed(0)
    probe = LinearProbe(WithBatchNorm(), 3, settings="mae", epochs=1, warmup_epochs=0)
    trainer = quiet_trainer(world=2, max_epochs=1, use_distributed_sampler=True)
    trainer.fit(probe, DataLoader(TensorDataset(images, labels), batch_size=4))
    return probe.heads.weight[0].detach(), trainer.global_step


@pytest.mark.filterwarnings("ignore")
def test_two_processes_learn_from_a_last_batch_of_one_image_each(two_ranks):
    (first, steps), (second, _) = two_ranks(_last_row_alone)
    assert steps == 2
    assert torch.isfinite(first).all()
    assert torch.equal(first, second)


def test_the_checkpoint_holds_the_chosen_head(tmp_path):
    probe = MLPProbe(nn.Flatten(), 3, hidden_dim=4, width=48, lr=(0.1, 1.0))
    probe.chosen.fill_(1)
    trainer = quiet_trainer(max_epochs=0)
    trainer.strategy.connect(probe)
    trainer.save_checkpoint(tmp_path / "probe.ckpt")
    again = MLPProbe.load_from_checkpoint(tmp_path / "probe.ckpt", network=nn.Flatten(), width=48)
    assert (again.chosen_head, again.settings.lrs, again.hidden_dim) == (1, (0.1, 1.0), 4)


def test_results_do_not_depend_on_what_was_drawn_before():
    x, y = _blobs(60)
    settings = probe_settings("amdim", epochs=2, batch_size=16)
    first = fit_heads(x, y, settings, num_classes=3, hidden_dim=4, dropout=0.5, seed=3)(x)
    torch.rand(7)
    state = torch.get_rng_state()
    second = fit_heads(x, y, settings, num_classes=3, hidden_dim=4, dropout=0.5, seed=3)(x)
    assert torch.equal(first, second)
    assert torch.equal(torch.get_rng_state(), state)
    assert not np.array_equal(
        first.detach(), fit_heads(x, y, settings, num_classes=3, hidden_dim=4, seed=4)(x).detach()
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"on": "image"}, 'on="image": it must be one of auto, images, features'),
        ({"settings": "features", "on": "images"}, "computed once"),
        ({"settings": "resnet"}, "there are no settings"),
    ],
)
def test_wrong_values_are_named(arguments, message):
    encoder = load_encoder(nn.Flatten(), image_size=32, device="cpu")
    with pytest.raises(UsageError, match=message):
        evaluate_linear(encoder, CIFAR10MiniDataModule(), **arguments)
