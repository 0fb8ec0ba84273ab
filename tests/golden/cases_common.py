"""Reference cases of what methods share: readouts, optimizers, schedules."""

import torch
from torch import Tensor

from sslbolts import optim, readouts
from sslbolts.callbacks.ema import EMATeacher
from tests.golden.reference import Case, Parameters, Tensors


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
    "knn_weighted": Case(_knn),
    "collapse_diagnostics": Case(_collapse),
    "lars_fb": Case(lambda i, p: _lars(i, p, lr_in_momentum=False)),
    "lars_simclr": Case(lambda i, p: _lars(i, p, lr_in_momentum=True)),
    "ema_cosine": Case(_ema),
    "lr_warmup_cosine": Case(lambda i, p: _lr(p["T"] + 1, p["base"] * p["batch"] / 256, p, floor=0.0)),
    "lr_warmup_cosine_floor": Case(lambda i, p: _lr(p["T"], p["peak"], p, floor=0.001)),
}
