"""Which call of the library each golden case stands for: inputs and parameters in, named outputs out.

``golden.npz`` holds ``<case>/in|out|grad/<name>``; ``golden_index.json`` each case's formula and parameters. A case is
in ``CASES``, or in ``NOT_YET`` with what will bring it. Both files and ``golden_arch.json`` are read from the directory
in ``SSLBOLTS_GOLDEN`` where that is set.
"""

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sslbolts import losses, optim, readouts
from sslbolts.callbacks.ema import EMATeacher
from tests.golden import naive_losses as naive

Tensors = Mapping[str, Tensor]
Parameters = Mapping[str, Any]


def golden_directory() -> Path:
    return Path(os.environ.get("SSLBOLTS_GOLDEN") or Path(__file__).parent)


@cache
def index() -> dict[str, Any]:
    cases: dict[str, Any] = json.loads((golden_directory() / "golden_index.json").read_text())["cases"]
    return cases


@cache
def architectures() -> dict[str, Any]:
    counts: dict[str, Any] = json.loads((golden_directory() / "golden_arch.json").read_text())
    return counts


@cache
def _arrays() -> dict[str, np.ndarray]:
    with np.load(golden_directory() / "golden.npz") as file:
        return dict(file)


def values(case: str, part: str, dtype: torch.dtype = torch.float64) -> dict[str, Tensor]:
    """The ``in``, ``out`` or ``grad`` tensors of a case by name; floating-point ones in ``dtype``."""
    prefix = f"{case}/{part}/"
    tensors = {
        key.removeprefix(prefix): torch.from_numpy(np.array(array))
        for key, array in _arrays().items()
        if key.startswith(prefix)
    }
    return {name: tensor.to(dtype) if tensor.is_floating_point() else tensor for name, tensor in tensors.items()}


def parameters(case: str) -> dict[str, Any]:
    given: dict[str, Any] = index()[case]["params"]
    return given


@dataclass(frozen=True)
class Case:
    """One golden case.

    Attributes:
        call: the library's answer, ``(inputs, parameters) -> outputs`` with the names of the golden outputs.
        covers: the public loss that it tests, if it is one.
        naive: the same loss as a loop over numbers, on nested lists; it must give the golden value too.
        world: how many ranks share the rows of ``x1`` and ``x2``; their losses and gradients are averaged.
    """

    call: Callable[[Tensors, Parameters], dict[str, Tensor]]
    covers: str | None = None
    naive: Callable[[Mapping[str, Any], Parameters], Tensor] | None = None
    world: int = 1


def _nt_xent(i: Tensors, p: Parameters) -> dict[str, Tensor]:
    return {"loss": losses.nt_xent(i["z1"], i["z2"], p["tau"], normalize=p["normalize"])}


def _naive_nt_xent(i: Mapping[str, Any], p: Parameters) -> Tensor:
    return naive.nt_xent(i["z1"], i["z2"], p["tau"], p["normalize"])


def _byol(i: Tensors, p: Parameters) -> dict[str, Tensor]:
    return {"loss": losses.byol_regression(i["p1"], i["t2"]) + losses.byol_regression(i["p2"], i["t1"])}


def _simsiam(i: Tensors, p: Parameters) -> dict[str, Tensor]:
    return {"loss": (losses.negative_cosine(i["p1"], i["z2"]) + losses.negative_cosine(i["p2"], i["z1"])) / 2}


def _ddp_simclr(i: Tensors, p: Parameters) -> dict[str, Tensor]:
    return {"loss": losses.nt_xent(i["x1"] @ i["W"], i["x2"] @ i["W"], 0.5)}


def _knn(i: Tensors, p: Parameters) -> dict[str, Tensor]:
    votes = readouts.knn_predict(
        i["test"], i["train"], i["train_labels"], k=p["k"], temperature=p["T"], num_classes=p["classes"]
    )
    return {"votes": votes, "pred": votes.argmax(1)}


def _collapse(i: Tensors, p: Parameters) -> dict[str, Tensor]:
    isotropic = torch.tensor(i["z"].shape[1] ** -0.5, dtype=i["z"].dtype)
    return {"feat_std": readouts.normalized_std(i["z"]), "rankme": readouts.rankme(i["z"]), "isotropic": isotropic}


def _lars(i: Tensors, p: Parameters, *, lr_in_momentum: bool) -> dict[str, Tensor]:
    w, b = i["w"].clone().requires_grad_(), i["b"].clone().requires_grad_()
    optimizer = optim.LARS(
        [w, b],
        lr=0.0,
        momentum=p["momentum"],
        weight_decay=p["weight_decay"],
        trust_coefficient=p["eta"],
        lr_in_momentum=lr_in_momentum,
    )
    for gw, gb, lr in zip(i["gw"], i["gb"], i["lr"].tolist()):
        w.grad, b.grad = gw.clone(), gb.clone()
        optimizer.param_groups[0]["lr"] = lr
        optimizer.step()
    return {"w": w.detach(), "b": b.detach()}


def _ema(i: Tensors, p: Parameters) -> dict[str, Tensor]:
    teacher = EMATeacher(p["base"])
    tau = [teacher.momentum_at(step=step, total=p["T"]) for step in range(p["T"] + 1)]
    return {"tau": torch.tensor(tau, dtype=torch.float64)}


def _lr(steps: int, peak: float, p: Parameters, floor: float) -> dict[str, Tensor]:
    factors = [optim.warmup_cosine(step, total=p["T"], warmup=p["W"], floor=floor) for step in range(steps)]
    return {"lr": peak * torch.tensor(factors, dtype=torch.float64)}


CASES: dict[str, Case] = {
    "nt_xent_tau0.1": Case(_nt_xent, "nt_xent", _naive_nt_xent),
    "nt_xent_tau0.5": Case(_nt_xent, "nt_xent", _naive_nt_xent),
    "nt_xent_no_norm_tau10": Case(_nt_xent, "nt_xent", _naive_nt_xent),
    "byol": Case(_byol, "byol_regression", lambda i, p: naive.byol_loss(i["p1"], i["p2"], i["t1"], i["t2"])),
    "simsiam": Case(_simsiam, "negative_cosine", lambda i, p: naive.simsiam_loss(i["p1"], i["p2"], i["z1"], i["z2"])),
    "ddp_simclr": Case(_ddp_simclr, "nt_xent", world=2),
    "knn_weighted": Case(_knn),
    "collapse_diagnostics": Case(_collapse),
    "lars_fb": Case(lambda i, p: _lars(i, p, lr_in_momentum=False)),
    "lars_simclr": Case(lambda i, p: _lars(i, p, lr_in_momentum=True)),
    "ema_cosine": Case(_ema),
    "lr_warmup_cosine": Case(lambda i, p: _lr(p["T"] + 1, p["base"] * p["batch"] / 256, p, floor=0.0)),
    "lr_warmup_cosine_floor": Case(lambda i, p: _lr(p["T"], p["peak"], p, floor=0.001)),
}

NOT_YET: dict[str, str] = {
    **dict.fromkeys(("table2_nt_xent_grad_u", "moco_v1v2"), "MoCo (info_nce)"),
    **dict.fromkeys(("nt_logistic_mean", "nt_logistic_sum", "nt_logistic_semihard"), "nt_logistic"),
    **dict.fromkeys(("margin_triplet_cos_all", "margin_triplet_cos_semihard"), "margin_triplet"),
    **dict.fromkeys(("triplet_sq_euclid", "triplet_euclid", "video_triplet_cos"), "triplet"),
    **dict.fromkeys(("pairwise_contrastive_seed", "pairwise_contrastive_hadsell"), "pairwise_contrastive"),
    **dict.fromkeys(("triplet_semihard_m1.0", "triplet_semihard_m0.2", "exemplar_kolesnikov_axis0"), "Exemplar"),
    **dict.fromkeys(("tcn_singleview", "tcn_singleview_multiseq"), "time-contrastive networks"),
    **dict.fromkeys(("moco_v3", "ddp_mocov3"), "MoCo v3"),
    **dict.fromkeys(("npid_nce", "npid_full_softmax"), "instance discrimination"),
    **dict.fromkeys(("cpc_row_offset1", "cpc_row_offset3"), "CPC"),
    "amdim_g2l": "AMDIM",
    **dict.fromkeys(("barlow_twins", "ddp_barlow"), "Barlow Twins"),
    **dict.fromkeys(("vicreg_official", "vicreg_algorithm1", "vicreg_eq", "ddp_vicreg"), "VICReg"),
    **dict.fromkeys(("wmse_2views", "wmse_3views"), "W-MSE"),
    **dict.fromkeys(("swav_sinkhorn", "swav_multicrop", "swav_multicrop_queue", "ddp_sinkhorn", "larc_apex"), "SwAV"),
    **dict.fromkeys(("deepcluster_v2_kmeans", "deepcluster_v2_loss"), "DeepCluster-v2"),
    **dict.fromkeys(("dino_step0", "dino_step1", "dino_attention_threshold", "clip_per_parameter"), "DINO"),
    **dict.fromkeys(("obow_targets", "obow_loss_kl", "bownet"), "bags of visual words"),
    **dict.fromkeys(("mae_pixel", "mae_normpix", "sincos_pos_embed_2d"), "MAE"),
    "rotnet_rotation": "RotNet",
    "relative_patch_labels": "relative patch position",
    "jigsaw_maxhamming": "Jigsaw",
    **dict.fromkeys(("colorization_soft_encode", "rgb2lab", "colorization_rebalanced_ce"), "colorization"),
    **dict.fromkeys(("counting", "counting_elementwise"), "counting"),
    **dict.fromkeys(("bigan_discriminator", "bigan_generator_encoder"), "BiGAN"),
    "context_encoder_l2": "context encoder",
    **dict.fromkeys(("denoising_autoencoder_mse", "denoising_autoencoder_bce"), "denoising autoencoder"),
    "semi_supervised_joint": "joint semi-supervised training",
}
"""Golden case -> the method or loss that will bring it."""
