"""Properties of contrastive losses beyond their reference values (tests/golden)."""

import math
from functools import partial

import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from sslbolts import UsageError
from sslbolts.distributed import rank
from sslbolts.losses import margin_triplet, matching_accuracy, nt_logistic, nt_xent
from tests.golden import naive_losses as naive


def test_equal_embeddings_have_the_loss_of_guessing():
    z = torch.ones(8, 4, dtype=torch.float64)
    assert nt_xent(z, z, 0.07).item() == pytest.approx(math.log(15), abs=1e-12)


def test_similarity_to_itself_has_no_gradient_even_at_low_temperature():
    # At 0.01 the masked exponent is e^100: what is subtracted instead of masked leaves a gradient, or infinity.
    z1, z2 = (torch.randn(6, 5, dtype=torch.float64).requires_grad_() for _ in range(2))
    assert torch.autograd.gradcheck(lambda a, b: nt_xent(a, b, 0.01), (z1, z2), eps=1e-7, atol=1e-4)


def test_order_of_images_and_of_views_does_not_matter():
    z1, z2 = torch.randn(2, 7, 5, dtype=torch.float64)
    order = torch.randperm(7)
    torch.testing.assert_close(nt_xent(z1[order], z2[order]), nt_xent(z1, z2))
    torch.testing.assert_close(nt_xent(z2, z1), nt_xent(z1, z2))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_embeddings_are_computed_in_full(dtype):
    z1, z2 = torch.randn(2, 64, 16).to(dtype)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = nt_xent(z1, z2, 0.1)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss.double(), nt_xent(z1.double(), z2.double(), 0.1), rtol=1e-5, atol=1e-5)


LOSSES = {
    "nt_xent": partial(nt_xent, temperature=0.2),
    "nt_xent in chunks": partial(nt_xent, temperature=0.2, chunk_size=3),
    "nt_xent, semi-hard": partial(nt_xent, temperature=0.2, semi_hard=True),
    "nt_logistic": partial(nt_logistic, temperature=0.2),
    "nt_logistic, sum": partial(nt_logistic, temperature=0.2, negatives="sum"),
    "nt_logistic, semi-hard": partial(nt_logistic, temperature=0.2, negatives="semi_hard"),
    "margin_triplet": partial(margin_triplet, margin=0.5),
    "margin_triplet, semi-hard": partial(margin_triplet, margin=0.5, negatives="semi_hard"),
}


def _share(x: torch.Tensor) -> torch.Tensor:
    return x.chunk(2)[rank()] if dist.is_initialized() else x


def _loss_and_gradient(name: str, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Of one weight matrix that both views go through, as DDP averages it."""
    weight = torch.eye(5, dtype=torch.float64, requires_grad=True)
    loss = LOSSES[name](_share(x[0]) @ weight, _share(x[1]) @ weight)
    loss.backward()
    pair = loss.detach(), weight.grad.clone()
    if dist.is_initialized():
        for tensor in pair:
            dist.all_reduce(tensor)
            tensor /= 2
    return pair


@pytest.mark.parametrize("name", LOSSES)
def test_loss_and_gradient_on_two_ranks_are_those_of_the_whole_batch(name, two_ranks):
    x = torch.randn(2, 8, 5, dtype=torch.float64)
    expected = _loss_and_gradient(name, x)
    for pair in two_ranks(_loss_and_gradient, name, x):
        torch.testing.assert_close(pair, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("chunk_size", [1, 5, 14, 100])
def test_chunks_change_neither_value_nor_gradient(chunk_size):
    z1, z2 = torch.randn(2, 7, 5, dtype=torch.float64)
    answers = []
    for size in (None, chunk_size):
        a, b = z1.clone().requires_grad_(), z2.clone().requires_grad_()
        loss = nt_xent(a, b, 0.1, chunk_size=size)
        (3 * loss).backward()
        answers.append((loss.detach(), a.grad, b.grad))
    torch.testing.assert_close(answers[1], answers[0], rtol=1e-12, atol=1e-14)


class _LargestTensor(TorchDispatchMode):
    largest = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        sizes = [t.numel() for t in (result if isinstance(result, tuple | list) else [result]) if torch.is_tensor(t)]
        self.largest = max([self.largest, *sizes])
        return result


def test_memory_does_not_grow_with_the_square_of_the_batch():
    largest = []
    for images in (32, 64, 128):
        z = torch.randn(images, 4, requires_grad=True)
        with _LargestTensor() as watch:
            nt_xent(z, z.flip(0), 0.1, chunk_size=2).backward()
        largest.append(watch.largest)
    assert largest == [2 * images * 4 for images in (32, 64, 128)], "embeddings, or two rows of similarities"


def test_nothing_is_kept_for_a_backward_pass_that_cannot_come():
    z = torch.randn(4, 3, requires_grad=True)
    with torch.no_grad():
        assert not nt_xent(z, z.flip(0)).requires_grad
    assert not nt_xent(z.detach(), z.detach().flip(0)).requires_grad


@pytest.mark.parametrize("seed", range(3))
def test_semi_hard_nt_xent_is_a_loop_over_anchors(seed):
    z1, z2 = torch.randn(2, 6, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    z = [naive.unit(row) for row in [*z1, *z2]]
    terms = []
    for i in range(12):
        s = [float(naive.dot(z[i], z[k])) for k in range(12)]
        p = (i + 6) % 12
        farther = [s[k] for k in range(12) if k not in (i, p) and s[k] < s[p]]
        terms.append(math.log1p(math.exp((max(farther) - s[p]) / 0.2)) if farther else 0.0)
    assert any(term == 0 for term in terms) or seed
    assert nt_xent(z1, z2, 0.2, semi_hard=True).item() == pytest.approx(sum(terms) / 12, abs=1e-12)


def test_an_anchor_without_semi_hard_negative_has_no_gradient():
    # Both views of an image are opposite: nothing is farther than the positive.
    z = torch.tensor([[1.0, 0.0], [0.8, 0.6]], dtype=torch.float64)
    z1, z2 = z.clone().requires_grad_(), (-z).requires_grad_()
    loss = nt_xent(z1, z2, 0.2, semi_hard=True) + margin_triplet(z1, z2, 0.5, negatives="semi_hard")
    loss.backward()
    assert loss.item() == 0
    assert not z1.grad.any()


def test_a_single_image_has_no_negatives():
    z = torch.randn(1, 4)
    assert nt_xent(z, z).item() == pytest.approx(0, abs=1e-5)
    assert margin_triplet(z, z).item() == 0
    assert nt_logistic(z, z, 1.0).item() == pytest.approx(math.log1p(math.exp(-1)), abs=1e-6)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda z: nt_xent(z, z, chunk_size=0), "chunk_size=0"),
        (lambda z: nt_xent(z, z, chunk_size=2, semi_hard=True), "semi_hard=True"),
        (lambda z: nt_logistic(z, z, negatives="all"), "mean, sum, semi_hard"),
        (lambda z: margin_triplet(z, z, negatives="all"), "mean, sum, semi_hard"),
        (lambda z: margin_triplet(z, z[:2]), "margin_triplet takes z1 and z2 of one shape"),
    ],
)
def test_wrong_choices_are_named(call, words):
    with pytest.raises(UsageError, match=words):
        call(torch.randn(4, 3))


@pytest.mark.parametrize(
    ("shapes", "words"),
    [(((4, 8), (4, 7)), "one shape"), (((4, 8), (3, 8)), "one shape"), (((8,), (8,)), r"\(B, D\)")],
)
def test_wrong_shapes_are_named(shapes, words):
    with pytest.raises(UsageError, match=words):
        nt_xent(torch.ones(shapes[0]), torch.ones(shapes[1]))


def test_a_temperature_can_be_a_tensor_that_learns():
    temperature = torch.tensor(0.5, requires_grad=True)
    nt_xent(torch.randn(4, 3), torch.randn(4, 3), temperature).backward()
    assert temperature.grad.isfinite()


def test_matching_accuracy_counts_images_nearest_to_their_own_second_view():
    z1 = torch.randn(50, 3)
    z2 = z1 + 0.5 * torch.randn(50, 3)
    unit1, unit2 = F.normalize(z1.double()).tolist(), F.normalize(z2.double()).tolist()
    right = 0
    for i, a in enumerate(unit1):
        cosines = [sum(x * y for x, y in zip(a, b)) for b in unit2]
        right += cosines.index(max(cosines)) == i
    assert 5 < right < 50
    assert matching_accuracy(z1, z2).item() == pytest.approx(right / 50)


def test_matching_accuracy_against_a_queue():
    z1, z2 = torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([[0.9, 0.1], [0.5, 0.6]])
    assert matching_accuracy(z1, z2, torch.tensor([[0.1, 0.9]])).item() == 0.5


def test_collapsed_embeddings_match_nothing():
    assert matching_accuracy(torch.ones(9, 4), torch.ones(9, 4)).item() == 0


def test_matching_accuracy_does_not_change_under_autocast():
    z1 = torch.randn(500, 8)
    z2 = z1 + torch.randn(500, 8)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        under_autocast = matching_accuracy(z1, z2)
    assert under_autocast == matching_accuracy(z1, z2)
