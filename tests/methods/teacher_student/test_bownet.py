"""The particulars of BoWNet. Its loss against a reference value: tests/golden."""

import pytest
import torch
from torch.nn import functional as F

from sslbolts import BoWNet, UsageError
from sslbolts.batch import ViewBatch
from sslbolts.callbacks import CollapseMonitor
from sslbolts.data import CIFAR10MiniDataModule
from sslbolts.methods.teacher_student.bownet import WordClassifier
from tests.helpers.nets import SmallConvNet, TinyBackbone, WithBatchNorm
from tests.helpers.trainers import quiet_trainer
from tests.helpers.views import NoiseViews, noise_loader

SMALL = {"num_words": 6, "lr_scaling": "none", "features_per_image": 3}


def _teacher():
    torch.manual_seed(1)
    return TinyBackbone()


def _method(backbone=None, **arguments):
    return BoWNet(backbone or TinyBackbone(), **{"teacher": _teacher(), "level": "layers.3", **SMALL, **arguments})


def _quiet(method):
    method.log = lambda *_, **__: None
    return method


def test_words_are_the_means_of_the_local_features_that_are_nearest_to_them():
    method = _method(kmeans_iterations=100)
    quiet_trainer(max_steps=1).fit(method, noise_loader(32, 8))
    images = torch.stack([NoiseViews(32)[i].views[0] for i in range(32)])
    rows = method._local_features(images).flatten(0, 1)
    nearest = torch.cdist(rows, method.words.rows).argmin(1)
    for word in range(6):
        torch.testing.assert_close(method.words.rows[word], rows[nearest == word].mean(0), rtol=1e-4, atol=1e-5)


def test_local_features_are_different_places_of_the_map_without_its_border():
    method = _method(features_per_image=4)
    images = torch.randn(5, 3, 32, 32)
    inside = method.teacher.network.layers(images)[:, :, 1:-1, 1:-1].flatten(2).mT
    drawn = method._local_features(images)
    places = torch.cdist(drawn, inside).argmin(2)
    torch.testing.assert_close(inside.gather(1, places[:, :, None].expand(-1, -1, 16)), drawn)
    assert all(len(set(row)) == 4 for row in places.tolist())
    assert len(set(places[:, 0].tolist())) > 1, "every image has the same places"
    torch.testing.assert_close(method._local_features(images[2:]), drawn[2:])


def test_words_are_made_once_and_come_with_the_checkpoint(tmp_path):
    method = _method()
    assert not method.words.made
    trainer = quiet_trainer(max_steps=2)
    trainer.fit(method, noise_loader(32, 8))
    words = method.words.rows.clone()
    trainer.save_checkpoint(tmp_path / "method.ckpt")
    again = _method()
    again.make_words = lambda: pytest.fail("words are made a second time")
    quiet_trainer(max_steps=3).fit(again, noise_loader(32, 8), ckpt_path=str(tmp_path / "method.ckpt"))
    assert torch.equal(again.words.rows, words)


def test_the_target_is_the_histogram_of_the_clean_image_and_the_student_sees_the_other_view():
    method = _quiet(_method(cutmix=0.0)).eval()
    method.words.rows.copy_(torch.randn(6, 16))
    clean, perturbed = torch.randn(2, 4, 3, 32, 32)
    loss = method.training_step(ViewBatch([clean, perturbed], torch.zeros(4), torch.arange(4)), 0)
    maps = method.teacher.network.layers(clean)[:, :, 1:-1, 1:-1].flatten(2).mT
    nearest = torch.cdist(maps, method.words.rows).argmin(2)
    bags = torch.stack([torch.bincount(row, minlength=6) / nearest.shape[1] for row in nearest])
    weight = F.normalize(method.projector.weight, dim=1)
    logits = method.projector.gamma * method.backbone(perturbed) @ weight.T
    torch.testing.assert_close(loss, F.cross_entropy(logits, bags), rtol=1e-4, atol=1e-5)


def test_gamma_is_learned_and_the_length_of_a_words_weight_does_not_matter():
    classifier = WordClassifier(8, 5, gamma=3.0)
    features = torch.randn(4, 8)
    logits = classifier(features)
    classifier.weight.data.mul_(torch.rand(5, 1) + 0.5)
    torch.testing.assert_close(classifier(features), logits)
    F.cross_entropy(classifier(features), torch.zeros(4, dtype=torch.long)).backward()
    assert classifier.gamma.grad != 0


def test_the_teacher_stays_in_eval_mode_and_as_it_was():
    method = _method(teacher=WithBatchNorm(), level="layers.2")
    before = {name: value.clone() for name, value in method.teacher.state_dict().items()}
    quiet_trainer(max_steps=3).fit(method, noise_loader(32, 8))
    assert not any(m.training for m in method.teacher.modules())
    assert all(torch.equal(value, before[name]) for name, value in method.teacher.state_dict().items())
    assert not any(p.requires_grad for p in method.teacher.parameters())


def test_the_student_teaches_the_next_round(tmp_path):
    kwargs = {
        "layers": [1, 1, 1, 1],
        "channels": [8, 8, 8, 8],
        "stem_type": "deep",
        "stem_width": 4,
        "output_stride": 8,
    }
    first = _method("resnet18", backbone_kwargs=kwargs)
    images = CIFAR10MiniDataModule(batch_size=16, views="bownet", num_workers=0, seed=0)
    trainer = quiet_trainer(max_steps=2, limit_val_batches=0)
    trainer.fit(first, datamodule=images)
    trainer.save_checkpoint(tmp_path / "first.ckpt")
    second = first.next_round(num_words=8)
    from_file = _method("resnet18", backbone_kwargs=kwargs, teacher=str(tmp_path / "first.ckpt"), level=None)
    for method in (second, from_file):
        assert method.level == "layer4"
        assert not method.words.made
        taught = method.teacher.network.state_dict()
        assert all(torch.equal(value, taught[name]) for name, value in first.backbone.state_dict().items())
    assert not torch.equal(second.backbone.conv1[0].weight, first.backbone.conv1[0].weight)
    assert (len(second.words.rows), second.features_per_image) == (8, 3)
    quiet_trainer(max_steps=1, limit_val_batches=0).fit(second, datamodule=images)


@pytest.mark.parametrize(
    ("student", "level", "expected", "width"),
    [
        ("resnet18", "layer3", "layer3", 256),
        ("resnet18", None, "layer4", 512),
        ("convnext_atto", "layer3", "stages.3", 320),
    ],
)
def test_the_next_round_keeps_the_level_where_the_student_has_it(student, level, expected, width):
    first = _method(student, teacher={"backbone": "resnet10t", "stem": "cifar"}, level=level)
    second = first.next_round()
    assert (second.level, second.words.rows.shape) == (expected, (6, width))


def test_the_level_of_the_next_round_can_be_given_anew():
    first = _method("resnet18", teacher={"backbone": "resnet10t", "stem": "cifar"}, level="layer3")
    assert first.next_round(level="layer2").words.rows.shape == (6, 128)


def test_collapse_is_looked_for_in_the_features_not_in_the_logits():
    method, features = _method(), []
    method.backbone.register_forward_hook(lambda module, inputs, output: features.append(output.detach().clone()))
    trainer = quiet_trainer(max_steps=1, callbacks=[CollapseMonitor(every_n_steps=1)])
    trainer.fit(method, noise_loader(8, 8))
    directions = features[-1] / features[-1].norm(dim=1, keepdim=True)
    assert trainer.callback_metrics["collapse/std"].item() == pytest.approx(directions.std(0).mean().item(), rel=1e-4)


def test_the_next_round_of_a_backbone_given_as_a_module_takes_another():
    first = _method()
    with pytest.raises(UsageError, match=r"next_round\(backbone=\.\.\.\)"):
        first.next_round()
    second = first.next_round(backbone=SmallConvNet(), level="layers.1")
    assert torch.equal(second.teacher.network.layers[0].weight, first.backbone.layers[0].weight)
    assert second.teacher.network is not first.backbone


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"cutmix": 1.5}, r"cutmix=1\.5"),
        ({"num_words": 0}, "num_words=0"),
        ({"level": "layers.7"}, 'no layer "layers.7"'),
    ],
)
def test_values_out_of_range_are_refused(arguments, message):
    with pytest.raises(UsageError, match=message):
        _method(**arguments)


def test_a_map_that_is_all_border_is_refused():
    method = _quiet(_method())
    batch = ViewBatch([torch.zeros(2, 3, 8, 8), torch.zeros(2, 3, 8, 8)], torch.zeros(2), torch.arange(2))
    with pytest.raises(UsageError, match=r"have \(2, 2\) pixels"):
        method.training_step(batch, 0)
