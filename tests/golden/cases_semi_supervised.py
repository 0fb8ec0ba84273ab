"""Reference cases of joint semi-supervised training."""

from collections.abc import Mapping

import torch
from torch import Tensor

from sslbolts import losses
from sslbolts.transforms.rotations import rotation_labels
from tests.golden.reference import Case, Parameters, Tensors


def _joint(i: Tensors, p: Parameters) -> dict[str, Tensor]:
    return {"loss": losses.joint_loss(i["logits"], i["labels"], losses.nt_xent(i["z1"], i["z2"], 0.5), p["w"])}


def _s4l(i: Tensors, p: Parameters) -> dict[str, Tensor]:
    labeled, unlabeled = len(i["rot_sup"]), len(i["rot_unsup"])
    rotation = losses.mean_of_two_cross_entropies(
        torch.cat([i["rot_sup"], i["rot_unsup"]]),
        rotation_labels((labeled + unlabeled) // 4),
        torch.arange(labeled + unlabeled) < labeled,
    )
    return {"loss": losses.joint_loss(i["logits_class"], i["labels"].repeat_interleave(4), rotation, p["w"])}


def _vat(i: Tensors, p: Parameters) -> dict[str, Tensor]:
    pairs = zip(i["perturbed"].split(1), i["clean"].split(1))
    return {"kl": torch.stack([losses.virtual_adversarial(perturbed, clean) for perturbed, clean in pairs])}


CASES: Mapping[str, Case] = {
    "semi_supervised_joint": Case(_joint, "joint_loss"),
    "s4l_rotation_joint": Case(_s4l, "mean_of_two_cross_entropies"),
    "vat_kl_direction": Case(_vat, "virtual_adversarial"),
}
