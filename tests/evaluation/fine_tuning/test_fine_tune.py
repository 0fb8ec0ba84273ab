"""Fine-tuning: groups of layers, schedules, mixed labels, and the same figure on any number of processes."""

from typing import Any

import pytest
import timm
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from sslbolts import UsageError
from sslbolts.evaluation.fine_tuning.fine_tune import FineTune
from sslbolts.evaluation.fine_tuning.settings import FINE_TUNE_SETTINGS
from sslbolts.networks.backbones import create_backbone
from sslbolts.networks.drop_path import set_drop_path
from sslbolts.optim.layer_decay import layer_groups
from tests.helpers.nets import TinyBackbone
from tests.helpers.trainers import quiet_trainer

VIT = {"img_size": 32, "patch_size": 8, "depth": 3, "embed_dim": 24, "num_heads": 2}


def colored(count: int) -> TensorDataset:
    """Noise in which the brightest of three channels is the class."""
    generator = torch.Generator().manual_seed(0)
    targets = torch.arange(count) % 3
    images = torch.rand(count, 3, 16, 16, generator=generator) + F.one_hot(targets, 3)[:, :, None, None]
    return TensorDataset(images, targets, torch.arange(count))


def plain(**changes: Any) -> FineTune:
    settings = {"lr": 0.1, "head_lr": 0.1, "epochs": 2, "lr_scaling": "none", "decay": "constant"} | changes
    return FineTune(TinyBackbone(), 3, settings="swav_10pct", **settings)


def scale_of(groups: list[dict[str, Any]], parameter: nn.Parameter) -> tuple[float, float]:
    found = [(g["lr"], g["weight_decay"]) for g in groups if any(p is parameter for p in g["params"])]
    assert len(found) == 1
    return found[0]


def test_a_vits_learning_rates_are_those_of_the_official_numbering_of_blocks() -> None:
    network = timm.create_model("vit_tiny_patch16_224", num_classes=0, global_pool="avg", **VIT)
    groups = layer_groups(network, head := nn.Linear(24, 5), layer_decay=0.5, weight_decay=0.05)
    # MAE: embeddings are layer 0, block i is layer i + 1, all that follows is layer depth + 1, scale decay^(4 - layer)
    assert scale_of(groups, network.patch_embed.proj.weight) == (0.5**4, 0.05)
    assert scale_of(groups, network.pos_embed) == (0.5**4, 0.0)
    assert scale_of(groups, network.cls_token) == (0.5**4, 0.0)
    assert scale_of(groups, network.blocks[0].attn.qkv.weight) == (0.5**3, 0.05)
    assert scale_of(groups, network.blocks[2].mlp.fc1.bias) == (0.5, 0.0)
    assert scale_of(groups, network.fc_norm.weight) == (1.0, 0.0)
    assert scale_of(groups, head.weight) == (1.0, 0.05)
    assert sum(len(g["params"]) for g in groups) == len(list(network.parameters())) + 2


@pytest.mark.parametrize("name", ["timm/resnet18", "torchvision/resnet18"])
def test_a_resnets_learning_rates_fall_by_stage(name: str) -> None:
    network: Any = create_backbone(name)
    groups = layer_groups(network, nn.Linear(512, 5), layer_decay=0.5, weight_decay=0.1)
    assert scale_of(groups, network.conv1.weight) == (0.5**5, 0.1)
    assert scale_of(groups, network.layer1[0].conv1.weight) == (0.5**4, 0.1)
    assert scale_of(groups, network.layer4[1].bn2.weight) == (0.5, 0.0)


def test_a_network_without_known_blocks_is_refused_only_where_they_are_needed() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    assert FineTune(network, 3, settings="simclr").settings.layer_decay == 1
    with pytest.raises(UsageError, match="layer_decay=1"):
        FineTune(network, 3, settings="mae", drop_path=0)


def test_drop_path_rises_linearly_and_can_be_taken_off_again() -> None:
    network: Any = timm.create_model("vit_tiny_patch16_224", num_classes=0, **VIT)
    set_drop_path(network, 0.2)
    assert [getattr(b.drop_path2, "drop_prob", 0.0) for b in network.blocks] == pytest.approx([0.0, 0.1, 0.2])
    set_drop_path(network, 0.0)
    assert all(isinstance(block.drop_path1, nn.Identity) for block in network.blocks)
    resnet: Any = timm.create_model("resnet18", num_classes=0, zero_init_last=False)
    set_drop_path(resnet, 0.5)
    images = torch.rand(4, 3, 32, 32)
    resnet.train()
    assert not torch.equal(resnet(images), resnet(images))
    with pytest.raises(UsageError, match="drop_path=0"):
        set_drop_path(TinyBackbone(), 0.1)


def test_the_whole_network_learns_and_head_and_backbone_have_their_own_rates() -> None:
    module = plain(lr=0.05, head_lr=0.5, epochs=6)
    before = module.backbone.layers[0].weight.detach().clone()  # type: ignore[union-attr, index, operator]
    trainer = quiet_trainer(max_epochs=6)
    loader = DataLoader(colored(96), batch_size=24)
    trainer.fit(module, loader, DataLoader(colored(30), batch_size=8))
    assert trainer.callback_metrics["val/top1"] > 0.9
    assert not torch.equal(before, module.backbone.layers[0].weight)  # type: ignore[union-attr, index, operator]
    assert {group["lr"] for group in trainer.optimizers[0].param_groups} == {0.05, 0.5}


@pytest.mark.parametrize("lr_scaling", ["none", "linear"])
def test_a_backbone_with_rate_zero_stays_and_its_head_learns_at_its_own_rate(lr_scaling: str) -> None:
    module = plain(lr=0.0, head_lr=0.5, lr_scaling=lr_scaling, epochs=1)
    before = [parameter.detach().clone() for parameter in module.backbone.parameters()]
    head = module.head.weight.detach().clone()
    trainer = quiet_trainer(max_epochs=1)
    trainer.fit(module, DataLoader(colored(64), batch_size=32))
    assert all(torch.equal(old, new) for old, new in zip(before, module.backbone.parameters(), strict=True))
    assert not torch.equal(head, module.head.weight)
    ratio = 32 / 256 if lr_scaling == "linear" else 1
    assert {group["lr"] for group in trainer.optimizers[0].param_groups} == {0.0, 0.5 * ratio}


def test_the_learning_rate_follows_the_settings_over_the_run() -> None:
    module = plain(lr=0.4, head_lr=None, decay="cosine", warmup_epochs=1, lr_scaling="linear", epochs=4)
    trainer = quiet_trainer(max_epochs=4)
    rates: list[float] = []
    module.on_before_optimizer_step = lambda optimizer: rates.append(optimizer.param_groups[0]["lr"])  # type: ignore
    trainer.fit(module, DataLoader(colored(96), batch_size=32))
    peak = 0.4 * 32 / 256  # three steps of warm-up, then half a cosine over nine
    cosine = 0.5 * (1 + torch.cos(torch.pi * torch.arange(9) / 9))
    expected = torch.cat([torch.arange(3) / 3, cosine]) * peak
    torch.testing.assert_close(torch.tensor(rates), expected, atol=1e-6, rtol=1e-5)


def test_mixed_labels_and_smoothing_give_the_cross_entropy_of_the_blend() -> None:
    module = plain(mixup=0.8, label_smoothing=0.1)
    module.log = lambda *_, **__: None  # type: ignore
    batch = next(iter(DataLoader(colored(8), batch_size=8)))
    torch.manual_seed(5)
    loss = module.training_step(batch, 0)
    torch.manual_seed(5)
    torch.randint(1, ())  # which of the mixers
    part = float(torch._sample_dirichlet(torch.tensor([0.8, 0.8]))[0])
    images = part * batch[0] + (1 - part) * batch[0].roll(1, 0)
    labels = part * F.one_hot(batch[1], 3) + (1 - part) * F.one_hot(batch[1].roll(1), 3)
    smooth = 0.9 * labels + 0.1 / 3
    expected = -(smooth * module(images).log_softmax(1)).sum(1).mean()
    torch.testing.assert_close(loss, expected)


def test_rows_without_label_are_left_out() -> None:
    module = plain()
    module.log = lambda *_, **__: None  # type: ignore
    images, targets, indices = next(iter(DataLoader(colored(8), batch_size=8)))
    half = torch.where(indices % 2 == 0, targets, -1)
    whole = module.training_step((images[::2], targets[::2], indices[::2]), 0)
    torch.testing.assert_close(module.training_step((images, half, indices), 0), whole)
    with pytest.raises(UsageError, match="no label"):
        module.training_step((images, torch.full_like(targets, -1), indices), 0)


@pytest.mark.parametrize("name", FINE_TUNE_SETTINGS)
def test_all_settings_make_a_step_on_a_small_network(name: str) -> None:
    network = "vit_tiny_patch16_224" if FINE_TUNE_SETTINGS[name].optimizer == "adamw" else "resnet18"
    kwargs: dict[str, Any] = VIT if "vit" in network else {"layers": [1, 1, 1, 1], "channels": [8, 8, 8, 8]}
    module = FineTune(timm.create_model(network, num_classes=0, **kwargs), 3, settings=name)
    images = TensorDataset(torch.rand(8, 3, 32, 32), torch.arange(8) % 3, torch.arange(8))
    trainer = quiet_trainer(max_epochs=1)
    trainer.fit(module, DataLoader(images, batch_size=4))
    assert torch.isfinite(trainer.callback_metrics["train/loss"])


def test_fine_tuning_as_mae_does_is_on_the_mean_of_the_patch_tokens() -> None:
    torch.manual_seed(0)
    network: Any = timm.create_model("vit_tiny_patch16_224", num_classes=0, **VIT)
    nn.init.normal_(network.norm.weight)  # of the class token's norm, which has no part any more
    module = FineTune(network, 3, settings="mae", drop_path=0).eval()
    images, found = torch.rand(2, 3, 32, 32), []
    network.blocks[2].register_forward_hook(lambda _, __, out: found.append(out))
    logits = module(images)
    expected = F.layer_norm(found[0][:, 1:].mean(1), (24,), eps=1e-6)
    torch.testing.assert_close(logits, module.head(expected))
    assert module.pooling == "mean of the patch tokens"
    groups = layer_groups(network, module.head, layer_decay=0.5, weight_decay=0.05)
    assert scale_of(groups, network.fc_norm.weight) == (1.0, 0.0)

    class_token: Any = timm.create_model("vit_tiny_patch16_224", num_classes=0, **VIT)
    assert FineTune(class_token, 3, settings="mae", pooling="network").pooling == "the network's own"
    assert class_token.global_pool == "token"
    assert FineTune(timm.create_model("resnet10t", num_classes=0), 3, settings="mae", drop_path=0).pooling != "mean"


def test_a_last_batch_of_one_image_is_learned_from_too() -> None:
    network = timm.create_model("resnet18", num_classes=0, layers=[1, 1, 1, 1], channels=[8, 8, 8, 8])
    module = FineTune(network, 3, settings="swav_10pct", epochs=1)
    trainer = quiet_trainer(max_epochs=1)
    trainer.fit(module, DataLoader(colored(9), batch_size=8))  # maps of one pixel: one image has no deviation
    assert trainer.global_step == 2
    assert all(torch.isfinite(parameter).all() for parameter in module.parameters())
    assert network.bn1.num_batches_tracked == 1
    assert network.bn1.training


def test_wrong_settings_or_values_are_named() -> None:
    with pytest.raises(UsageError, match='Did you mean "mae"'):
        FineTune(TinyBackbone(), 3, settings="mea")
    with pytest.raises(UsageError, match='Did you mean "mixup"'):
        plain(mixpu=0.5)
    with pytest.raises(UsageError, match="in \\(0, 1\\]"):
        plain(layer_decay=1.5)
    with pytest.raises(UsageError, match="nothing would be trained"):
        plain(lr=0, head_lr=None)


def _accuracy(world: int) -> tuple[float, float]:
    torch.manual_seed(3)
    trainer = quiet_trainer(world=world, max_epochs=1, use_distributed_sampler=True)
    trainer.validate(plain(), DataLoader(colored(31), batch_size=4), verbose=False)
    metrics = trainer.callback_metrics
    return float(metrics["val/top1"]), float(metrics["val/loss"])


def test_two_processes_count_an_odd_number_of_images_as_one_does(two_ranks: Any) -> None:
    alone = _accuracy(1)
    for ranks in two_ranks(_accuracy, 2):
        assert ranks == pytest.approx(alone, abs=1e-6)


def _gradient(world: int, rows: slice) -> list[torch.Tensor]:
    torch.manual_seed(3)
    module = plain(lr=1.0, head_lr=1.0)
    torch.manual_seed(0)
    data = TensorDataset(*(tensor[rows] for tensor in colored(8).tensors))
    quiet_trainer(world=world, max_epochs=1).fit(module, DataLoader(data, batch_size=8))
    return [p.detach().clone() for p in module.parameters()]


def _gradient_of_rank(world: int) -> list[torch.Tensor]:
    rank = torch.distributed.get_rank()
    return _gradient(world, slice(4 * rank, 4 * rank + 4))


def test_a_step_on_two_processes_is_the_step_on_the_whole_batch(two_ranks: Any) -> None:
    alone = _gradient(1, slice(None))
    for ours, both in zip(alone, two_ranks(_gradient_of_rank, 2)[0], strict=True):
        torch.testing.assert_close(ours, both, atol=1e-6, rtol=1e-5)
