"""Joint semi-supervised training: what each loss sees, what a weight of 0 is, and what is refused."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from sslbolts import MoCo, SemiSupervised, SimCLR, UsageError
from sslbolts._lightning import Callback, lightning_module
from sslbolts.batch import ViewBatch
from sslbolts.checkpoints.ours import Checkpoint
from sslbolts.data import CIFAR10MiniDataModule, DatasetDataModule
from sslbolts.evaluation import load_encoder
from sslbolts.methods.semi_supervised.rotation import JointRotation
from sslbolts.optim import warmup_cosine
from tests.helpers.nets import SmallConvNet, TinyBackbone, WithBatchNorm
from tests.helpers.trainers import quiet_trainer, state_of
from tests.helpers.views import noise_loader

SIMCLR = {"class_path": "sslbolts.SimCLR", "init_args": {"hidden_dim": 16, "output_dim": 8}}
TINY = {"layers": [1, 1, 1, 1], "channels": [8, 8, 8, 8]}


def small(backbone=None, **arguments):
    quick = {"num_classes": 4, "warmup_epochs": 0.0, "milestones": ()}
    return SemiSupervised(TinyBackbone() if backbone is None else backbone, **{**quick, **arguments})


def mini(**settings):
    kept = {"labels_fraction": 0.1, "num_workers": 0, "seed": 0, "views": "s4l"}
    return CIFAR10MiniDataModule(**{"batch_size": 64, **kept, **settings})


def noise(targets, *, views=2):
    drawn = torch.Generator().manual_seed(5)
    images = [torch.randn(len(targets), 3, 16, 16, generator=drawn) for _ in range(views)]
    return ViewBatch(images, torch.tensor(targets), torch.arange(len(targets)))


def alone(method, first=None):
    """The method as if it were in a run, of which nothing is logged."""
    method.trainer = quiet_trainer(max_steps=1)
    method.trainer.datamodule = None if first is None else type("Data", (), {"labeled_batch_size": first})()
    method.log = lambda *_, **__: None
    return method


class Record(Callback):
    def __init__(self):
        self.metrics = []

    def on_train_batch_end(self, trainer, pl_module, *_):
        self.metrics.append({name: float(value) for name, value in trainer.logged_metrics.items()})


# ------------------------------------------------------------------------------------------------- the two losses


def test_apart_the_labeled_have_classes_and_the_unlabeled_the_methods_loss():
    module = alone(small(method=SIMCLR, weight=0.3), first=3)
    batch = noise([2, 0, 3, -1, -1, -1, -1])
    logits = module.classifier(module.backbone(batch.views[0][:3]))
    other = alone(module.method)
    of_unlabeled = SimCLR.training_step(
        other, ViewBatch([view[3:] for view in batch.views], batch.targets[3:], batch.indices[3:]), 0
    )
    expected = F.cross_entropy(logits, torch.tensor([2, 0, 3])) + 0.3 * of_unlabeled
    torch.testing.assert_close(module.training_step(batch, 0), expected)


def test_concatenated_the_class_head_reads_the_features_of_the_methods_own_pass():
    module = alone(small(method=SIMCLR, weight=0.3, concatenate=True), first=3)
    batch = noise([2, 0, 3, -1, -1, -1, -1])
    both = torch.cat([module.classifier(module.backbone(view[:3])) for view in batch.views])
    of_all = SimCLR.training_step(alone(module.method), batch, 0)
    expected = F.cross_entropy(both, torch.tensor([2, 0, 3, 2, 0, 3])) + 0.3 * of_all
    torch.testing.assert_close(module.training_step(batch, 0), expected)


def test_s4l_has_classes_of_all_four_rotations_and_the_mean_of_two_means():
    module = alone(small(weight=0.7))
    batch = noise([1, -1, -1, 3, -1], views=1)  # two labeled images, three unlabeled
    turned = [[torch.rot90(image, k, (1, 2)) for k in range(4)] for image in batch.views[0]]
    features = [module.backbone(torch.stack(four)) for four in turned]
    turns = [F.cross_entropy(module.method.rotation_head(f), torch.arange(4)) for f in features]
    classes = [
        F.cross_entropy(module.classifier(features[i]), torch.tensor([label] * 4)) for i, label in ((0, 1), (3, 3))
    ]
    rotation = ((turns[0] + turns[3]) / 2 + (turns[1] + turns[2] + turns[4]) / 3) / 2
    expected = sum(classes) / 2 + 0.7 * rotation
    torch.testing.assert_close(module.training_step(batch, 0), expected)
    union = sum(classes) / 2 + 0.7 * sum(turns) / 5
    assert abs(float((union - expected).detach())) > 1e-4


def test_the_rotation_heads_gradient_from_labeled_images_alone_is_half_the_weight_of_that_from_as_many_unlabeled():
    gradients = {}
    batch = noise([1, 0, 3], views=1)
    module = alone(small(weight=0.6))
    for name, targets in (("labeled", [1, 0, 3]), ("unlabeled", [-1, -1, -1])):
        module.zero_grad()
        module.training_step(batch._replace(targets=torch.tensor(targets)), 0).backward()
        gradients[name] = module.method.rotation_head.weight.grad.clone()
    features = module.backbone(torch.cat([torch.rot90(batch.views[0], k, (2, 3)) for k in range(4)]))
    head = module.method.rotation_head.weight.detach().clone().requires_grad_()
    labels = torch.arange(4).repeat_interleave(3)
    F.cross_entropy(features.detach() @ head.T + module.method.rotation_head.bias, labels).backward()
    for found in gradients.values():  # each kind is half of the loss, whether the other is there or not
        torch.testing.assert_close(found, 0.6 / 2 * head.grad)


def test_rotations_follow_each_other_as_views_do_so_that_probes_match_them_to_labels():
    module = alone(small())
    batch = noise([1, -1, -1], views=1)
    seen = []
    module.backbone.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    module.training_step(batch, 0)
    (rows,) = seen
    for row in range(12):
        assert torch.equal(rows[row], torch.rot90(batch.views[0][row % 3], row // 3, (1, 2)))


def test_batch_norm_of_the_one_pass_sees_labeled_and_unlabeled_images():
    module = alone(small(WithBatchNorm()).train())
    batch = noise([1, -1, -1, 3], views=1)
    module.training_step(batch, 0)
    conv, norm = module.backbone.layers[:2]
    maps = conv(torch.cat([torch.rot90(batch.views[0], k, (2, 3)) for k in range(4)]))
    torch.testing.assert_close(norm.running_mean, 0.1 * maps.mean((0, 2, 3)))


# -------------------------------------------------------------------------------------------------- a weight of 0


@pytest.mark.parametrize("method", [None, "SimCLR"])
def test_a_weight_of_0_is_supervised_training_bit_by_bit(method):
    views = "s4l" if method is None else "simclr"
    torch.manual_seed(0)
    module = small(SmallConvNet(8, 16), method=method, weight=0.0, num_classes=10)
    torch.manual_seed(0)
    network = small(SmallConvNet(8, 16), method=method, weight=0.0, num_classes=10).backbone.train()
    head = nn.Linear(16, 10)
    head.load_state_dict(module.classifier.state_dict())
    start = state_of(network)
    settings = {"labeled_batch_size": 16, "views": views}
    trainer = quiet_trainer(max_steps=5, limit_val_batches=0)
    trainer.fit(module, datamodule=mini(**settings))

    data = mini(**settings)
    parameters = [*network.parameters(), *head.parameters()]
    decayed = [p for p in parameters if method is None or p.ndim > 1]  # SimCLR decays no biases and norms
    others = [p for p in parameters if all(p is not other for other in decayed)]
    groups = [{"params": decayed}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.SGD(groups, lr=0.03, momentum=0.9, weight_decay=1e-3)
    for step, batch in zip(range(5), data.train_dataloader(), strict=False):
        batch = data.on_after_batch_transfer(batch, 0)
        assert (batch.targets[:16] >= 0).all()
        loss = F.cross_entropy(head(network(batch.views[0][:16])), batch.targets[:16])
        optimizer.zero_grad()
        loss.backward()
        for group in optimizer.param_groups:
            group["lr"] = 0.03 * warmup_cosine(step, total=5, warmup=0)
        optimizer.step()
    for ours, expected in ((module.backbone, network), (module.classifier, head)):
        for name, value in expected.state_dict().items():
            assert torch.equal(ours.state_dict()[name], value), name
    assert any(not torch.equal(value, start[name]) for name, value in network.state_dict().items())


# --------------------------------------------------------------------------------------------- the method's own


def test_teacher_and_queue_of_the_method_move():
    inner = {
        "class_path": "MoCo",
        "init_args": {"queue_length": 96, "hidden_dim": 16, "output_dim": 8, "momentum": 0.5},
    }
    module = small(method=inner, num_classes=10)
    before = state_of(module.method.teacher)
    trainer = quiet_trainer(max_steps=2, limit_val_batches=0)
    trainer.fit(module, datamodule=mini(labeled_batch_size=16, views="moco_v2"))
    assert int(module.method.queue.pointer) == 0  # twice the 48 unlabeled ones
    assert any(not torch.equal(value, before[name]) for name, value in module.method.teacher.state_dict().items())
    assert isinstance(module.method, MoCo)


def test_the_schedule_of_a_teachers_temperature_reaches_the_method():
    inner = {"class_path": "DINO", "init_args": {"hidden_dim": 16, "bottleneck_dim": 8, "output_dim": 16}}
    module = small(method=inner, num_classes=10)
    module.method.teacher_temperature = 9.0
    quiet_trainer(max_steps=1, limit_val_batches=0).fit(module, mini(labeled_batch_size=16, views="dino"))
    assert module.method.teacher_temperature == pytest.approx(0.04)


def test_a_resumed_run_draws_what_the_method_would_have_drawn(tmp_path):
    shape = {"img_size": 32, "patch_size": 8, "embed_dim": 16, "depth": 1, "num_heads": 2}
    decoder = {"decoder_dim": 16, "decoder_depth": 1, "decoder_heads": 2}
    saver = lightning_module("callbacks").ModelCheckpoint(
        dirpath=tmp_path, filename="{step}", save_top_k=-1, every_n_train_steps=2
    )

    def run(seed, **fit):
        torch.manual_seed(seed)
        network = {"backbone_kwargs": shape, "method": {"class_path": "MAE", "init_args": decoder}}
        module = SemiSupervised("vit_tiny_patch16_224", **network, num_classes=10, warmup_epochs=0.0, vat_weight=0.5)
        callbacks = [] if fit else [saver]
        trainer = quiet_trainer(max_steps=4, limit_val_batches=0, enable_checkpointing=not fit, callbacks=callbacks)
        data = CIFAR10MiniDataModule(
            batch_size=16, labels_fraction=0.1, labeled_batch_size=4, num_workers=0, views="mae", seed=0
        )
        trainer.fit(module, datamodule=data, **fit)
        return module.state_dict()

    whole = run(0)
    resumed = run(1, ckpt_path=str(tmp_path / "step=2.ckpt"))
    assert all(torch.equal(value, resumed[name]) for name, value in whole.items())


def test_losses_and_accuracy_are_logged_by_their_names():
    record = Record()
    data = mini(labeled_batch_size=16)
    trainer = quiet_trainer(max_steps=2, limit_val_batches=1, callbacks=[record])
    trainer.fit(small(num_classes=10), datamodule=data)
    names = {"train/loss", "train/labeled_loss", "train/unlabeled_loss", "train/labeled_accuracy", "train/labeled"}
    assert names | {"train/rotation_accuracy"} <= record.metrics[-1].keys()
    for metrics in record.metrics:
        assert metrics["train/loss"] == pytest.approx(metrics["train/labeled_loss"] + metrics["train/unlabeled_loss"])
        assert metrics["train/labeled"] == 0.25


def test_the_class_head_is_judged_on_validation_images():
    module = small(num_classes=10).eval()
    data = mini(eval_batch_size=300)
    trainer = quiet_trainer()
    trainer.validate(module, datamodule=data, verbose=False)
    images = data.images("val")
    mean, std = (torch.tensor(values)[:, None, None] for values in (data.mean, data.std))
    with torch.no_grad():
        right = module.classifier(module((images.data / 255 - mean) / std)).argmax(1) == images.targets
    assert float(trainer.callback_metrics["val/top1"]) == pytest.approx(right.double().mean().item(), abs=2e-3)


# --------------------------------------------------------------------------- regularizers of the class head


def test_regularizers_are_added_by_their_weights_and_leave_running_statistics():
    torch.manual_seed(0)
    plain = small(WithBatchNorm(), method=SIMCLR).train()
    batch, losses = noise([1, -1, -1, 3]), {}
    for name, weights in (
        ("plain", {}),
        ("entropy", {"entropy_weight": 0.3}),
        ("both", {"entropy_weight": 0.3, "vat_weight": 0.5, "vat_epsilon": 4.0}),
    ):
        module = alone(small(WithBatchNorm(), method=SIMCLR, **weights).train())
        module.load_state_dict(plain.state_dict())
        losses[name] = module.training_step(batch, 0)
        statistics = module.backbone.layers[1].running_mean.clone()
        if name == "entropy":
            p = module.classify(batch.views[0]).softmax(1)
            expected = losses["plain"] - 0.3 * (p * p.log()).sum(1).mean()
            torch.testing.assert_close(losses[name], expected)
            clean = statistics
    torch.testing.assert_close(statistics, clean)  # VAT has passes more, of perturbed images
    assert losses["both"] > losses["entropy"]
    losses["both"].backward()


# ------------------------------------------------------------------------------------------------- checkpoints


@pytest.mark.parametrize("as_module", [False, True])
def test_a_checkpoint_makes_network_and_method_again(tmp_path, as_module):
    if as_module:
        named = SimCLR("resnet18", stem="cifar", backbone_kwargs=TINY, hidden_dim=16, output_dim=8)
        module = SemiSupervised(method=named, num_classes=10)
    else:
        module = SemiSupervised("resnet18", stem="cifar", backbone_kwargs=TINY, method=SIMCLR, num_classes=10)
    trainer = quiet_trainer(max_steps=1)
    trainer.fit(module, noise_loader(8, 8))
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    again = SemiSupervised.load_from_checkpoint(tmp_path / "last.ckpt")
    assert type(again.method) is SimCLR
    assert again.method.projector[0].out_features == 16
    assert all(torch.equal(value, module.state_dict()[name]) for name, value in again.state_dict().items())
    images = torch.randn(2, 3, 32, 32)
    encoder = load_encoder(tmp_path / "last.ckpt", device="cpu")
    torch.testing.assert_close(encoder.network(images), module.eval()(images))
    torch.testing.assert_close(again.eval()(images), module.eval()(images))


def test_a_method_around_a_module_is_asked_for_by_name(tmp_path):
    module = small(method=SIMCLR)
    trainer = quiet_trainer(max_steps=1)
    trainer.fit(module, noise_loader(8, 8))
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    with pytest.raises(UsageError, match=r"load_from_checkpoint\(path, method=...\)"):
        SemiSupervised.load_from_checkpoint(tmp_path / "last.ckpt")
    again = SimCLR(TinyBackbone(), hidden_dim=16, output_dim=8)
    loaded = SemiSupervised.load_from_checkpoint(tmp_path / "last.ckpt", method=again)
    assert torch.equal(loaded.classifier.weight, module.classifier.weight)


def test_a_file_names_no_other_class_and_no_weights(tmp_path):
    torch.save(
        {
            "sslbolts_class": "sslbolts.methods.semi_supervised.semi_supervised.SemiSupervised",
            "state_dict": {},
            "hyper_parameters": {"backbone": "resnet18", "method": {"class_path": "os.system", "init_args": {}}},
        },
        tmp_path / "strange.ckpt",
    )
    with pytest.raises(UsageError, match=r"os\.system"):
        SemiSupervised.load_from_checkpoint(tmp_path / "strange.ckpt")
    teacher = {"class_path": "sslbolts.Distillation", "init_args": {"teacher": "resnet50"}}
    content = {"sslbolts_class": "sslbolts.SemiSupervised", "hyper_parameters": {"method": teacher}}
    found = Checkpoint("x", content).arguments["method"]["init_args"]
    assert found == {"teacher": {"backbone": "resnet50"}}  # a form, whose weights are nowhere fetched


# ------------------------------------------------------------------------------------------------------ wrong uses


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"method": "SimCRL"}, 'Did you mean "SimCLR"'),
        ({"method": {"class_path": "SimCLR", "init_args": {"temprature": 1}}}, 'Did you mean "temperature"'),
        (
            {"method": {"class_path": "SimCLR", "init_args": {"optimizer": {}}}},
            "method= has optimizer among its init_args",
        ),
        ({"method": {"class_path": "SimCLR", "init_args": {"stem": "cifar"}}}, "method= has stem among its init_args"),
        ({"method": {"name": "SimCLR"}}, "a mapping of class_path and init_args"),
        ({"method": {"class_path": "torch.nn.Linear"}}, "is no SSLModule"),
        ({"method": "MeanTeacher"}, "MeanTeacher learns from labels itself"),
        ({"method": "SemiSupervised"}, "SemiSupervised learns from labels itself"),
        ({"weight": 0.0, "concatenate": True}, "concatenate=True has no effect with weight=0"),
        ({"vat_epsilon": 1.0}, "vat_epsilon=1.0 has no effect with vat_weight=0"),
    ],
)
def test_what_cannot_be_is_one_clear_line(arguments, message):
    with pytest.raises(UsageError, match=message) as error:
        small(**arguments)
    assert "\n" not in str(error.value)


def test_a_module_brings_its_own_network():
    with pytest.raises(UsageError, match="leave out backbone, stem"):
        SemiSupervised("resnet18", stem="cifar", method=SimCLR(TinyBackbone()))
    with pytest.raises(UsageError, match="give JointRotation no feature_layer"):
        SemiSupervised(method=JointRotation(TinyBackbone(), feature_layer="layers.1"))


class Patches(SimCLR):
    """Its backbone sees three parts of each image."""

    def training_step(self, batch, batch_idx):
        parts = torch.cat([batch.views[0][:, :, start : start + 8] for start in (0, 4, 8)])
        return self.projector(self.backbone(parts)).square().mean()


def test_features_whose_images_are_not_known_are_refused():
    module = alone(SemiSupervised(method=Patches(TinyBackbone()), num_classes=4, concatenate=True))
    with pytest.raises(UsageError, match="which features belong to which of 4 images is not known of Patches"):
        module.training_step(noise([1, -1, -1, 3]), 0)


def test_data_without_labels_and_too_few_classes_are_named_before_training():
    images = torch.randint(0, 256, (20, 3, 16, 16), dtype=torch.uint8)
    data = DatasetDataModule(torch.utils.data.TensorDataset(images), batch_size=8, views="s4l", num_workers=0)
    with pytest.raises(UsageError, match=r"none of the training images of DatasetDataModule has a label") as error:
        quiet_trainer(max_steps=1).fit(small(), datamodule=data)
    assert "\n" not in str(error.value)
    with pytest.raises(UsageError, match="the data has 10 classes, but num_classes=4: give num_classes=10"):
        quiet_trainer(max_steps=1).fit(small(), datamodule=mini())


def test_parameters_and_start_are_those_of_the_method_and_two_linear_heads():
    module = SemiSupervised("resnet18", num_classes=10)
    network = sum(p.numel() for p in module.backbone.parameters())
    assert sum(p.numel() for p in module.parameters()) == network + 512 * 10 + 10 + 512 * 4 + 4
    assert math.isclose(module.optimizer.lr, 0.03)
    scales = {block.bn2.weight.unique().item() for block in module.backbone.modules() if hasattr(block, "downsample")}
    assert scales == {1.0}
