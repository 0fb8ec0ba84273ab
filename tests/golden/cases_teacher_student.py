"""Reference cases of the methods with a teacher."""

import torch
from torch import Tensor

from sslbolts import losses, optim, readouts
from sslbolts.methods.teacher_student.dino import Center
from tests.golden import naive_losses as naive
from tests.golden.reference import Case, Parameters, Tensors


def _byol(i: Tensors, p: Parameters) -> dict[str, Tensor]:
    return {"loss": losses.byol_regression(i["p1"], i["t2"]) + losses.byol_regression(i["p2"], i["t1"])}


def _simsiam(i: Tensors, p: Parameters) -> dict[str, Tensor]:
    return {"loss": (losses.negative_cosine(i["p1"], i["z2"]) + losses.negative_cosine(i["p2"], i["z1"])) / 2}


def _dino(i: Tensors, p: Parameters) -> dict[str, Tensor]:
    student = torch.stack([i[f"student{view}"] for view in range(4)])
    teacher = torch.stack([i[f"teacher{view}"] for view in range(2)])
    center = Center(len(i["center_before"]), p["center_momentum"]).to(student.dtype)
    center.value.copy_(i["center_before"])
    temperatures = {"student_temperature": p["student_temp"], "teacher_temperature": p["teacher_temp"]}
    loss = losses.dino(student, teacher, center.value, **temperatures)
    center.stage(teacher.mean((0, 1))[None])
    center.commit()
    return {"loss": loss, "center_after": center.value}


def _clip(i: Tensors, p: Parameters) -> dict[str, Tensor]:
    weight, other = torch.zeros_like(i["grad"]), torch.zeros(2)
    weight.grad, other.grad = i["grad"].clone(), torch.full((2,), 1000.0)
    optim.clip_each_([weight, other], p["clip"])
    return {"grad_after": weight.grad}


def _attention_mask(i: Tensors, p: Parameters) -> dict[str, Tensor]:
    return {"mask": readouts.attention_mask(i["attention"], p["threshold"])}


CASES: dict[str, Case] = {
    "byol": Case(_byol, "byol_regression", lambda i, p: naive.byol_loss(i["p1"], i["p2"], i["t1"], i["t2"])),
    "simsiam": Case(_simsiam, "negative_cosine", lambda i, p: naive.simsiam_loss(i["p1"], i["p2"], i["z1"], i["z2"])),
    "dino_step0": Case(_dino, "dino"),
    "dino_step1": Case(_dino, "dino"),
    "dino_attention_threshold": Case(_attention_mask),
    "clip_per_parameter": Case(_clip),
}
