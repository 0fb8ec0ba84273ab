"""Reference cases of the decorrelating losses."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from sslbolts import losses
from tests.golden import naive_losses as naive
from tests.golden.reference import Case, Parameters, Tensors

_SCALINGS = {"official": "code", "algorithm1": "listing", "eq": "equation"}


def _barlow(i: Tensors, p: Parameters) -> dict[str, Tensor]:
    return {"loss": losses.barlow_twins(i["z1"], i["z2"], p["lambd"], eps=p["bn_eps"])}


def _naive_barlow(i: Mapping[str, Any], p: Parameters) -> Tensor:
    return naive.barlow(i["z1"], i["z2"], p["lambd"], p["bn_eps"])


def _ddp_barlow(i: Tensors, p: Parameters) -> dict[str, Tensor]:
    # The reference is one process' loss and gradient; the official code's gradient on two ranks is half of it.
    return {"loss": losses.barlow_twins(i["x1"] @ i["W"], i["x2"] @ i["W"], 0.0051, normalize=False)}


def _vicreg(i: Tensors, p: Parameters) -> dict[str, Tensor]:
    weights = {"invariance": p["sim"], "variance": p["std"], "covariance": p["cov"], "eps": p["eps"]}
    return {"loss": losses.vicreg(i["x"], i["y"], scaling=_SCALINGS[p["variant"]], **weights)}


def _naive_vicreg(i: Mapping[str, Any], p: Parameters) -> Tensor:
    return naive.vicreg(i["x"], i["y"], p["sim"], p["std"], p["cov"], p["eps"], p["variant"])


def _ddp_vicreg(i: Tensors, p: Parameters) -> dict[str, Tensor]:
    return {"loss": losses.vicreg(i["x1"] @ i["W"], i["x2"] @ i["W"])}


def _wmse(i: Tensors, p: Parameters) -> dict[str, Tensor]:
    views = [i[name] for name in sorted(i) if name != "perms"]
    return {"loss": losses.w_mse(views, i["perms"], group_size=p["w_size"], eps=p["eps"])}


CASES: dict[str, Case] = {
    "barlow_twins": Case(_barlow, "barlow_twins", _naive_barlow),
    "ddp_barlow": Case(_ddp_barlow, "barlow_twins", world=2),
    "vicreg_official": Case(_vicreg, "vicreg", _naive_vicreg),
    "vicreg_algorithm1": Case(_vicreg, "vicreg", _naive_vicreg),
    "vicreg_eq": Case(_vicreg, "vicreg", _naive_vicreg),
    "ddp_vicreg": Case(_ddp_vicreg, "vicreg", world=2),
    "wmse_2views": Case(_wmse, "w_mse"),
    "wmse_3views": Case(_wmse, "w_mse"),
}
