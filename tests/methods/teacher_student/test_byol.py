"""The particulars of BYOL. Its loss against a reference value: tests/golden; its teacher: tests/callbacks."""

import torch
from torch import nn

from sslbolts import BYOL
from sslbolts.batch import ViewBatch
from tests.helpers.nets import TinyBackbone


def _method(logged):
    method = BYOL(TinyBackbone(), hidden_dim=16, output_dim=16)
    method.log = lambda name, value, **_: logged.__setitem__(name, float(value.detach()))
    return method


def test_the_loss_is_the_sum_of_both_directions_with_the_teacher_on_the_other_view():
    method = _method({}).double()
    for p in method.teacher.parameters():
        p.data.add_(0.1 * torch.randn_like(p))
    x1, x2 = torch.randn(2, 6, 3, 32, 32, dtype=torch.float64)
    loss = method.training_step(ViewBatch([x1, x2], torch.zeros(6), torch.arange(6)), 0)
    expected = 0.0
    for student, teacher in ((x1, x2), (x2, x1)):
        p, z = method.predictor(method.projector(method.backbone(student))), method.teacher(teacher)
        for a, b in zip(p, z):
            expected += (2 - 2 * (a @ b) / (a.norm() * b.norm())) / 6
    torch.testing.assert_close(loss, expected, rtol=1e-9, atol=1e-9)


def test_spread_tells_collapse_from_health():
    logged = {}
    method = _method(logged)
    method.backbone = nn.Identity()
    method.projector = method.predictor = nn.Identity()
    method.teacher = nn.Identity()
    (indicator,) = method.indicators
    for embeddings, bad in ((torch.randn(64, 256), False), (torch.ones(64, 256) + 0.01 * torch.randn(64, 256), True)):
        method.training_step(ViewBatch([embeddings, embeddings], None, None), 0)
        assert indicator.is_bad(logged["train/spread"]) == bad
