"""Properties of clustering losses beyond their reference values (tests/golden)."""

import math
from typing import Any

import pytest
import torch
from torch.overrides import TorchFunctionMode

from sslbolts import UsageError
from sslbolts.distributed import rank
from sslbolts.losses import deepcluster_v2, sinkhorn, swapped_prediction
from tests.golden import naive_losses as naive


@pytest.mark.parametrize(("rows", "prototypes"), [(5, 3), (4, 9), (1, 2)])
def test_codes_equal_the_loops(rows, prototypes):
    scores = torch.randn(rows, prototypes, dtype=torch.float64)
    expected = torch.tensor(naive.sinkhorn(scores.tolist(), 0.5, 4), dtype=torch.float64)
    torch.testing.assert_close(sinkhorn(scores, epsilon=0.5, iterations=4), expected)


def test_codes_use_all_prototypes_alike_and_sum_to_one():
    codes = sinkhorn(torch.randn(64, 8), epsilon=0.5, iterations=200)
    torch.testing.assert_close(codes.sum(1), torch.ones(64))
    torch.testing.assert_close(codes.sum(0), torch.full((8,), 8.0), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_scores_do_not_overflow(dtype):
    scores = torch.rand(16, 5).to(dtype)  # exp(1 / 0.05) is 5e8
    with torch.autocast("cpu", torch.bfloat16):
        codes = sinkhorn(scores)
    assert codes.dtype == torch.float32
    torch.testing.assert_close(codes.double(), sinkhorn(scores.double()), rtol=1e-4, atol=1e-5)


def test_scores_far_apart_stay_finite():
    scores = torch.tensor([[30.0, -30.0, 0.0], [30.0, -30.0, 0.0]])
    assert sinkhorn(scores).isfinite().all()


def test_codes_of_a_row_far_from_all_prototypes_are_those_in_float64():
    scores = torch.tensor([[0.9, 0.1, -0.2], [0.3, 0.8, 0.1], [-0.2, 0.1, 0.95], [-0.99, -0.95, -0.9]])
    expected = torch.tensor(naive.sinkhorn(scores.tolist(), 0.02, 3))  # of the last row: exp(-92) and less
    torch.testing.assert_close(sinkhorn(scores, epsilon=0.02), expected, rtol=1e-4, atol=1e-5)


def _codes_on_rank(scores: torch.Tensor) -> torch.Tensor:
    return sinkhorn(scores[:5] if rank() == 0 else scores[5:])


def test_ranks_with_different_numbers_of_rows_have_the_codes_of_one_process(two_ranks):
    scores = torch.randn(8, 4, dtype=torch.float64)
    torch.testing.assert_close(torch.cat(two_ranks(_codes_on_rank, scores)), sinkhorn(scores))


class _NoCopies(TorchFunctionMode):
    """Fails where a number of the host becomes a tensor: on a GPU it is copied, and the host waits for that."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        assert getattr(func, "__name__", "") not in ("new_tensor", "tensor", "as_tensor")
        return func(*args, **(kwargs or {}))


def test_codes_copy_no_number_to_the_device():
    with _NoCopies():
        sinkhorn(torch.randn(4, 3))


def test_uniform_scores_have_the_loss_of_guessing():
    scores = [torch.zeros(6, 30, dtype=torch.float64)] * 3
    loss = swapped_prediction(scores, [sinkhorn(score) for score in scores[:2]])
    assert loss.item() == pytest.approx(math.log(30))


def test_no_gradient_flows_into_the_codes():
    scores = [torch.randn(4, 3, requires_grad=True) for _ in range(2)]
    swapped_prediction(scores, [scores[0].softmax(1)]).backward()
    assert scores[0].grad is None
    assert scores[1].grad is not None


def test_images_without_a_cluster_count_for_nothing():
    scores, targets = torch.randn(6, 4), torch.tensor([[1, -100, 3, -100, 0, -100]])
    known = torch.tensor([0, 2, 4])
    expected = torch.nn.functional.cross_entropy(scores[known] / 0.2, targets[0, known])
    torch.testing.assert_close(deepcluster_v2([scores], targets, temperature=0.2), expected)
    none = torch.full_like(targets, -100)
    assert deepcluster_v2([scores.requires_grad_()], none).item() == 0


def test_every_crop_has_the_cluster_of_its_image_and_heads_are_averaged():
    heads, targets = torch.randn(2, 9, 4), torch.tensor([[0, 1, 2], [3, 3, 1]])
    rows = []
    for head, target in zip(heads, targets):
        rows += [torch.nn.functional.cross_entropy(head[r] / 0.1, target[r % 3]) for r in range(9)]
    torch.testing.assert_close(deepcluster_v2(list(heads), targets), torch.stack(rows).mean())


def _loss_on_rank(scores: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    mine = slice(0, 4) if rank() == 0 else slice(4, 8)
    return deepcluster_v2([scores[mine]], targets[:, mine])


def test_mean_over_ranks_is_the_loss_of_the_whole_batch_however_unknowns_fall(two_ranks):
    scores, targets = torch.randn(8, 4), torch.tensor([[-100, -100, -100, 1, 0, 2, 3, -100]])
    both = two_ranks(_loss_on_rank, scores, targets)
    torch.testing.assert_close(sum(both) / 2, deepcluster_v2([scores], targets))


def test_wrong_arguments_are_named():
    scores = torch.randn(4, 3)
    with pytest.raises(UsageError, match=r"shape \(B, K\)"):
        sinkhorn(scores[0])
    with pytest.raises(UsageError, match="two views or more"):
        swapped_prediction([scores], [scores])
    with pytest.raises(UsageError, match="one shape"):
        swapped_prediction([scores, scores[:2]], [scores])
    with pytest.raises(UsageError, match="one row per head"):
        deepcluster_v2([scores], torch.zeros(2, 4, dtype=torch.int64))
