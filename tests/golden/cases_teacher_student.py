"""Reference cases of the methods with a teacher."""

from torch import Tensor

from sslbolts import losses
from tests.golden import naive_losses as naive
from tests.golden.reference import Case, Parameters, Tensors


def _byol(i: Tensors, p: Parameters) -> dict[str, Tensor]:
    return {"loss": losses.byol_regression(i["p1"], i["t2"]) + losses.byol_regression(i["p2"], i["t1"])}


def _simsiam(i: Tensors, p: Parameters) -> dict[str, Tensor]:
    return {"loss": (losses.negative_cosine(i["p1"], i["z2"]) + losses.negative_cosine(i["p2"], i["z1"])) / 2}


CASES: dict[str, Case] = {
    "byol": Case(_byol, "byol_regression", lambda i, p: naive.byol_loss(i["p1"], i["p2"], i["t1"], i["t2"])),
    "simsiam": Case(_simsiam, "negative_cosine", lambda i, p: naive.simsiam_loss(i["p1"], i["p2"], i["z1"], i["z2"])),
}
