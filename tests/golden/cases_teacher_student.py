"""Reference cases of the methods with a teacher."""

import torch
from torch import Tensor
from torch.nn import functional as F

from sslbolts import losses, optim, readouts
from sslbolts.losses.bag_of_words import soft_bags, word_distances
from sslbolts.methods.teacher_student.dino import Center
from sslbolts.methods.teacher_student.obow import Vocabulary
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


def _obow_targets(i: Tensors, p: Parameters) -> dict[str, Tensor]:
    words = Vocabulary(*i["vocabulary"].shape, momentum=p["decay"]).to(i["features"].dtype)
    words.rows.copy_(i["vocabulary"])
    words.mean_distance.fill_(p["mu_init"])
    distances = word_distances(i["features"][:, :, 1:-1, 1:-1], words.rows)
    nearest = distances.amin(2).mean()
    bow = soft_bags(distances, p["inv_delta"] / words.distance_with(nearest))
    words.stage(i["features"][:, :, 0, 0], nearest[None])
    words.commit()
    return {"bow": bow, "mu": words.mean_distance}


def _obow_loss(i: Tensors, p: Parameters) -> dict[str, Tensor]:
    logits = i["logits"].unflatten(0, (len(i["bow"]), -1)).transpose(0, 1)  # two crops of each image stand together
    return {"loss": losses.bag_of_words(logits, i["bow"])}


def _bownet(i: Tensors, p: Parameters) -> dict[str, Tensor]:
    logits = p["gamma"] * i["feat"] @ F.normalize(i["weight"], dim=1).T
    return {"loss": losses.bag_of_words(logits, i["hist"], divergence=False)}


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
    "obow_targets": Case(_obow_targets),
    "obow_loss_kl": Case(_obow_loss, "bag_of_words"),
    "bownet": Case(_bownet, "bag_of_words"),
    "dino_attention_threshold": Case(_attention_mask),
    "clip_per_parameter": Case(_clip),
}
