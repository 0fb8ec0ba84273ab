"""The particulars of DINO. Loss and center against reference values: tests/golden."""

import copy
from functools import partial

import pytest
import torch

from sslbolts import DINO, UsageError
from sslbolts._lightning import Callback
from sslbolts.batch import ViewBatch
from sslbolts.methods.teacher_student import dino
from tests.helpers.nets import TinyBackbone
from tests.helpers.trainers import quiet_trainer
from tests.helpers.views import noise_loader

SMALL = {"hidden_dim": 8, "bottleneck_dim": 6, "output_dim": 12, "lr_scaling": "none", "warmup_epochs": 0.0}
VIT = {"img_size": 32, "patch_size": 8, "embed_dim": 16, "depth": 2, "num_heads": 2}


def _method(backbone=None, **arguments):
    return DINO(backbone or TinyBackbone(), **{**SMALL, **arguments})


class _PerStep(Callback):
    """A value of the module after every batch, and before the first."""

    def __init__(self, read):
        self.read, self.seen = read, []

    def on_train_start(self, trainer, pl_module):
        self.seen.append(self.read(pl_module))

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if trainer.global_step:
            self.seen.append(self.read(pl_module))

    def on_train_end(self, trainer, pl_module):
        self.seen.append(self.read(pl_module))


def _prototypes(module):
    return module.projector.last_layer.parametrizations.weight.original1.detach().clone()


@pytest.mark.parametrize("frozen", [0, 1])
def test_the_students_last_layer_stands_still_in_the_first_epochs_only(frozen):
    optimizer = partial(torch.optim.AdamW, lr=0.01, weight_decay=0.5)  # which would shrink it even without gradient
    last, first = _PerStep(_prototypes), _PerStep(lambda module: module.projector.mlp[0].weight.detach().clone())
    method = _method(freeze_last_layer_epochs=frozen, optimizer=optimizer)
    quiet_trainer(max_epochs=2, callbacks=[last, first]).fit(method, noise_loader(24, 8))
    for step in range(6):
        still = torch.equal(last.seen[step], last.seen[step + 1])
        assert still == (frozen == 1 and step < 3), step
        assert not torch.equal(first.seen[step], first.seen[step + 1])


def test_prototypes_keep_norm_one_unless_it_is_learned():
    def norms(**arguments):
        method = _method(freeze_last_layer_epochs=0, optimizer=partial(torch.optim.SGD, lr=1.0), **arguments)
        quiet_trainer(max_steps=3).fit(method, noise_loader(24, 8))
        return method.projector.last_layer.weight.norm(dim=1)

    torch.testing.assert_close(norms(), torch.ones(12))
    assert not torch.allclose(norms(norm_last_layer=False), torch.ones(12))


def test_the_center_follows_the_teachers_mean_of_the_step_before():
    method = _method(center_momentum=0.75)
    outputs = []
    method.teacher.register_forward_hook(lambda module, inputs, output: outputs.append(output.mean(0)))
    centers = _PerStep(lambda module: module.center.value.clone())
    quiet_trainer(max_steps=3, callbacks=[centers]).fit(method, noise_loader(24, 8, (32, 32, 16)))
    expected = torch.zeros(12)
    for seen, mean in zip(centers.seen, outputs):
        torch.testing.assert_close(seen, expected)
        expected = 0.75 * expected + 0.25 * mean
    torch.testing.assert_close(centers.seen[-1], expected)


def test_every_gradient_is_clipped_by_itself_before_the_step():
    method = _method(clip=1e-3, optimizer=partial(torch.optim.SGD, lr=1.0), freeze_last_layer_epochs=0)
    before = {name: p.detach().clone() for name, p in method.named_parameters()}
    quiet_trainer(max_steps=1).fit(method, noise_loader(8, 8))
    moved = {n: (p - before[n]).norm().item() for n, p in method.named_parameters() if p.requires_grad}
    assert max(moved.values()) <= 1.001e-3
    assert sum(value > 0.99e-3 for value in moved.values()) > 1


@pytest.mark.parametrize(
    ("epochs", "expected"),
    [(4, [0.04, 0.05, 0.06, 0.07, 0.07]), (1, [0.04, 0.07, 0.07, 0.07, 0.07]), (0, [0.07] * 5)],
)
def test_the_loss_has_a_temperature_of_the_teacher_that_rises_per_epoch_and_then_stays(epochs, expected, monkeypatch):
    used = []

    def record(*args, teacher_temperature, **kwargs):
        used.append(teacher_temperature)
        return loss(*args, teacher_temperature=teacher_temperature, **kwargs)

    loss = dino.dino
    monkeypatch.setattr(dino, "dino", record)
    method = _method(teacher_temperature=0.07, warmup_teacher_temperature_epochs=epochs)
    quiet_trainer(max_epochs=5).fit(method, noise_loader(16, 8))
    assert used == pytest.approx([temperature for temperature in expected for _ in range(2)])


def test_a_vision_transformer_takes_crops_of_two_sizes_and_only_the_student_drops_paths():
    method = _method("vit_tiny_patch16_224", backbone_kwargs=VIT, drop_path=0.5)

    def rates(network):
        return {getattr(m, "drop_prob", 0.0) for m in network.modules()}

    assert rates(method.backbone) == {0.0, 0.5}
    assert rates(method.teacher) == {0.0}
    trainer = quiet_trainer(max_steps=2)
    trainer.fit(method, noise_loader(16, 8, (32, 32, 16, 16, 16)))
    assert trainer.callback_metrics["train/loss"].isfinite()
    method.teacher.train()
    images = torch.randn(4, 3, 32, 32)
    torch.testing.assert_close(method.teacher(images), method.teacher(images))


def test_the_teacher_of_a_trained_method_can_be_copied():
    method = _method()
    quiet_trainer(max_steps=1).fit(method, noise_loader(8, 8))
    again = copy.deepcopy(method.teacher)
    images = torch.randn(4, 3, 32, 32)
    torch.testing.assert_close(again(images), method.teacher(images))


def test_small_crops_go_to_the_student_only():
    method = _method()
    seen = []
    method.teacher.backbone.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0].shape))
    quiet_trainer(max_steps=1).fit(method, noise_loader(8, 8, (32, 32, 16, 16)))
    assert seen == [(16, 3, 32, 32)]


def test_collapse_is_seen_in_the_teachers_entropy():
    method, logged = _method(), {}
    method.log = lambda name, value, **_: logged.__setitem__(name, float(value))
    views = [torch.randn(8, 3, 32, 32) for _ in range(2)]

    def entropy(logits):
        method.teacher.forward = lambda x: logits.expand(len(x), -1)
        method.training_step(ViewBatch(views, torch.zeros(8), torch.arange(8)), 0)
        return logged["train/teacher_entropy"]

    uniform, one_hot = method.indicators[0], method.indicators[0]
    assert uniform.is_bad(entropy(torch.ones(12)))
    assert one_hot.is_bad(entropy(torch.tensor([10.0] + [0.0] * 11)))
    assert not uniform.is_bad(entropy(torch.linspace(0, 0.2, 12)))


@pytest.mark.parametrize("sizes", [(32,), (32, 16)])
def test_one_large_view_is_too_few(sizes):
    with pytest.raises(UsageError, match="two large views of one size"):
        quiet_trainer(max_steps=1).fit(_method(), noise_loader(8, 8, sizes))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"student_temperature": 0}, "student_temperature=0"),
        ({"teacher_temperature": -1}, "teacher_temperature=-1"),
        ({"warmup_teacher_temperature": 0.0}, r"warmup_teacher_temperature=0\.0"),
        ({"warmup_teacher_temperature_epochs": -1}, "warmup_teacher_temperature_epochs=-1"),
        ({"center_momentum": 1.0}, r"center_momentum=1\.0"),
        ({"output_dim": 0}, "output_dim=0"),
    ],
)
def test_values_out_of_range_are_refused(arguments, message):
    with pytest.raises(UsageError, match=message):
        _method(**arguments)


def test_the_class_token_of_a_named_transformer_starts_as_in_the_official_code():
    method = _method("vit_tiny_patch16_224", backbone_kwargs={**VIT, "embed_dim": 512})
    for network in (method.backbone, method.teacher.backbone):
        assert network.cls_token.std().item() == pytest.approx(0.02, rel=0.2)  # of 512 draws
