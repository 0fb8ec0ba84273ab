"""The parameters of the methods with a teacher that are decayed: those of their sources."""

import pytest
import torch

from sslbolts import BYOL, DINO, BoWNet, Distillation, MeanTeacher, OBoW
from tests.helpers.nets import WithBatchNorm

SMALL_HEAD = {"hidden_dim": 8, "output_dim": 8}
TEACHER = {"teacher": {"backbone": "resnet10t", "stem": "cifar"}}


def _decay_of_norms_and_others(method):
    """Weight decay that the optimizer has for the batch norm's scale and for the convolution of the backbone."""
    optimizer = torch.optim.SGD(method.parameter_groups(), lr=0.1, weight_decay=0.5)
    decay = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    assert decay.keys() == {id(p) for p in method.parameters() if p.requires_grad}
    convolution, norm, _ = method.backbone.layers
    return decay[id(norm.weight)], decay[id(convolution.weight)]


@pytest.mark.parametrize(
    ("method", "arguments"),
    [
        (OBoW, {"levels": ["layers.0", "layers.2"], "num_words": 8}),
        (BoWNet, {"num_words": 8, **TEACHER}),
        (MeanTeacher, {"num_classes": 4}),
        (Distillation, TEACHER),
    ],
)
def test_official_code_that_gives_sgd_all_parameters_decays_norms_too(method, arguments):
    assert _decay_of_norms_and_others(method(WithBatchNorm(), **arguments)) == (0.5, 0.5)


@pytest.mark.parametrize("method", [BYOL, DINO])
def test_official_code_that_exempts_vectors_does_not_decay_norms(method):
    assert _decay_of_norms_and_others(method(WithBatchNorm(), **SMALL_HEAD)) == (0.0, 0.5)
