"""Reference cases of the denoising autoencoder, the context encoder and BiGAN."""

from collections.abc import Mapping

import torch
from torch import Tensor

from sslbolts import losses
from sslbolts.networks.bigan import squash
from sslbolts.optim import hold_and_decay
from sslbolts.transforms.holes import overlap_weights
from tests.golden.reference import Case, Parameters, Tensors


def _denoising_mse(i: Tensors, p: Parameters) -> dict[str, Tensor]:
    return {"loss": losses.denoising(i["recon"], i["clean"], kind="mse")}


def _denoising_bce(i: Tensors, p: Parameters) -> dict[str, Tensor]:
    return {"loss": losses.denoising(i["logit"], i["clean"], kind="bce")}


def _masked(i: Tensors, p: Parameters) -> dict[str, Tensor]:
    return {"loss": losses.masked_mse(i["pred"], i["img"], i["mask"])}


def _overlap(i: Tensors, p: Parameters) -> dict[str, Tensor]:
    weights = overlap_weights(i["pred"].shape[-1], p["overlap"], p["ring"])
    ours = {"weights": weights, "adversarial_weight": 1 - p["weight"]}
    return {
        "loss": losses.context_encoder(i["pred"], i["target"], i["fake_logit"], **ours),
        "printed_l2": losses.context_encoder(i["pred"], i["target"]),
        "printed_total": losses.context_encoder(
            i["pred"], i["target"], i["fake_logit"], adversarial_weight=1 - p["weight"]
        ),
    }


def _discriminator(i: Tensors, p: Parameters) -> dict[str, Tensor]:
    return {"loss": losses.adversarial(i["real"], i["fake"])}


def _generator_encoder(i: Tensors, p: Parameters) -> dict[str, Tensor]:
    return {"loss": losses.adversarial(i["fake"], i["real"])}


def _squash(i: Tensors, p: Parameters) -> dict[str, Tensor]:
    return {"z": squash(i["a"])}


def _lr(i: Tensors, p: Parameters) -> dict[str, Tensor]:
    rows = zip(i["epoch"].tolist(), i["n"].tolist(), i["decay"].tolist())
    factors = [hold_and_decay(epoch, hold=hold, length=length, final=p["final"]) for epoch, hold, length in rows]
    return {"lr": p["lr0"] * torch.tensor(factors, dtype=torch.float64)}


CASES: Mapping[str, Case] = {
    "denoising_autoencoder_mse": Case(_denoising_mse, "denoising"),
    "denoising_autoencoder_bce": Case(_denoising_bce, "denoising"),
    "context_encoder_l2": Case(_masked, "masked_mse"),
    "context_encoder_overlap": Case(_overlap, "context_encoder"),
    "bigan_discriminator": Case(_discriminator, "adversarial"),
    "bigan_discriminator_2": Case(_discriminator, "adversarial"),
    "bigan_generator_encoder": Case(_generator_encoder, "adversarial"),
    "bigan_generator_encoder_2": Case(_generator_encoder, "adversarial"),
    "bigan_encoder_squash": Case(_squash),
    "bigan_lr": Case(_lr),
}
