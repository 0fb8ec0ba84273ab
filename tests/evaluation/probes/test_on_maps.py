"""RotNet's classifiers on frozen maps: their sizes, their start, their schedule, and what they can and cannot learn."""

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from sslbolts import RotNet, UsageError
from sslbolts.data import DatasetDataModule
from sslbolts.evaluation import LinearProbe, MapProbe, evaluate_maps, load_encoder
from sslbolts.evaluation.probes.heads import probe_optimizer
from sslbolts.evaluation.probes.on_maps import FrozenMap
from sslbolts.evaluation.probes.settings import probe_settings
from sslbolts.networks.nin import NIN
from tests.helpers.trainers import quiet_trainer, state_of

BLOCK2 = (192, 8, 8)  # of RotNet's network on images of 32 pixels


@pytest.mark.parametrize(
    ("classifier", "expected"),
    [
        # convolutions without bias, scale and shift of each norm, a linear classifier
        ("conv", 192 * 192 * 9 + 2 * 192 * 192 + 3 * 2 * 192 + 192 * 10 + 10),
        ("mlp", 12_288 * 200 + 200 * 200 + 2 * 2 * 200 + 200 * 10 + 10),
    ],
)
def test_classifiers_have_the_papers_numbers_of_parameters_and_first_weights(classifier, expected):
    torch.manual_seed(0)
    probe = MapProbe(nn.Identity(), 10, shape=BLOCK2, classifier=classifier)
    assert sum(p.numel() for p in probe.heads.parameters()) == expected
    assert classifier == "mlp" or expected == 408_586
    for layer in probe.heads.modules():
        if isinstance(layer, nn.Conv2d):
            assert layer.weight.std().item() == pytest.approx((2 / (layer.kernel_size[0] ** 2 * 192)) ** 0.5, rel=0.02)
        if isinstance(layer, nn.Linear):
            assert layer.weight.std().item() == pytest.approx((2 / layer.out_features) ** 0.5, rel=0.05)
            assert layer.bias is None or not layer.bias.any()


@pytest.mark.parametrize(("settings", "switches"), [("rotnet_conv", (35, 70, 85)), ("rotnet_mlp", (20, 40, 45))])
def test_the_learning_rate_of_every_epoch_is_that_of_the_official_code(settings, switches):
    probe = MapProbe(nn.Identity(), 3, shape=(2, 4, 4), hidden_dim=2, settings=settings)
    steps = 3  # per epoch
    optimizer, schedule = probe_optimizer(probe.heads, probe.settings, batch_size=128, total=100 * steps, warmup=0)
    (group,) = optimizer.param_groups
    assert len(group["params"]) == len(list(probe.heads.parameters()))
    assert (group["momentum"], group["nesterov"], group["weight_decay"]) == (0.9, True, 5e-4)
    for step in range(100 * steps):
        passed = sum(step // steps >= switch for switch in switches)
        assert group["lr"] == pytest.approx((0.1, 0.02, 0.004, 0.0008)[passed]), step
        optimizer.step()
        schedule.step()


def _stripes() -> DatasetDataModule:
    """Stripes across or along, moved by a pixel or not: all mean values of their pixels and rows are the same."""
    across = (torch.arange(8) % 2 * 200).to(torch.uint8).expand(3, 8, 8)
    patterns = torch.stack([across, across.transpose(1, 2)])
    labels = torch.arange(64) % 2
    images = torch.stack([patterns[label].roll((i // 2 % 2,) * 2, (1, 2)) for i, label in enumerate(labels)])
    dataset = TensorDataset(images, labels)
    return DatasetDataModule(dataset, val=dataset, num_classes=2, in_memory=True, num_workers=0)


class _Pixels(nn.Module):
    """Maps that are the images themselves, and features that are their means."""

    num_features = 3

    def __init__(self) -> None:
        super().__init__()
        self.maps = nn.BatchNorm2d(3)

    def forward(self, x):
        return self.maps(x).mean((2, 3))


@pytest.mark.filterwarnings("ignore")
def test_what_only_neighboring_pixels_tell_is_learned_from_frozen_maps():
    encoder = load_encoder(_Pixels(), layer="maps", image_size=8, device="cpu")
    before = state_of(encoder.network)
    quiet = {"enable_progress_bar": False}
    result = evaluate_maps(encoder, _stripes(), hidden_dim=8, epochs=8, batch_size=16, trainer=quiet)
    assert result.metrics["top1"] == 1.0
    assert all(torch.equal(value, before[name]) for name, value in encoder.network.state_dict().items())
    assert result.settings["features"] == "maps of maps, 3 x 8 x 8"
    assert "8 channels of 3 x 3" in result.settings["classifier"]
    assert "with a border of 0.125" in result.settings["images"]


def test_the_maps_are_those_of_the_papers_layer_without_pooling_and_gradient():
    method = RotNet(NIN(blocks=3, widths=(4, 4, 4), width=6), feature_layer="block2").eval()
    encoder = load_encoder(method, image_size=32, device="cpu")
    maps, images = FrozenMap(encoder, 32), torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        expected = method.backbone.block2(method.backbone.block1(images))
    probe = MapProbe(maps, 10, shape=maps.shape, hidden_dim=4).train()
    assert (maps.layer, maps.shape) == ("block2", (6, 8, 8))
    torch.testing.assert_close(probe.network(images), expected)
    probe(images).sum().backward()
    assert all(p.grad is None for p in maps.parameters())
    assert all(p.grad is not None for p in probe.heads.parameters())
    assert not any(module.training for module in maps.modules())
    other = load_encoder(method, layer="block1", image_size=32, device="cpu")
    assert FrozenMap(other, 32).shape == (4, 16, 16)


@pytest.mark.parametrize("classifier", ["conv", "mlp"])
def test_one_image_alone_is_normalized_by_those_before_it_and_several_rates_start_alike(classifier):
    probe = MapProbe(nn.Identity(), 3, shape=(2, 4, 4), classifier=classifier, hidden_dim=5, lr=(0.1, 1.0))
    maps = torch.randn(8, 2, 4, 4)
    together = probe(maps)
    assert torch.equal(together[:, 0], together[:, 1])
    state = state_of(probe.heads)
    one = probe(maps[:1])
    assert torch.equal(one, probe.eval()(maps[:1]))
    assert all(torch.equal(value, state[name]) for name, value in probe.heads.state_dict().items())


def test_the_checkpoint_says_what_the_classifier_is(tmp_path):
    probe = MapProbe(nn.Identity(), 3, shape=(2, 4, 4), classifier="mlp", hidden_dim=5)
    trainer = quiet_trainer(max_epochs=0)
    trainer.strategy.connect(probe)
    trainer.save_checkpoint(tmp_path / "probe.ckpt")
    again = MapProbe.load_from_checkpoint(tmp_path / "probe.ckpt", network=nn.Identity())
    maps = torch.randn(2, 2, 4, 4)
    assert torch.equal(again.eval()(maps), probe.eval()(maps))
    assert again.settings == probe_settings("rotnet_mlp")
    assert isinstance(again, LinearProbe)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"classifier": "cnn"}, 'classifier="cnn": it must be one of conv, mlp'),
        ({"hidden_dim": 0}, "hidden_dim=0"),
        ({"norm": "l2"}, 'norm="l2" is for features, and these are maps'),
        ({"shape": (2, 4)}, r"shape=\(2, 4\): it is \(channels, height, width\)"),
    ],
)
def test_wrong_values_are_named(arguments, message):
    with pytest.raises(UsageError, match=message):
        MapProbe(nn.Identity(), 3, **{"shape": (2, 4, 4)} | arguments)


@pytest.mark.filterwarnings("ignore:this Sequential ends in fc")
@pytest.mark.parametrize(("layer", "message"), [("fc", "no map"), ("nowhere", 'no layer "nowhere"')])
def test_a_layer_without_maps_is_named(layer, message):
    network = nn.Sequential()
    network.add_module("maps", nn.Conv2d(3, 4, 3))
    network.add_module("flat", nn.Flatten())
    network.add_module("fc", nn.Linear(4 * 6 * 6, 5))
    with pytest.raises(UsageError, match=message):
        evaluate_maps(load_encoder(network, layer=layer, image_size=8, device="cpu"), _stripes())
