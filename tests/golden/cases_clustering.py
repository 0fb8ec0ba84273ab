"""Reference cases of the clustering methods."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from sslbolts import losses, optim
from sslbolts.distributed import gather, rank, world_size
from sslbolts.readouts.kmeans import kmeans
from tests.golden import naive_losses as naive
from tests.golden.reference import Case, Parameters, Tensors


def _sinkhorn(i: Tensors, p: Parameters) -> dict[str, Tensor]:
    mine = i["scores"].chunk(world_size())[rank()]
    return {"q": gather(losses.sinkhorn(mine, epsilon=p["epsilon"], iterations=p["iterations"]))}


def _swav(i: Tensors, p: Parameters) -> dict[str, Tensor]:
    scores = [i[f"out{view}"] for view in range(sum(p["nmb_crops"]))]
    codes = []
    for view in range(p["nmb_crops"][0]):
        before = i["queue"][view] @ i["prototypes"].T if "queue" in i else scores[view][:0]
        everything = torch.cat([before, scores[view].detach()])
        code = losses.sinkhorn(everything, epsilon=p["epsilon"], iterations=p["iterations"])
        codes.append(code[-len(scores[view]) :])
    return {"loss": losses.swapped_prediction(scores, codes, temperature=p["temperature"])}


def _naive_swav(i: Mapping[str, Any], p: Parameters) -> Tensor:
    outs = [i[f"out{view}"] for view in range(sum(p["nmb_crops"]))]
    return naive.swav_loss(outs, [0, 1], p["temperature"], p["epsilon"], p["iterations"])


def _kmeans(i: Tensors, p: Parameters) -> dict[str, Tensor]:
    images = 14
    centroids, assignments = [], torch.full((len(i["memory"]), images), -100)
    for head, (bank, order) in enumerate(zip(i["memory"], i["init_order"])):
        found = kmeans(bank, p["K"], iterations=p["iters"], spherical=True, init=bank[order[: p["K"]]], empty="keep")
        centroids.append(found.centroids)
        assignments[head, i["memory_index"]] = found.assignments
    return {"centroids": torch.stack(centroids), "assignments": assignments}


def _deepcluster_v2(i: Tensors, p: Parameters) -> dict[str, Tensor]:
    return {"loss": losses.deepcluster_v2([i["out"]], i["target"][None], temperature=p["temperature"])}


def _larc(i: Tensors, p: Parameters) -> dict[str, Tensor]:
    w, b = i["w"].clone().requires_grad_(), i["b"].clone().requires_grad_()
    settings = {"momentum": p["momentum"], "weight_decay": p["weight_decay"], "trust_coefficient": p["eta"]}
    optimizer = optim.LARC([w, b], lr=0.0, **settings)
    for gw, gb, lr in zip(i["gw"], i["gb"], i["lr"].tolist()):
        w.grad, b.grad = gw.clone(), gb.clone()
        optimizer.param_groups[0]["lr"] = lr
        optimizer.step()
    return {"w": w.detach(), "b": b.detach()}


CASES: dict[str, Case] = {
    "swav_sinkhorn": Case(_sinkhorn, "sinkhorn"),
    "ddp_sinkhorn": Case(_sinkhorn, "sinkhorn", world=2),
    "swav_multicrop": Case(_swav, "swapped_prediction", _naive_swav),
    "swav_multicrop_queue": Case(_swav, "swapped_prediction"),
    "larc_apex": Case(_larc),
    "deepcluster_v2_kmeans": Case(_kmeans),
    "deepcluster_v2_loss": Case(_deepcluster_v2, "deepcluster_v2"),
}
