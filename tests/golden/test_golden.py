"""The library against reference values: float64 to 1e-9 (gradients 1e-8), float32 to 1e-5."""

from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor

from sslbolts import losses
from sslbolts.distributed import rank, world_size
from tests.golden import naive_losses as naive
from tests.golden.cases import CASES
from tests.golden.reference import index, parameters, values

PRESENT = [case for case in CASES if case in index()]
LOSSES = [case for case in PRESENT if CASES[case].naive]
TOLERANCE = {torch.float64: (1e-9, 1e-8), torch.float32: (1e-5, 1e-5)}  # of outputs and of gradients


def _run(case: str, dtype: torch.dtype) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Outputs and input gradients of one case; on several ranks each takes its share of the rows, and they average."""
    inputs = values(case, "in", dtype)
    if world_size() > 1:
        for name in inputs.keys() & {"x1", "x2"}:  # a case without them takes its share itself
            inputs[name] = inputs[name].chunk(world_size())[rank()]
    differentiated = {name: inputs[name].requires_grad_() for name in values(case, "grad")}
    outputs = CASES[case].call(inputs, parameters(case))
    if differentiated:
        outputs["loss"].backward()
    outputs = {name: output.detach() for name, output in outputs.items()}
    gradients: dict[str, Any] = {name: tensor.grad for name, tensor in differentiated.items()}
    if world_size() > 1:
        for tensor in (*outputs.values(), *gradients.values()):
            dist.all_reduce(tensor)
            tensor /= world_size()
    return outputs, gradients


DTYPES = pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])


@DTYPES
@pytest.mark.parametrize("case", [case for case in PRESENT if CASES[case].world == 1])
def test_output_and_gradient_equal_the_reference(case, dtype):
    if CASES[case].exact and dtype != torch.float64:
        pytest.skip("a case for float64 alone")
    _equals_the_reference(case, dtype, *_run(case, dtype))


@DTYPES
@pytest.mark.parametrize("case", [case for case in PRESENT if CASES[case].world > 1])
def test_output_and_gradient_on_two_ranks_equal_the_reference(case, dtype, two_ranks):
    for outputs, gradients in two_ranks(_run, case, dtype):
        _equals_the_reference(case, dtype, outputs, gradients)


def _equals_the_reference(
    case: str, dtype: torch.dtype, outputs: dict[str, Tensor], gradients: dict[str, Tensor]
) -> None:
    expected, expected_gradients = values(case, "out", dtype), values(case, "grad", dtype)
    output_tolerance, gradient_tolerance = TOLERANCE[dtype]
    assert outputs.keys() == expected.keys()
    for name, output in outputs.items():
        tolerance = output_tolerance if output.is_floating_point() else 0
        torch.testing.assert_close(
            output,
            expected[name],
            rtol=tolerance,
            atol=tolerance,
            check_dtype=name == "loss",
        )
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, expected_gradients[name], rtol=gradient_tolerance, atol=gradient_tolerance)


def _naive(case: str, inputs: dict[str, Tensor]) -> Tensor:
    loop = CASES[case].naive
    assert loop is not None
    return loop({name: naive.L2(tensor) for name, tensor in inputs.items()}, parameters(case))


@pytest.mark.parametrize("case", LOSSES)
def test_the_naive_loop_gives_the_reference_too(case):
    inputs = {name: tensor.requires_grad_() for name, tensor in values(case, "in").items()}
    loss = _naive(case, inputs)
    loss.backward()
    torch.testing.assert_close(loss.detach(), values(case, "out")["loss"], rtol=1e-9, atol=1e-9)
    for name, gradient in values(case, "grad").items():
        torch.testing.assert_close(inputs[name].grad, gradient, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("case", LOSSES)
def test_fresh_inputs_of_other_sizes_equal_the_naive_loop(case, seed):
    generator = torch.Generator().manual_seed(seed)
    shapes = {name: (len(tensor) + 1 + seed, *tensor.shape[1:]) for name, tensor in values(case, "in").items()}
    inputs = {name: torch.randn(shape, generator=generator, dtype=torch.float64) for name, shape in shapes.items()}
    ours = {name: tensor.clone().requires_grad_() for name, tensor in inputs.items()}
    theirs = {name: tensor.clone().requires_grad_() for name, tensor in inputs.items()}
    loss, expected = CASES[case].call(ours, parameters(case))["loss"], _naive(case, theirs)
    loss.backward()
    expected.backward()
    torch.testing.assert_close(loss, expected, rtol=1e-9, atol=1e-9)
    for name in values(case, "grad"):
        torch.testing.assert_close(ours[name].grad, theirs[name].grad, rtol=1e-8, atol=1e-8)


def test_every_reference_case_is_covered():
    assert set(index()) <= set(CASES), "give these an entry in CASES"


def test_every_public_loss_has_a_reference_case():
    indicators = {"matching_accuracy"}  # not losses
    # tests/losses/test_consistency.py, test_semi_supervised.py and test_time_contrast.py
    in_loops = {"consistency", "labeled_cross_entropy", "prediction_entropy", "pair_triplet"}
    assert set(losses.__all__) - indicators - in_loops == {case.covers for case in CASES.values() if case.covers}
