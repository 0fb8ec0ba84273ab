"""Reference cases of the clustering methods."""

import torch
from torch import Tensor

from sslbolts.clusters import kmeans
from tests.golden.reference import Case, Parameters, Tensors


def _kmeans(i: Tensors, p: Parameters) -> dict[str, Tensor]:
    images = 14
    centroids, assignments = [], torch.full((len(i["memory"]), images), -100)
    for head, (bank, order) in enumerate(zip(i["memory"], i["init_order"])):
        found = kmeans(bank, p["K"], iterations=p["iters"], spherical=True, init=bank[order[: p["K"]]], empty="keep")
        centroids.append(found.centroids)
        assignments[head, i["memory_index"]] = found.assignments
    return {"centroids": torch.stack(centroids), "assignments": assignments}


CASES: dict[str, Case] = {
    "deepcluster_v2_kmeans": Case(_kmeans),
}
