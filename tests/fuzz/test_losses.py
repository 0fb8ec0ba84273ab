"""Losses of any batch: finite, with finite gradients, the same of a batch in another order, wrong shapes refused."""

from collections.abc import Callable, Sequence
from typing import get_args

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from sslbolts import losses
from sslbolts.errors import UsageError
from sslbolts.losses.contrastive import Negatives
from tests.fuzz.drawn import float_types, rows, seeds

Case = tuple[Callable[..., Tensor], list[Tensor]]  # a loss, and what has a row per image


def _distributions(seed: int, *shape: int) -> Tensor:
    return rows(seed, *shape).softmax(-1)


def _unit(seed: int, *shape: int) -> Tensor:
    return torch.nn.functional.normalize(rows(seed, *shape), dim=-1)


# Of B images, D dimensions, K classes or prototypes, and a seed: the loss and its tensors, images first.
CASES: dict[str, Callable[[int, int, int, int], Case]] = {
    "nt_xent": lambda b, d, k, s: (losses.nt_xent, [rows(s, b, d), rows(s + 1, b, d)]),
    "nt_xent in chunks": lambda b, d, k, s: (
        lambda *z: losses.nt_xent(*z, chunk_size=1 + s % 4), [rows(s, b, d), rows(s + 1, b, d)]
    ),
    "nt_xent semi-hard": lambda b, d, k, s: (
        lambda *z: losses.nt_xent(*z, semi_hard=True), [rows(s, b, d), rows(s + 1, b, d)]
    ),
    "nt_logistic": lambda b, d, k, s: (
        lambda *z: losses.nt_logistic(*z, negatives=get_args(Negatives)[s % 3]), [rows(s, b, d), rows(s + 1, b, d)]
    ),
    "margin_triplet": lambda b, d, k, s: (
        lambda *z: losses.margin_triplet(*z, negatives=get_args(Negatives)[s % 3]), [rows(s, b, d), rows(s + 1, b, d)]
    ),
    "moco_v3": lambda b, d, k, s: (losses.moco_v3_contrastive, [rows(s, b, d), rows(s + 1, b, d)]),
    "info_nce": lambda b, d, k, s: (
        lambda q, key: losses.info_nce(q, key, _unit(s + 2, k, d)), [rows(s, b, d), rows(s + 1, b, d)]
    ),
    "byol_regression": lambda b, d, k, s: (losses.byol_regression, [rows(s, b, d), rows(s + 1, b, d)]),
    "negative_cosine": lambda b, d, k, s: (losses.negative_cosine, [rows(s, b, d), rows(s + 1, b, d)]),
    "barlow_twins": lambda b, d, k, s: (losses.barlow_twins, [rows(s, b, d), rows(s + 1, b, d)]),
    "vicreg": lambda b, d, k, s: (losses.vicreg, [rows(s, b, d), rows(s + 1, b, d)]),
    "w_mse": lambda b, d, k, s: (
        lambda *z: losses.w_mse(z, group_size=len(z[0])), [rows(s, b + 4, 2), rows(s + 1, b + 4, 2)]
    ),
    "w_mse with a shrunk covariance": lambda b, d, k, s: (
        lambda *z: losses.w_mse(z, group_size=len(z[0]), eps=0.1), [rows(s, b + 4, 2), rows(s + 1, b + 4, 2)]
    ),
    "dino": lambda b, d, k, s: (
        lambda student, teacher: losses.dino(student.transpose(0, 1), teacher.transpose(0, 1), torch.zeros(k)),
        [rows(s, b, 3, k), rows(s + 1, b, 2, k)],
    ),
    "swapped_prediction": lambda b, d, k, s: (
        lambda x, y, code: losses.swapped_prediction([x, y], [code]),
        [rows(s, b, k), rows(s + 1, b, k), _distributions(s + 2, b, k)],
    ),
    "deepcluster_v2": lambda b, d, k, s: (
        lambda x, t: losses.deepcluster_v2([x], t[None]),
        [rows(s, b, k), torch.randint(k, (b,), generator=torch.Generator().manual_seed(s))],
    ),
    "bag_of_words": lambda b, d, k, s: (losses.bag_of_words, [rows(s, b, k), _distributions(s + 1, b, k)]),
    "consistency": lambda b, d, k, s: (
        lambda *z: losses.consistency(*z, ("mse", "kl")[s % 2]), [rows(s, b, k), rows(s + 1, b, k)]
    ),
    "labeled_cross_entropy": lambda b, d, k, s: (
        losses.labeled_cross_entropy,
        [rows(s, b, k), torch.randint(-1, k, (b,), generator=torch.Generator().manual_seed(s))],
    ),
    "prediction_entropy": lambda b, d, k, s: (losses.prediction_entropy, [rows(s, b, k)]),
    "virtual_adversarial": lambda b, d, k, s: (losses.virtual_adversarial, [rows(s, b, k), rows(s + 1, b, k)]),
    "adversarial": lambda b, d, k, s: (losses.adversarial, [rows(s, b), rows(s + 1, b)]),
    "amdim": lambda b, d, k, s: (losses.amdim, [rows(s, b, d), rows(s + 1, b, 3, d)]),
    "cpc": lambda b, d, k, s: (
        lambda *z: losses.cpc(*z, 1 + s % 2), [rows(s, b, 3, 2, d), rows(s + 1, b, 3, 2, d)]
    ),
    "colorization": lambda b, d, k, s: (
        losses.colorization, [rows(s, b, k), _distributions(s + 1, b, k), rows(s + 2, b).abs() + 0.1]
    ),
    "n_pairs": lambda b, d, k, s: (losses.n_pairs, [rows(s, b, d), rows(s + 1, b, d)]),
    "pair_triplet": lambda b, d, k, s: (losses.pair_triplet, [rows(s, b, d), rows(s + 1, b, d)]),
    "triplet": lambda b, d, k, s: (
        lambda *z: losses.triplet(*z, distance=("squared", "euclidean", "cosine")[s % 3]),
        [rows(s, b, d), rows(s + 1, b, d), rows(s + 2, b, d)],
    ),
    "semi_hard_triplet": lambda b, d, k, s: (losses.semi_hard_triplet, [rows(s, b, d), torch.arange(b) // 2]),
    "batch_hard_triplet": lambda b, d, k, s: (
        losses.batch_hard_triplet, [rows(s, 2 * b, d), torch.arange(2 * b) // 2]
    ),
    "pairwise_contrastive": lambda b, d, k, s: (
        losses.pairwise_contrastive, [rows(s, b, d), rows(s + 1, b, d), torch.arange(b) % 2]
    ),
    "counting": lambda b, d, k, s: (
        losses.counting, [rows(s, b, d).relu(), rows(s + 1, b, 4, d).relu(), rows(s + 2, b, d).relu()]
    ),
    "instance_softmax": lambda b, d, k, s: (
        lambda v, i: losses.instance_softmax(v, _unit(s + 1, b + k, d), i, temperature=0.07),
        [_unit(s, b, d), torch.arange(b)],
    ),
    "masked_tokens": lambda b, d, k, s: (
        losses.masked_tokens,
        [rows(s, b, 3, k), torch.randint(k, (b, 3), generator=torch.Generator().manual_seed(s)), torch.ones(b, 3)],
    ),
    "denoising": lambda b, d, k, s: (
        lambda *z: losses.denoising(*z, kind=("bce", "mse")[s % 2]),
        [rows(s, b, 3, 2, 2), rows(s + 1, b, 3, 2, 2).sigmoid()],
    ),
    "context_encoder": lambda b, d, k, s: (losses.context_encoder, [rows(s, b, 3, 2, 2), rows(s + 1, b, 3, 2, 2)]),
}  # fmt: skip
ALONE = ("byol", "negative_cosine", "info_nce", "dino", "swapped", "bag", "consistency", "labeled", "prediction")
"""Losses that one image has, too."""

sizes = st.tuples(st.integers(2, 9), st.integers(1, 7), st.integers(2, 6))
scales = st.sampled_from([0.0, 1e-6, 1e-2, 1.0, 1e2])


def _scaled(tensors: Sequence[Tensor], scale: float, dtype: torch.dtype) -> list[Tensor]:
    """The first tensor, a network's output, at another scale, and all in another type."""
    first = tensors[0] * scale
    return [x.to(dtype) if x.is_floating_point() else x for x in (first, *tensors[1:])]


@pytest.mark.parametrize("name", CASES)
@given(sizes, scales, float_types, seeds)
def test_a_loss_is_finite_and_of_a_batch_in_any_order(name, size, scale, dtype, seed):
    loss, tensors = CASES[name](*size, seed)
    tensors = _scaled(tensors, scale, dtype)
    output = tensors[0].detach().requires_grad_()
    found = loss(output, *tensors[1:])
    assert found.dim() == 0
    assert found.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    if name == "w_mse" and not tensors[0].any():
        assert found.isnan()  # there is no whitening of equal embeddings, as it says
        return
    assert found.isfinite()
    if found.requires_grad:
        found.backward()
        full = tensors[0].detach().to(found.dtype).requires_grad_()
        loss(full, *tensors[1:]).backward()
        assert full.grad.isfinite().all()
        # In half precision it is the same, rounded: beyond the largest number of float16 it is infinite.
        torch.testing.assert_close(output.grad, full.grad.to(dtype))
    order = torch.randperm(len(output), generator=torch.Generator().manual_seed(seed))
    shuffled = loss(*(x[order] for x in tensors))
    torch.testing.assert_close(shuffled, found.detach(), rtol=2e-3, atol=2e-4)


@pytest.mark.parametrize("name", CASES)
@given(sizes, seeds)
def test_a_single_image_has_a_loss_or_is_refused(name, size, seed):
    loss, tensors = CASES[name](*size, seed)
    try:
        found = loss(*(x[:1] for x in tensors))
    except UsageError as error:
        assert not name.startswith(ALONE), error
    else:
        assert found.isfinite()


@given(st.integers(1, 9), st.integers(1, 7), st.floats(0.01, 1.0), scales, float_types, seeds)
def test_codes_are_distributions_whose_rows_follow_their_images(images, prototypes, epsilon, scale, dtype, seed):
    scores = rows(seed, images, prototypes, scale=min(scale, 1.0)).to(dtype)
    codes = losses.sinkhorn(scores, epsilon=epsilon)
    assert codes.isfinite().all()
    assert (codes >= 0).all()
    torch.testing.assert_close(codes.sum(1), torch.ones_like(codes[:, 0]), rtol=1e-4, atol=1e-4)
    order = torch.randperm(images, generator=torch.Generator().manual_seed(seed))
    torch.testing.assert_close(losses.sinkhorn(scores[order], epsilon=epsilon), codes[order], rtol=1e-3, atol=1e-4)


PAIRS = ("nt_xent", "nt_logistic", "margin_triplet", "moco_v3_contrastive", "byol_regression", "negative_cosine")
PAIRS += (
    "barlow_twins",
    "vicreg",
    "n_pairs",
    "pair_triplet",
    "consistency",
    "virtual_adversarial",
    "matching_accuracy",
)


@pytest.mark.parametrize("name", PAIRS)
@given(st.lists(st.integers(1, 4), max_size=4), st.lists(st.integers(1, 4), max_size=4))
def test_wrong_shapes_are_refused_by_name(name, first, second):
    loss = getattr(losses, name)
    try:
        found = loss(torch.ones(first), torch.ones(second))
    except UsageError as error:
        assert str(tuple(first)) in str(error) or len(first) == 2
    else:
        assert first == second
        assert len(first) == 2
        assert found.isfinite()
