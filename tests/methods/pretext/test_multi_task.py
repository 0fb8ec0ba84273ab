"""Multi-task learning: the sum of losses, tasks of weight 0, harmonized inputs, the lasso, and what cannot be."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sslbolts import METHODS, Colorization, Jigsaw, MultiTask, RelativePosition, RotNet, SemiSupervised, UsageError
from sslbolts._lightning import Callback
from sslbolts.batch import ViewBatch
from sslbolts.data import CIFAR10MiniDataModule
from sslbolts.transforms.lab import rgb_to_lab
from tests.helpers.nets import SmallConvNet, TinyBackbone, WithBatchNorm
from tests.helpers.trainers import quiet_trainer, state_of
from tests.helpers.views import noise_loader
from tests.invariants.cases import case_of

PATCHES = {"patch_size": 8, "cell_size": 10, "jitter": 2, "hidden_dim": 16}
RELATIVE = {"class_path": "RelativePosition", "init_args": PATCHES}
COLORS = {"class_path": "Colorization", "init_args": {"layer": "layers", "stride": 4}}
EXEMPLAR = {"class_path": "Exemplar", "init_args": {"output_dim": 16}}
JIGSAW = {"class_path": "Jigsaw", "init_args": {"num_permutations": 8}}
BYOL = {"class_path": "BYOL", "init_args": {"hidden_dim": 16, "output_dim": 8, "momentum": 0.5}}
TINY = {"layers": [1, 1, 1, 1], "channels": [8, 8, 8, 8]}


def small(backbone: nn.Module | None = None, **arguments: Any) -> MultiTask:
    torch.manual_seed(0)
    return MultiTask(TinyBackbone() if backbone is None else backbone, **{"tasks": [RELATIVE, "RotNet"], **arguments})


def noise(count: int = 4, views: int = 2) -> ViewBatch:
    draw = torch.Generator().manual_seed(1)
    images = [torch.rand(count, 3, 32, 32, generator=draw) for _ in range(views)]
    return ViewBatch(images, torch.zeros(count, dtype=torch.int64), torch.arange(count))


class Logged(Callback):
    """What a run logs, step by step; and what the trunk sees in its first."""

    def __init__(self) -> None:
        self.metrics: list[dict[str, float]] = []
        self.seen: list[Tensor] = []

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        self.hook = pl_module.backbone.register_forward_pre_hook(lambda _, args: self.seen.append(args[0].detach()))

    def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
        self.hook.remove()
        self.metrics.append({name: float(value) for name, value in trainer.callback_metrics.items()})


def run(module: Any, *, steps: int = 1, **loader: Any) -> Logged:
    logged = Logged()
    settings = {"uniform": True, **loader}
    quiet_trainer(max_steps=steps, callbacks=[logged]).fit(module, noise_loader(8 * steps, 8, **settings))
    return logged


def test_the_loss_is_the_weighted_sum_of_what_each_task_has_alone():
    module = small(weights=[0.5, 2.0])
    expected = 0.0
    for weight, name, alone in (
        (0.5, "relative_position", RelativePosition(TinyBackbone(), **PATCHES)),
        (2.0, "rotnet", RotNet(TinyBackbone())),
    ):
        task = module.tasks[name]
        alone.backbone.load_state_dict(module.backbone.state_dict())
        for head in ("patch_layer", "head", "classifier"):
            if hasattr(alone, head):
                getattr(alone, head).load_state_dict(getattr(task, head).state_dict())
        torch.manual_seed(5)
        expected += weight * run(alone, sizes=(32,)).metrics[0]["train/loss"]
    torch.manual_seed(5)
    metrics = run(module).metrics[0]
    assert metrics["train/loss"] == pytest.approx(expected, rel=1e-6)
    parts = 0.5 * metrics["relative_position/loss"] + 2 * metrics["rotnet/loss"]
    assert metrics["train/loss"] == pytest.approx(parts, rel=1e-6)


# -------------------------------------------------------------------------------------------------- a weight of 0


def test_a_task_of_weight_0_leaves_the_trunk_untouched_bit_by_bit():
    optimizer = {"class_path": "torch.optim.SGD", "init_args": {"lr": 0.1, "momentum": 0.9}}
    module = small(SmallConvNet(8, 16), tasks=["RotNet", COLORS, EXEMPLAR], weights=[1, 0, 0], optimizer=optimizer)
    alone = RotNet(SmallConvNet(8, 16), optimizer=optimizer, lr_scaling="none", milestones=())
    alone.backbone.load_state_dict(module.backbone.state_dict())
    alone.classifier.load_state_dict(module.tasks["rotnet"].classifier.state_dict())
    before = state_of(module)
    run(module, steps=3)
    run(alone, steps=3, sizes=(32,))
    for ours, expected in ((module.backbone, alone.backbone), (module.tasks["rotnet"].classifier, alone.classifier)):
        for name, value in expected.state_dict().items():
            assert torch.equal(ours.state_dict()[name], value), name
    for name, value in module.state_dict().items():
        own = name.startswith(("tasks.colorization", "tasks.exemplar")) and ".backbone." not in name
        assert torch.equal(value, before[name]) == own, name


def test_a_task_with_a_weight_changes_the_trunk():
    trunks = []
    for weights in ([1, 0], [1, 1]):
        module = small(tasks=["RotNet", COLORS], weights=weights)
        run(module)
        trunks.append(module.backbone.layers[0].weight.detach())
    assert not torch.equal(*trunks)


# ------------------------------------------------------------------------------------------------ what tasks see


def test_each_task_gets_as_many_views_as_it_takes():
    rotations, views = run(small(tasks=["RotNet", EXEMPLAR])).seen
    assert (len(rotations), len(views)) == (4 * 8, 2 * 8)
    assert torch.equal(rotations[:8], next(iter(noise_loader(8, 8, uniform=True))).views[0])


def test_harmonized_tasks_see_lightness_alone():
    colored, gray = (run(small(tasks=["RotNet", COLORS], harmonize=h)) for h in (False, True))
    images = next(iter(noise_loader(8, 8, uniform=True))).views[0]
    assert torch.equal(colored.seen[0][:8], images)
    lightness = rgb_to_lab(images)[:, :1]
    torch.testing.assert_close(gray.seen[0][:8], (lightness / 100).expand(-1, 3, -1, -1))
    for seen in (colored.seen[1], gray.seen[1]):  # of colorization, whose targets keep their colors
        torch.testing.assert_close(seen, ((lightness - 50) / 50).expand(-1, 3, -1, -1))
    assert gray.metrics[0]["colorization/loss"] == pytest.approx(colored.metrics[0]["colorization/loss"], rel=1e-6)


def test_images_of_one_lightness_are_one_to_a_harmonized_trunk():
    generator = torch.Generator().manual_seed(0)
    gray = torch.rand(4, 1, 32, 32, generator=generator).expand(-1, 3, -1, -1)
    colored = torch.rand(4, 3, 32, 32, generator=generator)
    module = small(tasks=["RotNet", JIGSAW], harmonize=True).eval()
    same = module.prepare(colored)
    other = module.prepare(gray)
    assert torch.equal(same[:, 0], same[:, 1])
    assert torch.equal(same[:, 0], same[:, 2])
    assert not torch.allclose(same, other)
    torch.testing.assert_close(module(colored), module.backbone(rgb_to_lab(colored)[:, :1].expand(-1, 3, -1, -1) / 100))


def test_features_are_of_images_as_the_first_task_shows_them():
    images = noise().views[0]
    for first, shown in (
        (JIGSAW, Jigsaw(TinyBackbone(), num_permutations=8).prepare(images)),
        (COLORS, ((rgb_to_lab(images)[:, :1] - 50) / 50).expand(-1, 3, -1, -1)),
        ("SimCLR", images),
    ):
        module = small(tasks=[first, "RotNet"]).eval()
        torch.testing.assert_close(module(images), module.backbone(shown))


def test_a_batch_norm_has_each_tasks_statistics_one_after_the_other():
    module = small(WithBatchNorm(), tasks=["RotNet", {"class_path": "Jigsaw", "init_args": {"tile_size": 8,
                   "cell_size": 10, "jitter": 0, "channel_shift": 0, "tile_dim": 8, "hidden_dim": 8}}])  # fmt: skip
    conv = nn.Conv2d(3, 8, 3, stride=2, padding=1)
    conv.load_state_dict(module.backbone.layers[0].state_dict())
    logged = run(module)
    first, second = (conv(seen).mean((0, 2, 3)) for seen in logged.seen)
    torch.testing.assert_close(module.backbone.layers[1].running_mean, 0.9 * 0.1 * first + 0.1 * second)


# ---------------------------------------------------------------------------------------------------------- lasso


def test_the_lasso_of_the_paper_reads_23_blocks_of_1024_channels():
    with torch.device("meta"):
        blocks = [f"layer3.{block}" for block in range(23)]
        module = MultiTask(tasks=["RotNet", "Colorization"], lasso_layers=blocks)
        plain = MultiTask(tasks=["RotNet", "Colorization"])
    for task in module.tasks.values():
        assert task.backbone.alpha.shape == (23,)
        assert task.backbone.num_features == 1024
    heads = [(task.classifier if hasattr(task, "classifier") else task.head) for task in module.tasks.values()]
    assert [head.weight.shape[1] for head in heads] == [1024, 1024]
    trunk = sum(p.numel() for p in plain.backbone.parameters())
    assert trunk == 44_549_160 - 2_049_000  # ResNet-101 without its classifier
    assert sum(p.numel() for p in plain.parameters()) == trunk + (2048 + 1) * 4 + (2048 + 1) * 313
    assert sum(p.numel() for p in module.parameters()) == trunk + (1024 + 1) * 4 + (1024 + 1) * 313 + 2 * 23


def test_the_l1_norm_of_every_alpha_is_in_the_loss():
    layers = ["layers.2", "layers.3"]
    module = small(tasks=["RotNet", COLORS | {"init_args": {"stride": 4}}], lasso_layers=layers, lasso_weight=0.1)
    alphas = [task.backbone.alpha for task in module.tasks.values()]
    with torch.no_grad():
        alphas[0].copy_(torch.tensor([0.5, -1.0]))
        alphas[1].copy_(torch.tensor([2.0, 0.0]))
    metrics = run(module).metrics[0]
    parts = metrics["rotnet/loss"] + metrics["colorization/loss"]
    assert metrics["train/loss"] == pytest.approx(parts + 0.1 * 3.5, rel=1e-5)
    assert metrics["rotnet/lasso_norm"] == pytest.approx(1.5)
    assert metrics["rotnet/lasso_layers"] == pytest.approx(1.5**2 / 1.25)
    assert metrics["colorization/lasso_layers"] == pytest.approx(1.0)
    assert "rotnet/lasso_norm" in {indicator.metric for indicator in module.indicators}


def test_a_strong_lasso_lets_go_of_the_layers():
    norms = {}
    for weight in (0.0, 10.0):
        optimizer = {"class_path": "torch.optim.SGD", "init_args": {"lr": 0.01}}
        module = small(
            tasks=["RotNet"], lasso_layers=["layers.2", "layers.3"], lasso_weight=weight, optimizer=optimizer
        )
        norms[weight] = run(module, steps=4).metrics[-1]["rotnet/lasso_norm"]
    assert norms[10.0] < 0.9 < norms[0.0]


# ------------------------------------------------------------------------------------------ one run for all tasks


def test_metrics_and_indicators_are_under_the_tasks_names():
    module = small(tasks=[RELATIVE, COLORS, EXEMPLAR])
    (metrics,) = run(module).metrics
    for name, task in module.tasks.items():
        assert {f"{name}/{one.metric.removeprefix('train/')}" for one in task.indicators} <= metrics.keys()
    assert {one.metric for one in module.indicators} <= metrics.keys()
    assert {name for name in metrics if name.startswith("train/")} == {"train/loss"}


def test_every_parameter_is_in_one_group_and_heads_keep_theirs():
    relative = {"class_path": "RelativePosition", "init_args": {**PATCHES, "head_weight_decay": 0.25}}
    module = small(tasks=[relative, "RotNet"], lasso_layers=["layers.2", "layers.3"])
    groups = module.parameter_groups()
    grouped = [parameter for group in groups for parameter in group["params"]]
    assert sorted(map(id, grouped)) == sorted(map(id, module.parameters()))
    decayed = {id(p) for group in groups if group.get("weight_decay") == 0.25 for p in group["params"]}
    head = module.tasks["relative_position"].head
    assert decayed == {id(p) for p in head.parameters() if p.ndim > 1}


def test_a_step_is_one_for_all_and_teacher_and_prototypes_follow_it():
    swav = {"class_path": "SwAV", "init_args": {"hidden_dim": 16, "output_dim": 8, "num_prototypes": 16,
            "freeze_prototypes_steps": 0}}  # fmt: skip
    module = small(tasks=[BYOL, swav, "RotNet"])
    teacher = state_of(module.tasks["byol"].teacher)
    trainer = quiet_trainer(max_steps=2)
    trainer.fit(module, noise_loader(16, 8))
    assert trainer.global_step == 2
    assert any(not torch.equal(value, teacher[name]) for name, value in state_of(module.tasks["byol"].teacher).items())
    norms = module.tasks["swav"].prototypes.weight.norm(dim=1)
    torch.testing.assert_close(norms, torch.ones(16))


def test_it_stands_beside_labels_too():
    inner = {"class_path": "sslbolts.MultiTask", "init_args": {"tasks": ["RotNet", COLORS]}}
    module = SemiSupervised(TinyBackbone(), method=inner, num_classes=4)
    logged = run(module)
    assert {"rotnet/loss", "colorization/loss", "train/unlabeled_loss"} <= logged.metrics[0].keys()


def test_a_checkpoint_makes_trunk_and_tasks_again(tmp_path):
    tasks = ["RotNet", {"class_path": "Colorization", "init_args": {"stride": 4}}]
    module = MultiTask("resnet18", stem="cifar", backbone_kwargs=TINY, tasks=tasks, weights=[1, 0.5], harmonize=True)
    trainer = quiet_trainer(max_steps=1)
    trainer.fit(module, noise_loader(8, 8, uniform=True))
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    again = MultiTask.load_from_checkpoint(tmp_path / "last.ckpt")
    assert again.weights == {"rotnet": 1, "colorization": 0.5}
    assert isinstance(again.tasks["colorization"], Colorization)
    assert again.tasks["colorization"].stride == 4
    assert all(torch.equal(value, module.state_dict()[name]) for name, value in again.state_dict().items())
    images = torch.rand(2, 3, 32, 32)
    assert torch.equal(again.eval()(images), module.eval()(images))
    features = F.normalize(again(images))
    assert features.shape == (2, 8)


PRETEXT = [name for name, line in METHODS.items() if line.family == "pretext"]


@pytest.mark.parametrize("name", [name for name in PRETEXT if name not in ("SplitBrain", "MultiTask")])
def test_every_pretext_method_of_one_network_is_a_task(name):
    case = case_of(name)
    own = {key: value for key, value in case.small.items() if key not in ("feature_layer", "milestones")}
    module = small(tasks=[{"class_path": name, "init_args": own}])
    before = module.backbone.layers[0].weight.clone()
    logged = run(module, steps=2, sizes=case.sizes)  # BiGAN's trunk has no gradient in the first
    assert logged.metrics[0][f"{METHODS[name].module.rpartition('.')[2]}/loss"] > 0
    assert not torch.equal(module.backbone.layers[0].weight, before)


# ----------------------------------------------------------------------------------------------------- wrong uses


class TwoOptimizers(RotNet):
    """Steps by itself."""

    def __init__(self, backbone, **arguments):
        super().__init__(backbone, **arguments)
        self.automatic_optimization = False


@pytest.fixture(autouse=True)
def _named():
    """A class of one's own is described by its name once it has been named."""
    with torch.serialization.safe_globals([TwoOptimizers]):
        yield


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"tasks": ["RotNt"]}, 'Did you mean "RotNet"'),
        ({"tasks": []}, "it is a list of methods"),
        ({"tasks": "RotNet"}, "it is a list of methods"),
        ({"tasks": [{"name": "RotNet"}]}, "a mapping of class_path and init_args"),
        ({"tasks": [RotNet(TinyBackbone())]}, "whose network is its own: give its class_path and init_args"),
        ({"tasks": ["RotNet", "RotNet"]}, "each method can be there once"),
        ({"tasks": [{"class_path": "RotNet", "init_args": {"stem": "cifar"}}]}, "tasks= has stem among its init_args"),
        ({"tasks": [{"class_path": "RotNet", "init_args": {"feature_layer": "layers.1"}}]}, "RotNet a feature_layer"),
        ({"tasks": [{"class_path": "RotNet", "init_args": {"tempo": 1}}]}, "tempo"),
        ({"tasks": ["MultiTask"]}, "put its tasks into this one's list"),
        ({"tasks": ["SemiSupervised"]}, "SemiSupervised learns from labels itself"),
        ({"tasks": ["Word2Vec"]}, "Word2Vec learns from text"),
        ({"tasks": [{"class_path": f"{__name__}.TwoOptimizers"}]}, "TwoOptimizers has two optimizers"),
        ({"tasks": ["SplitBrain"]}, "SplitBrain"),
        ({"tasks": [BYOL, "MoCo"]}, "BYOL and MoCo have a teacher each"),
        ({"weights": [1.0]}, "there are 2 tasks, and one weight is for each"),
        ({"weights": [1.0, -1.0]}, "weights=-1.0"),
        ({"weights": [0.0, 0.0]}, "one of them at least must be above 0"),
        ({"lasso_weight": 0.1}, "has no effect without lasso_layers"),
        ({"lasso_layers": ["layers.1", "layers.3"]}, "name the blocks of one stage"),
        ({"tasks": [COLORS], "lasso_layers": ["layers.3"]}, "layer=layers of Colorization has no effect with lasso"),
    ],
)
def test_what_cannot_be_is_one_clear_line(arguments, message):
    with pytest.raises(UsageError, match=message) as error:
        small(**arguments)
    assert "\n" not in str(error.value)


def test_fewer_views_than_a_task_takes_and_normalized_images_are_named_before_training():
    with pytest.raises(UsageError, match="SimCLR takes 2 views of each image, and the batch has 1: choose another"):
        run(small(tasks=["RotNet", "SimCLR"]), sizes=(32,))
    data = CIFAR10MiniDataModule(batch_size=8, num_workers=0, views="rotnet")
    with pytest.raises(UsageError, match=r"MultiTask with harmonize=True takes images in \[0, 1\], but CIFAR10Mini"):
        quiet_trainer(max_steps=1).fit(small(tasks=["RotNet"], harmonize=True), datamodule=data)
    with pytest.raises(UsageError, match=r"MultiTask with harmonize=True takes images in \[0, 1\], but these are in"):
        run(small(tasks=["RotNet"], harmonize=True), uniform=False)
