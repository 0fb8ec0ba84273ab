"""Baselines: the network of a checkpoint without its weights, and results that say so."""

import json

import pytest
import timm
import torch
from torch import nn

from sslbolts import SimCLR, UsageError
from sslbolts.cli import main
from sslbolts.data import CIFAR10MiniDataModule
from sslbolts.evaluation import evaluate_knn, evaluate_layers, initialized, load_encoder
from tests.helpers.nets import SmallConvNet
from tests.helpers.trainers import quiet_trainer

pytestmark = pytest.mark.usefixtures("few_images")

TINY = {"layers": [1, 1, 1, 1], "channels": [8, 8, 8, 8], "stem_type": "deep", "stem_width": 4, "output_stride": 8}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    method = SimCLR("resnet18", backbone_kwargs=TINY, hidden_dim=8, output_dim=4)
    for parameter in method.parameters():
        nn.init.constant_(parameter, 0.02)  # what no draw gives
    trainer = quiet_trainer(max_steps=1)
    trainer.fit(method, CIFAR10MiniDataModule(batch_size=8))
    path = tmp_path_factory.mktemp("run") / "last.ckpt"
    trainer.save_checkpoint(path)
    return path


def encoder_of(path, **settings):
    return load_encoder(path, device="cpu", **settings)


@pytest.mark.parametrize("init", ["random", "rescaled"])
def test_the_form_stays_and_the_weights_are_those_of_the_seed(checkpoint, init):
    trained = encoder_of(checkpoint)
    kept = {name: value.clone() for name, value in trained.network.state_dict().items()}
    data = CIFAR10MiniDataModule()
    first, again, other = (initialized(trained, init, data, seed=seed) for seed in (3, 3, 4))
    assert str(first.backbone) == str(trained.backbone)
    assert first.num_features == trained.num_features
    assert first.digest == again.digest
    assert len({first.digest, other.digest, trained.digest}) == 3
    weight = first.backbone.layer1[0].conv1.weight
    assert weight.std() > 0
    assert torch.equal(weight, again.backbone.layer1[0].conv1.weight)
    assert all(torch.equal(value, kept[name]) for name, value in trained.network.state_dict().items())
    assert f"{init}, seed 3" in first.source
    assert f"{init}, seed 3" in first.feature_name
    assert f"{init}, seed 3" in first.description


def test_random_weights_are_those_that_training_begins_with(checkpoint):
    found = initialized(encoder_of(checkpoint), "random", seed=5)
    torch.manual_seed(5)
    expected = SimCLR("resnet18", backbone_kwargs=TINY, hidden_dim=8, output_dim=4)
    for name, value in expected.state_dict().items():
        assert torch.equal(found.network.root.state_dict()[name], value), name


def test_drawing_leaves_the_random_state_alone(checkpoint):
    encoder, data = encoder_of(checkpoint), CIFAR10MiniDataModule()
    state = torch.get_rng_state()
    initialized(encoder, "rescaled", data, seed=5)
    assert torch.equal(torch.get_rng_state(), state)


def test_networks_of_other_origin_are_drawn_too(tmp_path):
    named = load_encoder("timm/resnet10t", pretrained=False, device="cpu")
    assert initialized(named, "random", seed=1).source == "timm/resnet10t (random, seed 1)"
    given = load_encoder(SmallConvNet(8, 16), image_size=32, device="cpu")
    assert initialized(given, "random", seed=1).digest == initialized(given, "random", seed=1).digest
    shape = {"img_size": 32, "patch_size": 8, "embed_dim": 24, "depth": 1, "num_heads": 2}
    vit = timm.create_model("vit_tiny_patch16_224", num_classes=0, **shape)
    rebuilt = load_encoder(vit, image_size=32, device="cpu")
    assert initialized(rebuilt, "random", seed=1).digest != rebuilt.digest


def test_a_result_says_whose_it_is(checkpoint):
    data = CIFAR10MiniDataModule()
    encoder = initialized(encoder_of(checkpoint), "rescaled", data, seed=2)
    result = evaluate_knn(encoder, data, k=[5])
    assert result.source == f"{checkpoint} (rescaled, seed 2)"
    assert result.settings["initialization"].startswith("rescaled, seed 2 (on ")
    assert "not balanced, since it has norms" in result.settings["initialization"]
    assert "rescaled, seed 2" in result.settings["network"]
    assert "initialization" not in evaluate_knn(encoder_of(checkpoint), data, k=[5]).settings


@pytest.mark.parametrize(
    ("protocol", "options"),
    [
        ("knn", ["--k", "5"]),
        ("ridge", []),
        ("linear", ["--epochs=1"]),
        ("mlp", ["--epochs=1", "--hidden_dim=4"]),
        ("layers", ["--epochs=1", "--lrs", "0.1", "--layers", "layer1"]),
    ],
)
def test_every_protocol_takes_it_on_the_command_line(checkpoint, protocol, options, capsys):
    shared = ["--device=cpu", "--seed=1", *options]
    assert main(["evaluate", protocol, str(checkpoint), "--init=random", *shared]) == 0
    (file,) = (checkpoint.parent / "evaluation").glob(f"{protocol}-CIFAR10Mini*random-seed-1*.json")
    written = json.loads(file.read_text())
    assert written["settings"]["initialization"] == "random, seed 1"
    assert written["source"].endswith("last.ckpt (random, seed 1)")
    capsys.readouterr()


def test_rows_of_baselines_stand_in_the_table_of_layers(checkpoint):
    data = CIFAR10MiniDataModule()
    settings = {"layers": ["layer1", "layer3"], "epochs": 1, "lrs": [0.1], "progress": False}
    result = evaluate_layers(encoder_of(checkpoint), data, baselines=["random", "rescaled"], **settings)
    assert [(row["network"], row["layer"]) for row in result.rows] == [
        (network, layer) for network in ("SimCLR", "random", "rescaled") for layer in ("layer1", "layer3")
    ]
    assert {"layer1/top1", "random/layer1/top1", "rescaled/layer3/top1"} <= result.metrics.keys()
    assert result.settings["baselines"]["random"] == "random, seed 0"
    alone = evaluate_layers(initialized(encoder_of(checkpoint), "random"), data, **settings)
    assert [row["top1"] for row in result.rows[2:4]] == [row["top1"] for row in alone.rows]


class Positions(nn.Module):
    def __init__(self):
        super().__init__()
        self.positions = nn.Parameter(torch.zeros(3, 8, 8))
        self.head = nn.Linear(192, 4)

    def forward(self, x):
        return self.head((x + self.positions).flatten(1))


def test_what_cannot_be_is_one_line(checkpoint):
    encoder = encoder_of(checkpoint)
    positions = load_encoder(Positions(), image_size=8, device="cpu")
    for subject, init, data, message in (
        (encoder, "rescald", None, 'init="rescald": it must be one of random, rescaled. Did you mean "rescaled"'),
        (encoder, "rescaled", None, r"give data="),
        (positions, "random", None, "Positions has no rule by which positions is drawn anew"),
    ):
        with pytest.raises(UsageError, match=message) as error:
            initialized(subject, init, data)
        assert "\n" not in str(error.value)
