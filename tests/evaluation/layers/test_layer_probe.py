"""The layer probe: which maps, how they are pooled, several regressions as if each were alone, and the table."""

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from sslbolts import UsageError
from sslbolts.batch import ViewBatch
from sslbolts.cli import main
from sslbolts.evaluation import Result, load_encoder
from sslbolts.evaluation.layers.maps import PooledMaps, pooled_side
from sslbolts.evaluation.layers.probe import LayerProbe
from sslbolts.evaluation.layers.run import evaluate_layers
from sslbolts.networks.backbones import create_backbone
from sslbolts.networks.taps import block_names
from tests.evaluation.fine_tuning.test_run import module
from tests.helpers.nets import TinyBackbone, WithBatchNorm
from tests.helpers.trainers import quiet_trainer


def test_maps_are_pooled_to_the_sides_of_the_papers_table() -> None:
    # AlexNet's conv1 to conv5 as Zhang et al. have them
    assert [pooled_side(c, 55, 55) for c in (64, 192, 384, 256, 256)] == [12, 7, 5, 6, 6]
    assert pooled_side(512, 2, 3) == 2, "a small map is not enlarged"


@pytest.mark.parametrize(
    ("network", "blocks"),
    [
        (lambda: create_backbone("timm/resnet18"), ["act1", "layer1", "layer2", "layer3", "layer4"]),
        (lambda: create_backbone("torchvision/resnet18"), ["relu", "layer1", "layer2", "layer3", "layer4"]),
        (lambda: timm.create_model("vit_tiny_patch16_224", depth=2, num_classes=0), ["blocks.0", "blocks.1"]),
        (lambda: create_backbone("torchvision/alexnet"), [f"features.{i}" for i in (1, 4, 7, 9, 11)]),
    ],
)
def test_blocks_are_found_by_the_networks_own_names(network: Any, blocks: list[str]) -> None:
    assert block_names(network()) == blocks


def test_pooled_maps_are_the_max_pooled_outputs_of_the_layers() -> None:
    network = WithBatchNorm().eval()
    images = torch.rand(3, 3, 32, 32)
    (rows,) = PooledMaps(network, network, ["layers.0"], values=32)(images)
    maps = network.layers[0](images)  # (3, 8, 16, 16), pooled to 2 x 2
    expected = maps.reshape(3, 8, 2, 8, 2, 8).amax((3, 5)).flatten(1)
    torch.testing.assert_close(rows, expected)


def test_tokens_are_laid_out_as_the_map_that_they_are() -> None:
    vit: Any = timm.create_model(
        "vit_tiny_patch16_224", depth=1, num_classes=0, img_size=32, patch_size=8, embed_dim=24, num_heads=2
    ).eval()
    maps = PooledMaps(vit, vit, ["blocks.0"])
    images = torch.rand(2, 3, 32, 32)
    (rows,) = maps(images)
    found: list[torch.Tensor] = []
    vit.blocks[0].register_forward_hook(lambda _, __, out: found.append(out))
    vit(images)
    assert maps.shapes == [(24, 4, 4, 4)]
    map_of_first_channel = found[0][:, 1:, 0].reshape(2, 4, 4)  # without the class token
    torch.testing.assert_close(rows[:, :16].reshape(2, 4, 4), map_of_first_channel)


def test_each_regression_learns_as_if_it_were_alone() -> None:
    torch.manual_seed(0)
    network = TinyBackbone().eval()
    data = TensorDataset(torch.rand(64, 3, 16, 16), torch.randint(0, 3, (64,)), torch.arange(64))
    maps = PooledMaps(network, network, ["layers.1", "layers.3"], values=64)
    widths = [rows.shape[1] for rows in maps(data.tensors[0][:1])]
    probe = LayerProbe(maps, 3, widths=widths, lrs=[0.05, 0.5], weight_decay=1e-2, milestones=[0.5])
    quiet_trainer(max_epochs=4).fit(probe, DataLoader(data, batch_size=32))

    for layer, width in enumerate(widths):
        norm, head = nn.BatchNorm1d(width, affine=False), nn.Linear(width, 3)
        nn.init.zeros_(head.weight)
        nn.init.zeros_(head.bias)
        lr = 0.5 * 32 / 256
        groups = [{"params": [head.weight]}, {"params": [head.bias], "weight_decay": 0.0}]
        optimizer = torch.optim.SGD(groups, lr=lr, momentum=0.9, nesterov=True, weight_decay=1e-2)
        for step in range(8):
            for group in optimizer.param_groups:
                group["lr"] = lr if step < 4 else lr / 10
            rows = slice(32 * (step % 2), 32 * (step % 2) + 32)
            with torch.no_grad():
                x = maps(data.tensors[0][rows])[layer]
            optimizer.zero_grad()
            F.cross_entropy(head(norm(x)), data.tensors[1][rows]).backward()
            optimizer.step()
        learned: Any = probe.heads[layer]
        torch.testing.assert_close(learned[1].weight, head.weight, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(learned[1].bias, head.bias, atol=1e-5, rtol=1e-4)


def encoder() -> Any:
    torch.manual_seed(0)
    return load_encoder(TinyBackbone(), image_size=32, device="cpu")


def test_the_table_has_a_row_per_layer_and_two_small_passes_find_what_one_does() -> None:
    settings: dict[str, Any] = {"lrs": [0.01, 0.1], "epochs": 4, "batch_size": 32, "values": 200, "progress": False}
    network = encoder()
    before = {name: tensor.clone() for name, tensor in network.network.state_dict().items()}
    result = evaluate_layers(network, module(), **settings)
    assert [row["layer"] for row in result.rows] == ["layers.1", "layers.3"]
    assert [row["pooled to"] for row in result.rows] == ["8 x 5 x 5 = 200", "16 x 3 x 3 = 144"]
    assert result.metrics["layers.1/top1"] > 0.9, "the brightest channel is the class"
    assert result.settings["images"] == '87 labeled of "train", judged on 33 of "test"'
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.network.state_dict().items())
    split = evaluate_layers(encoder(), module(), memory=2e-5, **settings)
    assert "2 pass(es)" in split.settings["augmentation"]
    for row, other in zip(result.rows, split.rows):
        assert row["top1"] == pytest.approx(other["top1"], abs=0.07)


def test_with_augmentation_the_images_pass_in_every_epoch() -> None:
    result = evaluate_layers(
        encoder(), module(), lrs=[0.1], epochs=4, batch_size=16, values=200, augment=True, progress=False
    )
    assert result.metrics["layers.1/top1"] > 0.8


@pytest.mark.parametrize("augment", [False, True])
def test_a_last_batch_of_one_image_is_learned_from_too(augment: bool) -> None:
    # 96 images, 9 of them held out: 43 + 43 + 1
    result = evaluate_layers(
        encoder(), module(), lrs=[0.1], epochs=1, batch_size=43, values=64, augment=augment, progress=False
    )
    assert result.settings["images"].startswith("87 labeled")


def test_one_image_alone_is_normalized_by_those_before_it() -> None:
    network = TinyBackbone()
    maps = PooledMaps(network, network, ["layers.1"], values=64)
    probe = LayerProbe(maps, 3, widths=[72], lrs=[0.1])
    nn.init.normal_(probe.heads[0][0].weight)  # type: ignore[index]
    first, last = torch.rand(8, 72), torch.rand(1, 72)
    probe([first])
    before = [buffer.clone() for buffer in probe.norms.buffers()]
    mean, deviation = 0.1 * first.mean(0), (0.9 + 0.1 * first.var(0) + 1e-5).sqrt()  # momentum 0.1, from 0 and 1
    expected = probe.heads[0][0]((last - mean) / deviation)  # type: ignore[index]
    torch.testing.assert_close(probe([last])[0][:, 0], expected)
    assert all(torch.equal(old, new) for old, new in zip(before, probe.norms.buffers(), strict=True))


def test_rows_without_label_have_no_part() -> None:
    network = TinyBackbone()
    probe = LayerProbe(PooledMaps(network, network, ["layers.1"], values=64), 3, widths=[72], lrs=[0.1, 1.0]).eval()
    probe.log = lambda *_, **__: None  # type: ignore[assignment, method-assign]
    for parameter in probe.heads.parameters():
        nn.init.normal_(parameter)
    rows, targets = torch.rand(6, 72), torch.tensor([0, -1, 2, -1, -1, 1])
    scores = probe([rows])[0][targets >= 0]
    expected = sum(F.cross_entropy(scores[:, lr], targets[targets >= 0]) for lr in range(2))
    batch = ViewBatch([rows], targets, torch.arange(6))
    torch.testing.assert_close(probe.training_step(batch, 0), expected)
    nothing = ViewBatch([rows], torch.full((6,), -1), torch.arange(6))
    assert probe.training_step(nothing, 0) == 0


@pytest.mark.parametrize("augment", [False, True])
def test_where_nothing_can_be_held_out_nothing_is_chosen_and_the_result_says_so(augment: bool) -> None:
    settings: dict[str, Any] = {"epochs": 1, "batch_size": 2, "values": 64, "augment": augment, "progress": False}
    result = evaluate_layers(encoder(), module(labels_per_class=1), **settings)
    assert [row["lr"] for row in result.rows] == [0.01, 0.01]
    assert result.metrics["top1"] == result.metrics["layers.3/top1"]
    assert "no class has two" in result.settings["choice"]
    with pytest.raises(UsageError, match="give one"):
        evaluate_layers(encoder(), module(labels_per_class=1), lrs=[0.1, 1.0], **settings)


def test_what_has_no_maps_is_refused() -> None:
    flat = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    with pytest.raises(UsageError, match="are not known"):
        PooledMaps(flat, flat)
    with pytest.raises(UsageError, match='Did you mean "layers'):
        PooledMaps(flat, TinyBackbone(), ["layer.1"])
    with pytest.raises(UsageError, match="no map"):
        PooledMaps(flat, flat, ["2"])(torch.zeros(2, 3, 8, 8))


def _shares(world: int) -> list[list[float]]:
    torch.manual_seed(0)
    network = TinyBackbone()
    maps = PooledMaps(network, network, ["layers.1", "layers.3"], values=64)
    probe = LayerProbe(maps, 3, widths=[72, 64], lrs=[0.1, 1.0])
    for parameter in probe.heads.parameters():
        nn.init.normal_(parameter)
    data = TensorDataset(torch.rand(31, 3, 16, 16), torch.arange(31) % 3, torch.arange(31))
    quiet_trainer(world=world, use_distributed_sampler=True).validate(probe, DataLoader(data, 4), verbose=False)
    return probe.shares


def test_two_processes_count_an_odd_number_of_images_as_one_does(two_ranks: Any) -> None:
    alone = _shares(1)
    for ranks in two_ranks(_shares, 2):
        for ours, theirs in zip(alone, ranks, strict=True):
            assert theirs == pytest.approx(ours)


@pytest.mark.usefixtures("few_images")
def test_the_command_prints_the_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    few = ["--data.eval_batch_size", "500", "--data.image_size", "32", "--data.num_workers", "0"]
    argv = ["evaluate", "layers", "timm/resnet10t", "--untrained", "--device", "cpu", "--data", "CIFAR10Mini", *few]
    output = tmp_path / "layers.json"
    assert main([*argv, "--values", "256", "--epochs", "1", "--lrs", "0.1", "--output", str(output)]) == 0
    printed = capsys.readouterr().out
    assert "layer4" in printed
    assert "pooled to" in printed
    result = Result.from_json(output.read_text())
    assert len(result.rows) == 5
    assert main([*argv, "--lrs", "0"]) == 2
