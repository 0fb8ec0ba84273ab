"""Losses of momentum contrast and of instance discrimination beyond their reference values (tests/golden)."""

import math

import pytest
import torch

from sslbolts import UsageError
from sslbolts.losses import info_nce, instance_nce, instance_softmax, moco_v3_contrastive


def test_only_queries_have_a_gradient():
    q, k, n = (torch.randn(4, 3, requires_grad=True) for _ in range(3))
    (info_nce(q, k, n) + moco_v3_contrastive(q, k)).backward()
    assert q.grad.any()
    assert k.grad is None
    assert n.grad is None
    v, memory = torch.randn(2, 3, requires_grad=True), torch.randn(5, 3, requires_grad=True)
    instance_softmax(v, memory, torch.tensor([0, 4]), temperature=0.1).backward()
    assert memory.grad is None


def test_equal_embeddings_have_the_loss_of_guessing():
    ones = torch.ones(4, 3, dtype=torch.float64)
    unit = ones / 3**0.5
    assert info_nce(ones, ones, unit, 0.07).item() == pytest.approx(math.log(5))
    assert moco_v3_contrastive(ones, ones, 0.2).item() == pytest.approx(0.4 * math.log(4))
    assert instance_softmax(unit, unit, torch.arange(4), temperature=0.1).item() == pytest.approx(math.log(4))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_full(dtype):
    v = torch.nn.functional.normalize(torch.randn(4, 16), dim=1).to(dtype)
    entries = v[torch.randint(4, (4, 9))]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        losses = [
            info_nce(v, v, v, 0.07),
            moco_v3_contrastive(v, v, 0.2),
            instance_softmax(v, v, torch.arange(4), temperature=0.07),
            instance_nce(v, entries, temperature=0.07, normalizer=torch.tensor(1e6), num_images=9),
        ]
    assert all(loss.dtype == torch.float32 and loss.isfinite() for loss in losses)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda z: info_nce(z, z[:2], z), "query and key of one shape"),
        (lambda z: info_nce(z, z, z[:, :2]), r"negatives \(K, 3\)"),
        (lambda z: moco_v3_contrastive(z, z[:2]), "moco_v3_contrastive takes"),
        (lambda z: instance_softmax(z, z[:, :2], torch.arange(4), temperature=1.0), "memory"),
        (lambda z: instance_nce(z, z, temperature=1.0, normalizer=torch.ones(()), num_images=4), "memory entries"),
    ],
)
def test_wrong_arguments_are_named(call, words):
    with pytest.raises(UsageError, match=words):
        call(torch.randn(4, 3))


def test_float64_beside_float32_is_computed_in_float64():
    query, key, negatives = torch.randn(3, 4, 8, dtype=torch.float64)
    found = info_nce(query, key, negatives.float())
    assert found.dtype == torch.float64
    torch.testing.assert_close(found, info_nce(query, key, negatives.float().double()))
