"""Distillation: where teachers come from, and that they stay what they were."""

import pytest
import torch
from torch import nn

from sslbolts import BYOL, Distillation, SimCLR, UsageError, export_backbone
from tests.helpers.nets import TinyBackbone, WithBatchNorm
from tests.helpers.trainers import quiet_trainer, state_of
from tests.helpers.views import noise_loader

TINY = {"layers": [1, 1, 1, 1], "channels": [8, 8, 8, 8], "stem_type": "deep", "stem_width": 4}
IMAGES = torch.randn(2, 3, 32, 32)


def distilled(teacher, **arguments):
    return Distillation(TinyBackbone(), teacher=teacher, warmup_epochs=0.0, lr_scaling="none", **arguments)


def trained(method, views=1, **settings):
    trainer = quiet_trainer(max_steps=2, **settings)
    trainer.fit(method, noise_loader(16, 8, (32,) * views))
    return trainer


def test_the_loss_is_the_squared_distance_of_the_directions_of_both_features():
    method = distilled(WithBatchNorm()).eval()
    batch = next(iter(noise_loader(8, 8, (32, 32))))
    method.log = lambda *_, **__: None
    expected = 0.0
    for view in batch.views:
        prediction, target = method.projector(method.backbone(view)), method.teacher.network(view)
        for p, t in zip(prediction, target):
            expected += (p / p.norm() - t / t.norm()).square().sum() / len(view) / 2
    torch.testing.assert_close(method.training_step(batch, 0), expected)


def test_the_teacher_stays_in_eval_mode_and_as_it_was_while_the_student_learns(recwarn):
    method = distilled(WithBatchNorm())
    teacher, student = state_of(method.teacher), state_of(method.backbone)
    trained(method)
    assert method.training
    assert not any(module.training for module in method.teacher.modules())
    assert not any(p.requires_grad for p in method.teacher.parameters())
    for name, value in teacher.items():  # running means and counts of batches too
        assert torch.equal(method.teacher.state_dict()[name], value), name
    assert not torch.equal(next(method.backbone.parameters()), next(iter(student.values())))
    assert not [w for w in recwarn if "eval mode" in str(w.message)]


def test_the_head_has_four_layers_and_ends_in_the_teachers_width():
    method = Distillation(TinyBackbone(), teacher=WithBatchNorm(), expansion=2)
    widths = [(m.in_features, m.out_features) for m in method.projector.modules() if isinstance(m, nn.Linear)]
    assert widths == [(16, 32), (32, 16), (16, 32), (32, 8)]


@pytest.mark.parametrize("suffix", ["ckpt", "safetensors"])
def test_a_teacher_out_of_a_file_survives_without_it(suffix, tmp_path):
    source = SimCLR("resnet18", backbone_kwargs=TINY, hidden_dim=8, output_dim=8, warmup_epochs=0.0)
    trainer = quiet_trainer(max_steps=1)
    trainer.fit(source, noise_loader(16, 8))
    file = tmp_path / f"teacher.{suffix}"
    trainer.save_checkpoint(file) if suffix == "ckpt" else export_backbone(source, file)
    method = distilled(str(file))
    expected = source.backbone.eval()(IMAGES)
    torch.testing.assert_close(method.teacher(IMAGES), expected)
    # The student is a module, so it must be given again; the teacher must not.
    trained(method).save_checkpoint(tmp_path / "student.ckpt")
    file.unlink()
    again = Distillation.load_from_checkpoint(tmp_path / "student.ckpt", backbone=TinyBackbone())
    torch.testing.assert_close(again.teacher(IMAGES), expected)


def test_a_name_brings_published_weights_which_a_checkpoint_does_not_ask_for_again(tmp_path, monkeypatch):
    import timm

    asked = []
    create = timm.create_model

    def offline(name, pretrained=False, **kwargs):
        asked.append(pretrained)
        return create(name, **TINY, **kwargs)

    monkeypatch.setattr(timm, "create_model", offline)
    method = distilled("resnet18")
    trained(method).save_checkpoint(tmp_path / "student.ckpt")
    assert asked == [True]
    again = Distillation.load_from_checkpoint(
        tmp_path / "student.ckpt", backbone=TinyBackbone(), teacher={"backbone": "resnet18"}
    )
    assert asked == [True, False]
    torch.testing.assert_close(again.teacher(IMAGES), method.teacher(IMAGES))


def test_the_stored_description_of_a_named_teacher_downloads_nothing():
    method = distilled({"backbone": "resnet18", "backbone_kwargs": {**TINY, "pretrained": False}})
    assert method.hparams["teacher"] == {"backbone": "resnet18", "backbone_kwargs": TINY}


def test_a_teacher_given_as_a_module_is_given_again_when_loading(tmp_path):
    torch.manual_seed(1)
    method = distilled(WithBatchNorm())
    trained(method).save_checkpoint(tmp_path / "student.ckpt")
    again = Distillation.load_from_checkpoint(
        tmp_path / "student.ckpt", backbone=TinyBackbone(), teacher=WithBatchNorm()
    )
    torch.testing.assert_close(again.teacher(IMAGES), method.teacher.cpu()(IMAGES))


def test_a_wrong_teacher_is_named(tmp_path):
    with pytest.raises(UsageError, match="there is no file"):
        distilled(str(tmp_path / "nothing.ckpt"))
    with pytest.raises(UsageError, match=r'no backbone "resnet81".*Did you mean'):
        distilled("resnet81")
    with pytest.raises(UsageError, match="a mapping must have backbone"):
        distilled({"name": "resnet18"})


def test_a_byol_checkpoint_teaches_with_its_student(tmp_path):
    source = BYOL("resnet18", backbone_kwargs=TINY, hidden_dim=8, output_dim=8, warmup_epochs=0.0)
    trainer = quiet_trainer(max_steps=1)
    trainer.fit(source, noise_loader(16, 8))
    trainer.save_checkpoint(tmp_path / "byol.ckpt")
    method = distilled(str(tmp_path / "byol.ckpt"))
    torch.testing.assert_close(method.teacher(IMAGES), source.backbone.eval()(IMAGES))
