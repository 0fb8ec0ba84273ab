"""Mean Teacher: what it learns from, and what rises and falls with the step."""

import math

import pytest
import torch
import torch.nn.functional as F

from sslbolts import MeanTeacher, UsageError
from sslbolts._lightning import Callback
from sslbolts.data import CIFAR10MiniDataModule, DatasetDataModule, TensorImages
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


def test_the_loss_is_cross_entropy_of_the_labeled_and_weighted_agreement_of_all():
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
    method._trainer = quiet_trainer(max_steps=1)
    torch.testing.assert_close(method.training_step(batch, 0), supervised + 3.0 * agreement)


def test_what_a_step_logs_is_on_the_device_already():
    method, logged = small(), {}
    method.log = lambda name, value, **_: logged.__setitem__(name, value)
    method.log_dict = lambda values, **_: logged.update(values)
    method._trainer = quiet_trainer(max_steps=1)
    method.training_step(next(iter(noise_loader(8, 8))), 0)
    assert "train/consistency_weight" in logged
    assert all(isinstance(value, torch.Tensor) for value in logged.values())


def test_with_a_quarter_of_labels_a_weight_of_400_gives_four_times_the_official_loss():
    method = small(consistency_weight=400.0, ramp_up_epochs=0.0)
    with torch.no_grad():
        method.teacher.projector.weight.normal_()
    batch = next(iter(noise_loader(8, 8)))._replace(targets=torch.tensor([0, -1, -1, -1, -1, 1, -1, -1]))
    student = method.classifier(method.backbone(batch.views[0]))
    teacher = method.teacher.projector(method.teacher.backbone(batch.views[1]))
    supervised = F.cross_entropy(student, batch.targets, ignore_index=-1, reduction="sum") / 8
    agreement = (student.softmax(1) - teacher.softmax(1)).square().sum() / 4 / 8
    method.log = method.log_dict = lambda *_, **__: None
    method._trainer = quiet_trainer(max_steps=1)
    torch.testing.assert_close(method.training_step(batch, 0), 4 * (supervised + 100 * agreement))


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
        momentum = min(1 - 1 / (step + 2), 0.5 if step < 4 else 0.9)  # as in the official PyTorch code
        expected = momentum * record.teachers[step] + (1 - momentum) * record.students[step]
        torch.testing.assert_close(record.teachers[step + 1], expected)


def test_it_trains_without_a_single_label():
    record = Record()
    loader = noise_loader(16, 8)
    loader.dataset.__class__ = type("Unlabeled", (type(loader.dataset),), {"__getitem__": _unlabeled})
    quiet_trainer(max_steps=2, callbacks=[record]).fit(small(), loader)
    assert all(metrics["train/supervised"] == 0 and metrics["train/labeled"] == 0 for metrics in record.metrics)
    assert all(math.isfinite(metrics["train/loss"]) for metrics in record.metrics)


def _unlabeled(self, index):
    item = super(type(self), self).__getitem__(index)
    return item._replace(targets=torch.tensor(-1))


def test_a_part_of_the_labels_reaches_it():
    record = Record()
    data = CIFAR10MiniDataModule(batch_size=500, views="mean_teacher", labels_per_class=50, num_workers=0, seed=0)
    trainer = quiet_trainer(max_epochs=1, limit_val_batches=0, callbacks=[record])
    trainer.fit(small(num_classes=10), datamodule=data)
    assert sum(metrics["train/labeled"] for metrics in record.metrics) / 10 == pytest.approx(0.1)


class _OddImages(CIFAR10MiniDataModule):
    """997 images for validation, a few of them without a label."""

    def load(self, split):
        images = super().load(split)
        if split != "val":
            return images
        targets = images.targets[:997].clone()
        targets[::10] = -1
        return TensorImages(images.data[:997], targets)


def _validated(world):
    torch.manual_seed(0)
    method = small(num_classes=10)
    with torch.no_grad():
        method.teacher.projector.weight.normal_()
    data = _OddImages(batch_size=16, views="mean_teacher", eval_batch_size=100, num_workers=0)
    trainer = quiet_trainer(world=world, use_distributed_sampler=True)
    trainer.validate(method, datamodule=data, verbose=False)
    return {name: float(value) for name, value in trainer.callback_metrics.items()}


def test_accuracy_of_student_and_teacher_counts_each_labeled_image_once_on_any_number_of_processes(two_ranks):
    one = _validated(1)
    torch.manual_seed(0)
    method = small(num_classes=10).eval()
    with torch.no_grad():
        method.teacher.projector.weight.normal_()
        data = _OddImages(views="mean_teacher")
        images = data.load("val")
        mean, std = (torch.tensor(values)[:, None, None] for values in (data.mean, data.std))
        pixels, known = (images.data / 255 - mean) / std, images.targets >= 0
        expected = {
            "val/top1": method.classifier(method(pixels)),
            "val/teacher_top1": method.teacher(pixels),
        }
    for name, logits in expected.items():
        right = (logits.argmax(1) == images.targets)[known].double().mean().item()
        assert one[name] == pytest.approx(right, abs=2e-3)
    assert one["val/top1"] != one["val/teacher_top1"]
    for both in two_ranks(_validated, 2):
        assert both == one


def test_without_labels_no_accuracy_is_logged():
    images = torch.randint(0, 256, (20, 3, 16, 16), dtype=torch.uint8)
    unlabeled = torch.utils.data.TensorDataset(images)
    data = DatasetDataModule(unlabeled, val=unlabeled, batch_size=8, views="mean_teacher", num_workers=0)
    trainer = quiet_trainer(max_epochs=1)
    trainer.fit(small(), datamodule=data)
    assert not any("top1" in name for name in trainer.callback_metrics)


def test_too_few_classes_are_named_before_training():
    data = CIFAR10MiniDataModule(batch_size=500, views="mean_teacher", num_workers=0)
    with pytest.raises(UsageError, match="the data has 10 classes, but num_classes=4: give num_classes=10"):
        quiet_trainer(max_steps=1).fit(small(), datamodule=data)
    for wrong, message in (
        ({"num_classes": 1}, "num_classes=1"),
        ({"consistency_weight": -1.0}, "consistency_weight=-1.0"),
        ({"momentum": 1.5}, "momentum=1.5"),
    ):
        with pytest.raises(UsageError, match=message):
            small(**wrong)
