"""Reference cases of RotNet; the trajectory is five steps of the official network."""

import re
from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from sslbolts import RotNet
from sslbolts.networks.nin import NIN
from sslbolts.transforms.rotations import rotate, rotation_labels, rotations
from tests.golden.reference import Case, Parameters, Tensors


def _rotation(i: Tensors, p: Parameters) -> dict[str, Tensor]:
    image = i["img"].movedim(2, 0)  # of rows, columns and channels
    return {f"rot{k}": rotate(image, k).movedim(0, 2) for k in range(4)}


def _batch(i: Tensors, p: Parameters) -> dict[str, Tensor]:
    return {"rotated": rotations(i["images"]), "labels": rotation_labels(len(i["images"]))}


def _flip_after(i: Tensors, p: Parameters) -> dict[str, Tensor]:
    """What the recipe must not do, and that it is a mirror image turned the other way."""
    mirrored = rotations(i["images"].flip(-1)).unflatten(0, (-1, 4))
    back = mirrored[:, [0, 3, 2, 1]].flatten(0, 1)
    return {"flipped_after": rotations(i["images"]).flip(-1), "mirror_then_rotated_back": back}


def _our(name: str) -> str:
    """The official name of a weight in our module."""
    if "Classifier" in name:
        return name.replace("_feature_blocks.4.Classifier", "classifier")
    block, layer, part, rest = re.fullmatch(
        r"_feature_blocks\.\d\.Block(\d)_ConvB(\d)\.layers\.(Conv|BatchNorm)\.(\w+)", name
    ).groups()  # type: ignore[union-attr]
    return f"backbone.block{block}.{3 * (int(layer) - 1) + (part == 'BatchNorm')}.{rest}"


def _trajectory(i: Tensors, p: Parameters) -> dict[str, Tensor]:
    dtype, count = i["images"].dtype, len(i["images"])
    width = i["state._feature_blocks.4.Classifier.weight"].shape[1]
    method = RotNet(NIN(p["blocks"], widths=p["widths"], width=width)).to(dtype)
    method.load_state_dict({_our(key[6:]): value for key, value in i.items() if key.startswith("state.")})
    official = {epoch: next(lr for end, lr in p["lut"] if epoch < end) for epoch in range(count)}
    optimizer = torch.optim.SGD(method.parameter_groups(), lr=0.1, momentum=0.9, weight_decay=5e-4, nesterov=True)
    losses = []
    for step, images in enumerate(i["images"]):
        # Drops after two and four of five steps, as in the look-up table.
        settings = RotNet(NIN(2, widths=(1, 1, 1), width=1), milestones=(2 / 5, 4 / 5))
        lr = 0.1 * settings.lr_factor(step, total=count, warmup=0)
        assert abs(lr - official[step]) < 1e-12
        for group in optimizer.param_groups:
            group["lr"] = lr
        loss = F.cross_entropy(method.classify(rotations(images)), rotation_labels(len(images)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
    state = method.state_dict()
    ends = {key: state[_our(key[6:])] for key in i if key.startswith("state.")}
    return {"losses": torch.stack(losses), "lr": torch.tensor([*official.values()], dtype=dtype)} | ends


CASES: Mapping[str, Case] = {
    "rotnet_rotation": Case(_rotation),
    "rotnet_batch": Case(_batch),
    "rotnet_flip_after_rotation": Case(_flip_after),
    "rotnet_trajectory": Case(_trajectory, exact=True),
}
