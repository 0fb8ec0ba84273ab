"""Reference cases of CPC and AMDIM."""

from sslbolts import losses
from tests.golden import naive_losses as naive
from tests.golden.reference import Case, Parameters, Tensors


def _cpc(i: Tensors, p: Parameters) -> dict:
    return {"loss": losses.cpc(i["pred"], i["target"], p["offset"], scale=p["emb_scale"])}


def _amdim(i: Tensors, p: Parameters) -> dict:
    return {"loss": losses.amdim(i["src"], i["trg"], clip=p["tclip"])}


_CPC = Case(_cpc, "cpc", lambda i, p: naive.cpc_rows(i["pred"], i["target"], p["offset"], p["emb_scale"]))

CASES: dict[str, Case] = {
    "cpc_row_offset1": _CPC,
    "cpc_row_offset3": _CPC,
    "amdim_g2l": Case(_amdim, "amdim", lambda i, p: sum(naive.amdim_g2l(i["src"], i["trg"], p["tclip"]))),
}
