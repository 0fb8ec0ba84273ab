"""Mean Teacher: what it learns from, and what rises and falls with the step."""

import math

import pytest
import torch
import torch.nn.functional as F

from sslbolts import MeanTeacher, UsageError
from sslbolts._lightning import Callback
from sslbolts.data import CIFAR10MiniDataModule
from sslbolts.optim import sigmoid_ramp
from tests.helpers.nets import TinyBackbone
from tests.helpers.trainers import quiet_trainer, state_of
from tests.helpers.views import noise_loader


def small(**arguments):
    return MeanTeacher(TinyBackbone(), **{"num_classes": 4, "warmup_epochs": 0.0, "lr_scaling": "none", **arguments})


class Record(Callback):
    def __init__(self):
        self.metrics, self.teachers, self.students = [], [], []

    def on_train_batch_end(self, trainer, pl_module, *_):
        self.metrics.append({name: float(value) for name, value in trainer.logged_metrics.items()})
        self.students.append(state_of(pl_module.classifier)["weight"])

    def on_train_batch_start(self, trainer, pl_module, *_):
        self.teachers.append(state_of(pl_module.teacher.projector)["weight"])


def test_the_loss_is_cross_entropy_of_the_labelled_and_weighted_agreement_of_all():
    method = small(consistency_weight=3.0, ramp_up_epochs=0.0)
    with torch.no_grad():
        method.teacher.projector.weight.normal_()
    batch = next(iter(noise_loader(8, 8)))
    batch = batch._replace(targets=torch.tensor([0, -1, 2, -1, -1, 1, 3, -1]))
    student = method.classifier(method.backbone(batch.views[0]))
    teacher = method.teacher.projector(method.teacher.backbone(batch.views[1]))
    supervised = F.cross_entropy(student[[0, 2, 5, 6]], batch.targets[[0, 2, 5, 6]])
    agreement = (student.softmax(1) - teacher.softmax(1)).square().sum() / (8 * 4)
    method.log = method.log_dict = lambda *_, **__: None
    method._trainer = type("Position", (), {"global_step": 0})()
    torch.testing.assert_close(method.training_step(batch, 0), supervised + 3.0 * agreement)


def test_the_weight_of_agreement_rises_like_the_papers_and_is_a_function_of_the_step():
    record = Record()
    trainer = quiet_trainer(max_epochs=3, callbacks=[record], logger=False)
    trainer.fit(small(consistency_weight=10.0, ramp_up_epochs=2.0), noise_loader(32, 8))  # 4 steps an epoch
    weights = [metrics["train/consistency_weight"] for metrics in record.metrics]
    expected = [10 * math.exp(-5 * (1 - min(step / 8, 1)) ** 2) for step in range(12)]
    assert weights == pytest.approx(expected, rel=1e-6)
    assert sigmoid_ramp(0, length=0) == 1.0


def test_the_teacher_is_slower_after_the_rise():
    record = Record()
    method = small(momentum=0.5, final_momentum=0.9, ramp_up_epochs=1.0)
    quiet_trainer(max_epochs=2, callbacks=[record]).fit(method, noise_loader(32, 8))
    for step in range(7):
        momentum = 0.5 if step < 4 else 0.9
        expected = momentum * record.teachers[step] + (1 - momentum) * record.students[step]
        torch.testing.assert_close(record.teachers[step + 1], expected)


def test_it_trains_without_a_single_label():
    record = Record()
    loader = noise_loader(16, 8)
    loader.dataset.__class__ = type("Unlabelled", (type(loader.dataset),), {"__getitem__": _unlabelled})
    quiet_trainer(max_steps=2, callbacks=[record]).fit(small(), loader)
    assert all(metrics["train/supervised"] == 0 and metrics["train/labelled"] == 0 for metrics in record.metrics)
    assert all(math.isfinite(metrics["train/loss"]) for metrics in record.metrics)


def _unlabelled(self, index):
    item = super(type(self), self).__getitem__(index)
    return item._replace(targets=torch.tensor(-1))


def test_a_part_of_the_labels_reaches_it():
    record = Record()
    data = CIFAR10MiniDataModule(batch_size=500, views="mean_teacher", labels_per_class=50, num_workers=0, seed=0)
    trainer = quiet_trainer(max_epochs=1, limit_val_batches=0, callbacks=[record])
    trainer.fit(small(num_classes=10), datamodule=data)
    assert sum(metrics["train/labelled"] for metrics in record.metrics) / 10 == pytest.approx(0.1)


def test_too_few_classes_are_named_before_training():
    data = CIFAR10MiniDataModule(batch_size=500, views="mean_teacher", num_workers=0)
    with pytest.raises(UsageError, match="the data has 10 classes, but num_classes=4: give num_classes=10"):
        quiet_trainer(max_steps=1).fit(small(), datamodule=data)
    for wrong, message in (
        ({"num_classes": 1}, "two classes or more"),
        ({"consistency_weight": -1.0}, "neither can be negative"),
        ({"momentum": 1.5}, r"momentum=1.5"),
    ):
        with pytest.raises(UsageError, match=message):
            small(**wrong).configure_callbacks()
