"""Reference cases of the contrastive losses."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from sslbolts import losses
from tests.golden import naive_losses as naive
from tests.golden.reference import Case, Parameters, Tensors


def _nt_xent(i: Tensors, p: Parameters) -> dict[str, Tensor]:
    return {"loss": losses.nt_xent(i["z1"], i["z2"], p["tau"], normalize=p["normalize"])}


def _naive_nt_xent(i: Mapping[str, Any], p: Parameters) -> Tensor:
    return naive.nt_xent(i["z1"], i["z2"], p["tau"], p["normalize"])


def _ddp_simclr(i: Tensors, p: Parameters) -> dict[str, Tensor]:
    return {"loss": losses.nt_xent(i["x1"] @ i["W"], i["x2"] @ i["W"], 0.5)}


CASES: dict[str, Case] = {
    "nt_xent_tau0.1": Case(_nt_xent, "nt_xent", _naive_nt_xent),
    "nt_xent_tau0.5": Case(_nt_xent, "nt_xent", _naive_nt_xent),
    "nt_xent_no_norm_tau10": Case(_nt_xent, "nt_xent", _naive_nt_xent),
    "ddp_simclr": Case(_ddp_simclr, "nt_xent", world=2),
}
