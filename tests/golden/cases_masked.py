"""Reference cases of MAE and SimMIM; the trajectory is five steps of MAE's official module."""

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.optim import AdamW

from sslbolts import MAE, losses
from sslbolts.losses.reconstruction import enlarged
from sslbolts.methods.masked.masks import random_cells, random_patches
from sslbolts.networks.vit import sin_cos_positions
from sslbolts.optim import warmup_cosine
from tests.golden.reference import Case, Parameters, Tensors

_NAMES = {
    r"decoder_embed": "decoder.embed",
    r"decoder_blocks": "decoder.blocks",
    r"decoder_norm": "decoder.norm",
    r"decoder_pred": "decoder.head",
    r"mask_token": "decoder.mask_token",
    r"(cls_token|pos_embed|patch_embed|blocks|norm)\b": r"backbone.\1",
}


def _our(name: str) -> str:
    pattern = next(pattern for pattern in _NAMES if re.match(pattern, name))
    return re.sub(f"^{pattern}", _NAMES[pattern], name)


def _masking(i: Tensors, p: Parameters) -> dict[str, Tensor]:
    found = random_patches(i["noise"], p["mask_ratio"])
    return {"ids_keep": found.keep, "ids_restore": found.restore, "mask": found.hidden.to(i["noise"].dtype)}


def _mae(i: Tensors, p: Parameters) -> dict[str, Tensor]:
    mask = i["mask"] if "mask" in i else random_patches(i["noise"], p["mask_ratio"]).hidden
    loss = losses.masked_patches(i["pred"], i["imgs"], mask, patch=p["patch"], normalize=p["norm_pix"])
    return {"loss": loss} if "mask" in i else {"loss": loss, "mask": mask.to(loss.dtype)}


def _positions(i: Tensors, p: Parameters) -> dict[str, Tensor]:
    return {"pos": sin_cos_positions(p["grid"], p["grid"], p["dim"])}


def _lr(i: Tensors, p: Parameters) -> dict[str, Tensor]:
    peak, steps = p["blr"] * p["batch"] / 256, 1000  # in an epoch
    factors = [
        warmup_cosine(round(epoch * steps), total=p["epochs"] * steps, warmup=p["warmup"] * steps)
        for epoch in i["epoch"].tolist()
    ]
    return {"lr": peak * torch.tensor(factors, dtype=i["epoch"].dtype)}


def _trajectory(i: Tensors, p: Parameters) -> dict[str, Tensor]:
    dtype = i["images"].dtype
    shape = {name: p[name] for name in ("img_size", "patch_size", "embed_dim", "depth", "num_heads", "mlp_ratio")}
    method = MAE(
        "vit_tiny_patch16_224",
        backbone_kwargs=shape,
        mask_ratio=p["mask_ratio"],
        decoder_dim=p["decoder_embed_dim"],
        decoder_depth=p["decoder_depth"],
        decoder_heads=p["decoder_num_heads"],
    ).to(dtype)
    start = {_our(key[6:]): value for key, value in i.items() if key.startswith("state.") and "decoder_pos" not in key}
    method.load_state_dict(start)
    method.decoder.positions.copy_(i["state.decoder_pos_embed"][0])  # it was rounded to float32
    optimizer = AdamW(method.parameter_groups(), lr=1.0, betas=(0.9, 0.95), weight_decay=p["weight_decay"])
    found: dict[str, Any] = {"losses": [], "lr": []}
    for step, (images, noise) in enumerate(zip(i["images"], i["noise"])):
        lr = 2e-3 * warmup_cosine(step, total=8, warmup=2)
        for group in optimizer.param_groups:
            group["lr"] = lr
        patches = random_patches(noise, p["mask_ratio"])
        predictions = method.predict_patches(images, patches)
        loss = losses.masked_patches(predictions, images, patches.hidden, patch=p["patch_size"])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        found["losses"].append(loss.detach())
        found["lr"].append(torch.tensor(lr, dtype=dtype))
    state = method.state_dict()
    ends = {key: state[_our(key[6:])] for key in i if key.startswith("state.") and "pos_embed" not in key}
    return {name: torch.stack(values) for name, values in found.items()} | ends


def _cells(i: Tensors, p: Parameters) -> dict[str, Tensor]:
    order = i["permutation"]  # of which the first are masked
    side = p["input"] // p["mask_patch"]
    noise = -order.argsort().view(1, side, side)
    mask = random_cells(noise, p["ratio"])
    return {"mask": enlarged(mask, p["mask_patch"] // p["model_patch"])[0].to(order.dtype)}


def _simmim(i: Tensors, p: Parameters) -> dict[str, Tensor]:
    return {"loss": losses.masked_pixels(i["reconstruction"], i["images"], i["mask"])}


CASES: Mapping[str, Case] = {
    "mae_pixel": Case(_mae, "masked_patches"),
    "mae_normpix": Case(_mae, "masked_patches"),
    "mae_patch4_pixel": Case(_mae, "masked_patches"),
    "mae_patch4_normpix": Case(_mae, "masked_patches"),
    "mae_masking": Case(_masking),
    "mae_lr": Case(_lr),
    "mae_trajectory": Case(_trajectory, exact=True),
    "sincos_pos_embed_2d": Case(_positions),
    "simmim_mask": Case(_cells),
    "simmim_loss": Case(_simmim, "masked_pixels"),
}
