"""Reference cases of counting."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from sslbolts import losses
from tests.golden.reference import Case, Parameters, Tensors


def _counting(i: Tensors, p: Parameters) -> dict[str, Tensor]:
    return {"loss": losses.counting(i["phi_dx"], i["phi_tiles"], i["phi_dy"], p["M"])}


def _per_unit(i: Tensors, p: Parameters) -> dict[str, Tensor]:
    return {"loss": losses.counting(i["phi_dx"], i["phi_tiles"], i["phi_dy"], p["M"], per_unit=True)}


def _naive(i: Mapping[str, Any], p: Parameters) -> Tensor:
    total = torch.tensor(0.0, dtype=torch.float64)
    for dx, tiles, dy in zip(i["phi_dx"], i["phi_tiles"], i["phi_dy"]):
        sums = [sum(column) for column in zip(*tiles)]
        same = sum((a - b) ** 2 for a, b in zip(dx, sums))
        other = sum((a - b) ** 2 for a, b in zip(dy, sums))
        total = total + same + (p["M"] - other if float(other) < p["M"] else 0 * other)
    return total / len(i["phi_dx"])


CASES: Mapping[str, Case] = {
    "counting": Case(_counting, "counting", _naive),
    "counting_margin_10": Case(_counting, "counting", _naive),
    "counting_margin_3": Case(_counting, "counting", _naive),
    "counting_elementwise": Case(_per_unit, "counting"),
}
