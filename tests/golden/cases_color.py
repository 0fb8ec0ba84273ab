"""Reference cases of colorization and the split-brain autoencoder."""

from collections.abc import Mapping

import torch
from torch import Tensor

from sslbolts import losses
from sslbolts.losses.colorization import pixel_weights, rebalancing_weights
from sslbolts.transforms.lab import ab_bins, annealed_mean, rgb_to_lab, soft_codes
from tests.golden.reference import Case, Parameters, Tensors


def _lab(i: Tensors, p: Parameters) -> dict[str, Tensor]:
    return {"lab": rgb_to_lab(i["rgb"])}


def _encode(i: Tensors, p: Parameters) -> dict[str, Tensor]:
    return {"code": soft_codes(i["ab"], neighbors=p["NN"], sigma=p["sigma"], bins=i["bins"])}


def _encode_313(i: Tensors, p: Parameters) -> dict[str, Tensor]:
    assert torch.equal(ab_bins(dtype=i["bins"].dtype), i["bins"])
    return {"target": soft_codes(i["ab"], neighbors=p["NN"], sigma=p["sigma"])}


def _prior(i: Tensors, p: Parameters) -> dict[str, Tensor]:
    prior = soft_codes(i["ab"], neighbors=p["NN"], sigma=p["sigma"]).mean(0)
    return {"prior": prior, "support": prior.count_nonzero()}


def _rebalance(i: Tensors, p: Parameters) -> dict[str, Tensor]:
    return {"weights": rebalancing_weights(i["prior"], p["lam"])}


def _rebalanced(i: Tensors, p: Parameters) -> dict[str, Tensor]:
    weights = rebalancing_weights(i["prior"], p["lam"])
    loss = losses.colorization(i["logits"], i["code"], pixel_weights(i["code"], weights))
    return {"loss": loss, "weights": weights}


def _gradient(i: Tensors, p: Parameters) -> dict[str, Tensor]:
    v = pixel_weights(i["target"], i["weights"])
    unweighted = losses.colorization(i["logits"], i["target"], torch.ones_like(v))
    return {"loss": losses.colorization(i["logits"], i["target"], v), "v": v, "unweighted_loss": unweighted}


def _annealed(i: Tensors, p: Parameters) -> dict[str, Tensor]:
    return {"ab": annealed_mean(i["logits"], temperature=p["T"], bins=i["bins"])}


def _split(i: Tensors, p: Parameters) -> dict[str, Tensor]:
    return {"loss": losses.split_brain(i["logits_ab"], i["ab_bin"], i["logits_l"], i["l_bin"])}


CASES: Mapping[str, Case] = {
    # A cube root in float32, times 500, has no five digits behind the point.
    "rgb2lab": Case(_lab, exact=True),
    "colorization_soft_encode": Case(_encode),
    "colorization_soft_encode_313_nn5": Case(_encode_313),
    "colorization_soft_encode_313_nn10": Case(_encode_313),
    "colorization_prior": Case(_prior),
    "colorization_rebalance_full_support": Case(_rebalance),
    "colorization_rebalance_zero_bins": Case(_rebalance),
    "colorization_rebalanced_ce": Case(_rebalanced, "colorization"),
    "colorization_rebalanced_gradient": Case(_gradient, "colorization"),
    "colorization_annealed_mean": Case(_annealed),
    "split_brain_losses": Case(_split, "split_brain"),
}
