"""Reference cases of the contrastive losses."""

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from sslbolts import losses
from sslbolts.methods.contrastive.instance_discrimination import InstanceBank
from sslbolts.training.memory import FeatureQueue
from tests.golden import naive_losses as naive
from tests.golden.reference import Case, Parameters, Tensors


def _nt_xent(i: Tensors, p: Parameters) -> dict[str, Tensor]:
    return {"loss": losses.nt_xent(i["z1"], i["z2"], p["tau"], normalize=p["normalize"])}


def _naive_nt_xent(i: Mapping[str, Any], p: Parameters) -> Tensor:
    return naive.nt_xent(i["z1"], i["z2"], p["tau"], p["normalize"])


def _ddp_simclr(i: Tensors, p: Parameters) -> dict[str, Tensor]:
    return {"loss": losses.nt_xent(i["x1"] @ i["W"], i["x2"] @ i["W"], 0.5)}


def _table2(i: Tensors, p: Parameters) -> dict[str, Tensor]:
    loss = losses.info_nce(i["u"][None], i["v_pos"][None], i["v_neg"], p["tau"], normalize=False)
    return {"loss": loss}


def _mode(p: Parameters) -> Any:
    return {"all": "mean", "semihard": "semi_hard"}.get(p["mode"], p["mode"])


def _nt_logistic(i: Tensors, p: Parameters) -> dict[str, Tensor]:
    return {"loss": losses.nt_logistic(i["z1"], i["z2"], p["tau"], negatives=_mode(p))}


def _naive_nt_logistic(i: Mapping[str, Any], p: Parameters) -> Tensor:
    return naive.nt_logistic(i["z1"], i["z2"], p["tau"], p["mode"])


def _margin_triplet(i: Tensors, p: Parameters) -> dict[str, Tensor]:
    return {"loss": losses.margin_triplet(i["z1"], i["z2"], p["margin"], negatives=_mode(p))}


def _naive_margin_triplet(i: Mapping[str, Any], p: Parameters) -> Tensor:
    return naive.margin_triplet_cos(i["z1"], i["z2"], p["margin"], p["mode"])


def _triplet(distance: Any) -> Case:
    def call(i: Tensors, p: Parameters) -> dict[str, Tensor]:
        return {"loss": losses.triplet(i["anchor"], i["positive"], i["negative"], p["margin"], distance=distance)}

    def far(a: Any, b: Any) -> Any:
        if distance == "cosine":
            return 1 - naive.cos(a, b)
        return naive.sq(a, b) if distance == "squared" else naive.sq(a, b) ** 0.5

    def loop(i: Mapping[str, Any], p: Parameters) -> Tensor:
        triples = list(zip(i["anchor"], i["positive"], i["negative"]))
        terms = [naive.relu(far(a, b) - far(a, c) + p["margin"]) for a, b, c in triples]
        return sum(terms, torch.zeros(())) / len(terms)

    return Case(call, "triplet", loop)


def _semi_hard_triplet(i: Tensors, p: Parameters) -> dict[str, Tensor]:
    z = F.normalize(i["emb"], dim=p["normalize_axis"]) if "normalize_axis" in p else i["emb"]
    return {"loss": losses.semi_hard_triplet(z, i["labels"], p["margin"])}


def _exemplars(i: Tensors, p: Parameters) -> dict[str, Tensor]:
    z = F.normalize(i["z"], dim=1)
    if "margin" in p:
        return {"loss": losses.semi_hard_triplet(z, i["labels"], p["margin"])}
    return {"loss": losses.batch_hard_triplet(z, i["labels"])}


def _pairwise(i: Tensors, p: Parameters, *, squared: bool) -> dict[str, Tensor]:
    return {"loss": losses.pairwise_contrastive(i["z1"], i["z2"], i["y"], p["margin"], squared=squared)}


def _moco(i: Tensors, p: Parameters) -> dict[str, Tensor]:
    queue = FeatureQueue(*i["queue"].shape)
    queue.rows = i["queue"].clone()
    loss = losses.info_nce(i["q"], i["k"], queue.rows.clone(), p["tau"])
    queue.stage(F.normalize(i["k"], dim=1))
    queue.commit()
    return {"loss": loss, "queue_after": queue.rows, "ptr_after": queue.pointer}


def _naive_moco(i: Mapping[str, Any], p: Parameters) -> Tensor:
    return naive.moco_loss(i["q"], i["k"], i["queue"], p["tau"])


def _moco_v3(i: Tensors, p: Parameters) -> dict[str, Tensor]:
    first = losses.moco_v3_contrastive(i["q1"], i["k2"], p["tau"])
    return {"loss": first + losses.moco_v3_contrastive(i["q2"], i["k1"], p["tau"])}


def _naive_moco_v3(i: Mapping[str, Any], p: Parameters) -> Tensor:
    return naive.mocov3_loss(i["q1"], i["q2"], i["k1"], i["k2"], p["tau"])


def _ddp_moco_v3(i: Tensors, p: Parameters) -> dict[str, Tensor]:
    z1, z2 = i["x1"] @ i["W"], i["x2"] @ i["W"]
    return {"loss": losses.moco_v3_contrastive(z1, z2, 0.2) + losses.moco_v3_contrastive(z2, z1, 0.2)}


def _bank(i: Tensors, p: Parameters) -> InstanceBank:
    bank = InstanceBank(*i["memory"].shape, momentum=p["momentum"])
    bank.rows = i["memory"].clone()
    bank.normalizer = bank.normalizer.to(i["x"].dtype)
    return bank


def _npid_nce(i: Tensors, p: Parameters) -> dict[str, Tensor]:
    bank = _bank(i, p)
    entries = bank.rows[i["idx"]]
    z, own = bank.normalizer_of(i["x"], entries, temperature=p["T"])
    loss = losses.instance_nce(i["x"], entries, temperature=p["T"], normalizer=z, num_images=p["n_data"])
    bank.stage(i["x"], i["y"], own)
    bank.commit()
    torch.testing.assert_close(bank.normalizer, z)
    return {"loss": loss, "Z": z, "memory_after": bank.rows}


def _npid_full(i: Tensors, p: Parameters) -> dict[str, Tensor]:
    bank = _bank(i, p)
    loss = losses.instance_softmax(i["x"], bank.rows.clone(), i["y"], temperature=p["T"])
    bank.stage(i["x"], i["y"])
    bank.commit()
    return {"loss": loss, "memory_after": bank.rows}


CASES: dict[str, Case] = {
    "nt_xent_tau0.1": Case(_nt_xent, "nt_xent", _naive_nt_xent),
    "nt_xent_tau0.5": Case(_nt_xent, "nt_xent", _naive_nt_xent),
    "nt_xent_no_norm_tau10": Case(_nt_xent, "nt_xent", _naive_nt_xent),
    "ddp_simclr": Case(_ddp_simclr, "nt_xent", world=2),
    "table2_nt_xent_grad_u": Case(_table2, "info_nce"),
    "nt_logistic_mean": Case(_nt_logistic, "nt_logistic", _naive_nt_logistic),
    "nt_logistic_sum": Case(_nt_logistic, "nt_logistic", _naive_nt_logistic),
    "nt_logistic_semihard": Case(_nt_logistic, "nt_logistic", _naive_nt_logistic),
    "margin_triplet_cos_all": Case(_margin_triplet, "margin_triplet", _naive_margin_triplet),
    "margin_triplet_cos_semihard": Case(_margin_triplet, "margin_triplet", _naive_margin_triplet),
    "triplet_sq_euclid": _triplet("squared"),
    "triplet_euclid": _triplet("euclidean"),
    "video_triplet_cos": _triplet("cosine"),
    "triplet_semihard_m1.0": Case(_semi_hard_triplet, "semi_hard_triplet"),
    "triplet_semihard_m0.2": Case(_semi_hard_triplet, "semi_hard_triplet"),
    "exemplar_kolesnikov_axis0": Case(_semi_hard_triplet, "semi_hard_triplet"),
    "exemplar_semi_hard_per_sample": Case(_exemplars, "semi_hard_triplet"),
    "exemplar_batch_hard_soft": Case(_exemplars, "batch_hard_triplet"),
    "pairwise_contrastive_seed": Case(lambda i, p: _pairwise(i, p, squared=False), "pairwise_contrastive"),
    "pairwise_contrastive_hadsell": Case(lambda i, p: _pairwise(i, p, squared=True), "pairwise_contrastive"),
    "moco_v1v2": Case(_moco, "info_nce", _naive_moco),
    "moco_v3": Case(_moco_v3, "moco_v3_contrastive", _naive_moco_v3),
    "ddp_mocov3": Case(_ddp_moco_v3, "moco_v3_contrastive", world=2),
    "npid_nce": Case(_npid_nce, "instance_nce"),
    "npid_full_softmax": Case(_npid_full, "instance_softmax"),
}
