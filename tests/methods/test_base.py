"""The schedule, batches, draws and checkpoints that every method has from SSLModule."""

import enum
import warnings
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from sslbolts import SimCLR, UsageError
from sslbolts._lightning import Callback
from sslbolts.batch import ViewBatch
from sslbolts.data import DatasetDataModule
from sslbolts.optim import LARS
from tests.helpers.nets import TinyBackbone, WithBatchNorm
from tests.helpers.trainers import quiet_trainer, state_of
from tests.helpers.views import noise_loader
from tests.methods.toy import Toy

SGD = partial(torch.optim.SGD, lr=0.4)


class _Rates(Callback):
    """The learning rate of every optimizer step."""

    def __init__(self) -> None:
        self.rates: list[float] = []

    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
        self.rates.append(optimizer.param_groups[0]["lr"])


def _rates(loader: Any, *, trainer: dict[str, Any], **arguments: Any) -> list[float]:
    watcher = _Rates()
    quiet_trainer(callbacks=[watcher], **trainer).fit(Toy(TinyBackbone(), optimizer=SGD, **arguments), loader)
    return watcher.rates


# ------------------------------------------------------------------------------------------------ the schedule


@pytest.mark.parametrize(
    ("scaling", "peak"), [("linear", 0.4 * 8 / 256), ("sqrt", 0.4 * (8 / 256) ** 0.5), ("none", 0.4)]
)
def test_learning_rate_follows_the_effective_batch(scaling, peak):
    trainer = {"max_epochs": 1, "accumulate_grad_batches": 2}  # 4 images, twice
    assert _rates(noise_loader(32, 4), trainer=trainer, lr_scaling=scaling, warmup_epochs=0)[0] == pytest.approx(peak)


def test_warm_up_counts_optimizer_steps_not_batches():
    # 8 batches and 4 steps per epoch: two epochs of warm-up are 8 steps, then 4 steps of cosine.
    trainer = {"max_epochs": 3, "accumulate_grad_batches": 2}
    rates = _rates(noise_loader(32, 4), trainer=trainer, lr_scaling="none", warmup_epochs=2, final_lr=0.1)
    assert rates[:9] == pytest.approx([0.4 * step / 8 for step in range(9)])
    assert rates[10] == pytest.approx(0.4 * (0.1 + 0.9 * 0.5))
    assert len(rates) == 12


def test_a_fraction_of_an_epoch_is_a_warm_up_too():
    rates = _rates(noise_loader(32, 4), trainer={"max_epochs": 1}, lr_scaling="none", warmup_epochs=0.5)
    assert rates[:5] == pytest.approx([0, 0.1, 0.2, 0.3, 0.4])


def test_a_warm_up_over_the_whole_run_is_warned_of():
    with pytest.warns(UserWarning, match="warmup_epochs=10"):
        quiet_trainer(max_epochs=2).fit(Toy(TinyBackbone()), noise_loader(8, 4))


def test_a_method_can_give_groups_another_or_a_constant_rate():
    class Groups(Toy):
        def parameter_groups(self) -> list[dict[str, Any]]:
            quarter, constant, rest = (
                list(self.parameters())[:1],
                list(self.parameters())[1:2],
                list(self.parameters())[2:],
            )
            return [{"params": rest}, {"params": quarter, "lr_scale": 0.25}, {"params": constant, "fixed_lr": True}]

    class Rates(Callback):
        seen: list[list[float]] = []

        def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
            self.seen.append([group["lr"] for group in optimizer.param_groups])

    module = Groups(TinyBackbone(), optimizer=SGD, warmup_epochs=1)
    quiet_trainer(max_epochs=2, callbacks=[Rates()]).fit(module, noise_loader(32, 8))  # 4 steps of warm-up, 4 of cosine
    peak = 0.4 * 8 / 256
    assert Rates.seen[0] == pytest.approx([0, 0, peak])
    assert Rates.seen[4] == pytest.approx([peak, peak / 4, peak])
    assert Rates.seen[6] == pytest.approx([peak / 2, peak / 8, peak])


def test_groups_with_rates_of_their_own_keep_their_ratio():
    def two_rates(groups: Any) -> torch.optim.Optimizer:
        groups = list(groups)
        if isinstance(groups[-1], dict):
            groups[-1]["lr"] = 0.04
        return torch.optim.SGD(groups, lr=0.4)

    module = Toy(TinyBackbone(), optimizer=two_rates, warmup_epochs=0)
    trainer = quiet_trainer(max_steps=1)
    trainer.fit(module, noise_loader(8, 4))
    first, last = [group["initial_lr"] for group in trainer.optimizers[0].param_groups]
    assert (first, last) == pytest.approx((0.4 * 4 / 256, 0.04 * 4 / 256))


def test_biases_are_not_decayed_and_a_teacher_is_not_optimized():
    from sslbolts import BYOL

    module = BYOL(TinyBackbone(), hidden_dim=8, output_dim=8, optimizer=partial(LARS, lr=0.1, weight_decay=0.5))
    trainer = quiet_trainer(max_steps=1)
    trainer.fit(module, noise_loader(8, 4))
    groups = trainer.optimizers[0].param_groups
    assert [group["weight_decay"] for group in groups] == [0.5, 0.0]
    optimized = {id(p) for group in groups for p in group["params"]}
    assert optimized == {id(p) for name, p in module.named_parameters() if not name.startswith("teacher.")}


# -------------------------------------------------------------------------------------------------- the batch


def _sharing(views: list[torch.Tensor]) -> list[tuple[int, ...]]:
    calls: list[tuple[int, ...]] = []
    network = TinyBackbone()
    network.register_forward_pre_hook(lambda _, inputs: calls.append(tuple(inputs[0].shape)))
    embedded = Toy(network).embed(views)
    torch.testing.assert_close(embedded, torch.cat([network(view) for view in views]))
    return calls[: -len(views)]


def test_views_of_one_size_go_through_the_backbone_together():
    assert _sharing([torch.randn(2, 3, 32, 32)] * 2) == [(4, 3, 32, 32)]
    crops = [torch.randn(2, 3, size, size) for size in (32, 32, 16, 16, 16)]
    assert _sharing(crops) == [(4, 3, 32, 32), (6, 3, 16, 16)]


def test_a_batch_that_is_no_view_batch_is_named():
    loader = DataLoader(TensorDataset(torch.randn(8, 3, 32, 32), torch.zeros(8)), batch_size=4)
    with pytest.raises(UsageError, match=r"Toy trains on batches of views.*got a list"):
        quiet_trainer(max_steps=1).fit(Toy(TinyBackbone()), loader)


@pytest.mark.parametrize("views", [1, 3])
def test_a_wrong_number_of_views_is_named(views):
    with pytest.raises(UsageError, match=f"Toy takes 2 views of each image, and the batch has {views}"):
        quiet_trainer(max_steps=1).fit(Toy(TinyBackbone()), noise_loader(8, 4, [32] * views))


class _AnyViews(Toy):
    num_views = None


@pytest.mark.parametrize(("images", "refused"), [(9, True), (10, False), (8, False)])
def test_a_last_batch_of_one_image_is_refused_in_the_first_step(images, refused):
    dataset = TensorDataset(torch.zeros(images, 3, 32, 32, dtype=torch.uint8), torch.zeros(images, dtype=torch.long))
    data = DatasetDataModule(dataset, num_classes=2, batch_size=4, num_workers=0, drop_last=False)
    run = quiet_trainer(max_epochs=1, limit_val_batches=0)
    if refused:
        with pytest.raises(UsageError, match=r"the last batch of an epoch would be a single one: .* drop_last=True"):
            run.fit(Toy(WithBatchNorm()), datamodule=data)
        assert run.global_step == 0
    else:
        run.fit(Toy(WithBatchNorm()), datamodule=data)


def test_a_method_of_any_number_of_views_takes_them():
    quiet_trainer(max_steps=1).fit(_AnyViews(TinyBackbone()), noise_loader(8, 4, [32] * 4))


def test_a_large_stem_on_small_images_is_warned_of_once():
    with pytest.warns(UserWarning, match="stem='cifar'") as seen:
        quiet_trainer(max_epochs=2).fit(Toy("resnet10t", backbone_kwargs={"stem_type": ""}), noise_loader(8, 4))
    assert sum("stem='cifar'" in str(w.message) for w in seen) == 1


def test_evaluation_steps_give_features_and_predict_gives_labels_too():
    module = Toy(TinyBackbone())
    images, targets, indices = torch.randn(4, 3, 32, 32), torch.arange(4), torch.arange(4) + 7
    batch = (images, targets, indices)
    assert torch.equal(module.validation_step(batch, 0)["features"], module(images))
    assert torch.equal(module.test_step(batch, 0)["features"], module(images))
    features, labels, rows = module.predict_step(batch, 0)
    assert features.shape == (4, module.num_features)
    assert torch.equal(labels, targets)
    assert torch.equal(rows, indices)


# --------------------------------------------------------------------------------------------- what models draw


class _Draws(TinyBackbone):
    """Records what it draws in training."""

    def __init__(self) -> None:
        super().__init__()
        self.drawn: list[float] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.drawn.append(float(torch.rand(())))
        return super().forward(x)


def _drawn(**settings: Any) -> list[float]:
    network = _Draws()
    quiet_trainer(max_epochs=2, **settings).fit(Toy(network, lr_scaling="none", warmup_epochs=0), noise_loader(8, 4))
    return network.drawn


class _DrawsToo(Callback):
    def on_train_batch_end(self, *_: Any) -> None:
        torch.rand(7)


def test_draws_differ_from_batch_to_batch_and_follow_the_seed():
    torch.manual_seed(3)
    first = _drawn()
    assert len(set(first)) == 4
    torch.manual_seed(3)
    assert _drawn() == first
    torch.manual_seed(4)
    assert _drawn() != first


def test_what_callbacks_draw_does_not_shift_what_the_model_draws():
    torch.manual_seed(3)
    alone = _drawn()
    torch.manual_seed(3)
    assert _drawn(callbacks=[_DrawsToo()]) == alone


def _drawn_on_rank() -> list[float]:
    from sslbolts.distributed import rank

    torch.manual_seed(3)
    network = _Draws()
    trainer = quiet_trainer(world=2, max_epochs=2)
    trainer.fit(Toy(network, lr_scaling="none", warmup_epochs=0), noise_loader(16, 8, rank=rank(), world=2))
    return network.drawn


def test_ranks_of_one_seed_draw_differently(two_ranks):
    first, second = two_ranks(_drawn_on_rank)
    assert not set(first) & set(second)


# ---------------------------------------------------------------------------------------------------- checkpoints


def _checkpoint(module: Toy, path: Any) -> str:
    trainer = quiet_trainer(max_steps=1)
    trainer.fit(module, noise_loader(8, 4))
    trainer.save_checkpoint(path)
    return str(path)


def test_a_named_backbone_comes_back_with_every_argument(tmp_path):
    torch.manual_seed(0)
    arguments = {"stem": "cifar", "in_chans": 3, "backbone_kwargs": {"drop_rate": 0.1}, "warmup_epochs": 0.25}
    module = SimCLR("resnet10t", hidden_dim=24, output_dim=6, temperature=0.3, optimizer=SGD, **arguments)
    path = _checkpoint(module, tmp_path / "a.ckpt")
    stored = torch.load(path, weights_only=True)["hyper_parameters"]
    assert stored["optimizer"]["class_path"] == "torch.optim.sgd.SGD"
    again = SimCLR.load_from_checkpoint(path)
    assert dict(again.hparams) == dict(module.hparams)
    assert (again.temperature, again.warmup_epochs, again.optimizer.lr) == (0.3, 0.25, 0.4)
    expected = state_of(module)
    assert all(torch.equal(value, expected[name]) for name, value in state_of(again).items())


def test_a_module_backbone_is_asked_for_by_name(tmp_path):
    module = SimCLR(TinyBackbone(), hidden_dim=8, output_dim=4, temperature=0.3)
    assert "backbone" not in module.hparams
    path = _checkpoint(module, tmp_path / "a.ckpt")
    with pytest.raises(UsageError, match=r"load_from_checkpoint.*backbone="):
        SimCLR.load_from_checkpoint(path)
    again = SimCLR.load_from_checkpoint(path, backbone=TinyBackbone())
    assert again.temperature == 0.3
    assert torch.equal(again.backbone.layers[0].weight, module.backbone.layers[0].weight)


class _WithHead(Toy):
    def __init__(self, backbone: Any = "resnet50", *, head: nn.Module, scale: float = 1.0, **arguments: Any) -> None:
        super().__init__(backbone, **arguments)
        self.head = head


def test_other_modules_are_left_out_of_the_hyperparameters_too(tmp_path):
    module = _WithHead(TinyBackbone(), head=nn.Linear(16, 4).requires_grad_(False), scale=2.0)
    assert module.hparams["scale"] == 2.0
    assert not {"head", "backbone"} & module.hparams.keys()
    path = _checkpoint(module, tmp_path / "a.ckpt")
    assert torch.load(path, weights_only=True)["hyper_parameters"]["scale"] == 2.0
    again = _WithHead.load_from_checkpoint(path, backbone=TinyBackbone(), head=nn.Linear(16, 4))
    assert torch.equal(again.head.weight, module.head.weight)


def test_compiling_the_backbone_leaves_names_alone(tmp_path):
    module = Toy(TinyBackbone(), compile_backbone=True)
    module.backbone.compile = lambda **_: nn.Module.compile(module.backbone, backend="eager")
    names = list(module.state_dict())
    path = _checkpoint(module, tmp_path / "a.ckpt")
    assert list(torch.load(path, weights_only=True)["state_dict"]) == names


# ------------------------------------------------------------------------------------------------------ arguments


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"lr_scaling": "square"}, "lr_scaling"),
        ({"warmup_epochs": -1}, "warmup_epochs=-1"),
        ({"final_lr": 2}, "final_lr=2"),
        ({"in_chans": 0}, "in_chans=0"),
        ({"final_lr": 0.1, "milestones": (0.5,)}, "has no effect with milestones"),
        ({"stem": "cifra"}, "stem"),
        ({"temprature": 0.1}, 'Did you mean "temperature"'),
        ({"optimizer": 0.1}, "optimizer=0.1"),
    ],
)
def test_wrong_arguments_are_named(arguments, words):
    with pytest.raises(UsageError, match=words):
        SimCLR("resnet18", **arguments)


@pytest.mark.parametrize("milestones", [(60, 80), (0.5, float("nan"))])
def test_milestones_are_parts_of_the_run(milestones):
    with pytest.raises(UsageError, match="parts of the run"):
        Toy(TinyBackbone(), milestones=milestones)


def test_a_last_learning_rate_beside_milestones_is_refused():
    with pytest.raises(UsageError, match=r"final_lr=0.1 has no effect with milestones"):
        Toy(TinyBackbone(), milestones=(0.5,), final_lr=0.1)


def test_a_method_without_training_step_says_so():
    from sslbolts import SSLModule

    batch = ViewBatch([torch.zeros(1, 3, 8, 8)], torch.zeros(1), torch.zeros(1))
    with pytest.raises(NotImplementedError, match="SSLModule must define training_step"):
        SSLModule(TinyBackbone()).training_step(batch, 0)


def test_construction_warns_of_nothing():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        SimCLR(WithBatchNorm())
        SimCLR("resnet10t", stem="cifar")


class _Word(enum.StrEnum):
    CIFAR = "cifar"


def test_a_checkpoint_holds_numbers_of_python_where_numpys_were_given(tmp_path):
    module = SimCLR(
        "resnet10t",
        hidden_dim=np.int64(8),
        output_dim=4,
        temperature=np.float64(0.5),
        stem=_Word.CIFAR,
        milestones=list(np.linspace(0.25, 0.75, 2)),
        optimizer=partial(torch.optim.SGD, lr=np.float64(0.25), momentum=np.float32(0.5)),
        backbone_kwargs={"drop_rate": np.float32(0.5)},
    )
    trainer = quiet_trainer(max_steps=1)
    trainer.fit(module, noise_loader(4, 4))
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    stored = torch.load(tmp_path / "last.ckpt", weights_only=True)
    hparams = stored["hyper_parameters"]
    assert [hparams[name] for name in ("hidden_dim", "temperature", "stem")] == [8, 0.5, "cifar"]
    assert (hparams["milestones"], hparams["backbone_kwargs"]) == ([0.25, 0.75], {"drop_rate": 0.5})
    assert hparams["optimizer"]["init_args"]["lr"] == 0.25
    assert stored["optimizer_states"][0]["param_groups"][0]["momentum"] == 0.5


def test_what_a_checkpoint_cannot_hold_is_refused_when_the_method_is_made():
    for given in ({"act_layer": nn.SiLU}, {"norm_layer": partial(nn.BatchNorm2d, eps=0.1)}):
        with pytest.raises(UsageError, match=r"backbone_kwargs=.* cannot be stored in a checkpoint: give numbers"):
            SimCLR("resnet10t", backbone_kwargs=given)
