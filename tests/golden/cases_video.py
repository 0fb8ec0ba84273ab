"""Reference cases of losses on frames of videos; those of the official code are the single-view ones."""

from collections.abc import Mapping

from torch import Tensor

from sslbolts import losses
from tests.golden.reference import Case, Parameters, Tensors


def _single_view(i: Tensors, p: Parameters) -> dict[str, Tensor]:
    radii = {"positive_radius": p["pos_radius"], "negative_radius": p["neg_radius"]}
    loss = losses.time_contrastive(i["emb"], i["timestep"], i.get("sequence"), margin=p["margin"], **radii)
    return {"loss": loss}


def _n_pairs(i: Tensors, p: Parameters) -> dict[str, Tensor]:
    without = losses.n_pairs(i["anchor"], i["positive"], regularization=0.0)
    return {"loss": losses.n_pairs(i["anchor"], i["positive"], p["reg"]), "without_reg": without}


CASES: Mapping[str, Case] = {
    "tcn_singleview": Case(_single_view, "time_contrastive"),
    "tcn_singleview_multiseq": Case(_single_view, "time_contrastive"),
    "tcn_npairs": Case(_n_pairs, "n_pairs"),
}
