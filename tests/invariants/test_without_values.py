"""The GPU that there is not shows the faults that it is for."""

from dataclasses import replace

import pytest
import torch
from torch._subclasses.fake_tensor import DataDependentOutputException

from sslbolts import SimCLR
from tests.invariants.cases import case_of
from tests.invariants.without_values import step_runs_without_values

pytestmark = pytest.mark.skipif(
    torch.__version__.startswith("2.6."), reason="torch 2.6 asks a driver for fake CUDA tensors too"
)


class _Reads(SimCLR):
    def training_step(self, batch, batch_idx):
        loss = super().training_step(batch, batch_idx)
        return loss * 2 if loss > 1 else loss


class _Keeps(SimCLR):
    def __init__(self, *args, **settings):
        super().__init__(*args, **settings)
        self.weights = torch.ones(8)  # no buffer, so that it stays where it is

    def training_step(self, batch, batch_idx):
        return super().training_step(batch, batch_idx) + 0 * (self.weights * batch.indices).sum()


@pytest.mark.parametrize(
    ("method", "error", "words"),
    [
        (_Reads, DataDependentOutputException, "_local_scalar_dense"),
        (_Keeps, RuntimeError, "on the same device"),
    ],
)
def test_a_step_that_reads_a_value_or_mixes_devices_fails(method, error, words):
    case = case_of("SimCLR")
    with pytest.raises(error, match=words):
        step_runs_without_values(replace(case, method=method))
