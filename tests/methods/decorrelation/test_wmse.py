"""What W-MSE adds to its loss."""

import pytest
import torch

from sslbolts import WMSE, UsageError
from sslbolts.losses import w_mse
from sslbolts.methods.decorrelation.wmse import _dimensions
from tests.helpers.nets import TinyBackbone
from tests.helpers.trainers import Recorder, quiet_trainer
from tests.helpers.views import noise_loader


def _method(**arguments):
    chosen = {"hidden_dim": 16, "output_dim": 2, "group_size": 4, "warmup_epochs": 0, **arguments}
    return WMSE(TinyBackbone(), **chosen)


@pytest.mark.parametrize("views", [2, 4])
def test_two_and_four_views_are_compared_pairwise_in_the_order_in_which_they_come(views):
    method, recorder = _method(), Recorder()
    loader = noise_loader(8, 8, (32,) * views)
    features = torch.cat([method.backbone(x) for x in next(iter(loader)).views])
    embeddings = method.projector.train()(features).detach().split(8)
    quiet_trainer(max_steps=1, callbacks=[recorder]).fit(method, loader)
    torch.testing.assert_close(recorder.losses[0], w_mse(embeddings, group_size=4), rtol=1e-4, atol=1e-5)


def test_the_backbone_sees_each_view_alone_and_the_projector_all_of_them():
    method, rows = _method(), {"backbone": [], "projector": []}
    for name, seen in rows.items():
        getattr(method, name).register_forward_hook(lambda module, x, y, seen=seen: seen.append(len(y)))
    quiet_trainer(max_steps=1).fit(method, noise_loader(8, 8, (32,) * 3))
    assert rows == {"backbone": [8, 8, 8], "projector": [24]}


def test_biases_and_norms_are_decayed_too():
    (group,) = _method().parameter_groups()
    assert "weight_decay" not in group
    assert len(group["params"]) == len(list(_method().parameters()))


def test_more_iterations_shuffle_and_are_drawn_anew_in_every_step():
    losses = []
    for iterations in (1, 3):
        torch.manual_seed(0)
        recorder = Recorder()
        quiet_trainer(max_steps=1, callbacks=[recorder]).fit(_method(iterations=iterations), noise_loader(8, 8))
        losses.append(recorder.losses[0])
    assert losses[0] != losses[1]


def test_the_learning_rate_falls_in_two_steps_near_the_end():
    method = _method()
    factors = [method.lr_factor(step, total=1000, warmup=5) for step in (0, 1, 5, 949, 950, 974, 975, 999)]
    assert factors == pytest.approx([0.2, 0.4, 1, 1, 0.2, 0.2, 0.04, 0.04])


def test_dimensions_count_over_how_many_the_variance_spreads():
    line = torch.arange(8.0)[:, None] * torch.tensor([[1.0, 2.0, 3.0]])
    assert _dimensions(line + 5).item() == pytest.approx(1, rel=1e-4)
    assert _dimensions(torch.cat([torch.eye(4), -torch.eye(4)])).item() == pytest.approx(4)


def test_groups_are_twice_the_width_by_default_and_must_fit():
    assert WMSE(TinyBackbone(), output_dim=32).group_size == 64
    with pytest.raises(UsageError, match="cannot be whitened in output_dim=64"):
        WMSE(TinyBackbone(), group_size=64)
    assert WMSE(TinyBackbone(), group_size=64, eps=0.1).eps == 0.1
    with pytest.raises(UsageError, match="batch of 6 images per device does not split into groups of 4"):
        quiet_trainer(max_steps=1).fit(_method(), noise_loader(6, 6))
    with pytest.raises(UsageError, match="has no effect with milestones"):
        _method(final_lr=0.1)
    with pytest.raises(UsageError, match="iterations=0"):
        _method(iterations=0)
    for eps in (-0.1, 1.0, float("nan")):
        with pytest.raises(UsageError, match="eps="):
            _method(eps=eps)


def test_its_checkpoint_loads(tmp_path):
    trainer = quiet_trainer(max_steps=1)
    trainer.fit(_method(), noise_loader(8, 8))
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    assert WMSE.load_from_checkpoint(tmp_path / "a.ckpt", backbone=TinyBackbone()).group_size == 4
