"""The words and shapes of the recordings that our methods have otherwise, method by method."""

from typing import Any

import torch
from torch import Tensor

from sslbolts import (
    AMDIM,
    BYOL,
    DINO,
    WMSE,
    BarlowTwins,
    DeepClusterV2,
    Distillation,
    InstanceDiscrimination,
    MeanTeacher,
    MoCo,
    MoCoV3,
    OBoW,
    SimCLR,
    SimSiam,
    SSLModule,
    SwAV,
    VICReg,
)
from tests.trajectories.adapter import Adapter
from tests.trajectories.case import Case, network


class OfSimCLR(Adapter):
    def arguments(self, **same: Any) -> dict[str, Any]:
        return {"scale_loss": self.case.facts["loss_factor"], **same}

    def loss_factor(self) -> float:
        return 1.0


class OfMoCo(Adapter):
    names = {"^queue$": "queue.rows", "^queue_pointer$": "queue.pointer"}

    def draws(self) -> dict[str, list[Tensor]]:
        shuffles = self.case.draws.get("shuffle")  # (T, 2, B); where there are none, they do not matter
        return {} if shuffles is None else {"randperm": list(shuffles.flatten(0, 1))}


class OfInstanceDiscrimination(Adapter):
    names = {"^memory$": "bank.rows", "^normalizer$": "bank.normalizer"}

    def arguments(self, *, epsilon: float | None, **same: Any) -> dict[str, Any]:  # a constant of our loss
        return same

    def draws(self) -> dict[str, list[Tensor]]:
        negatives = self.case.draws.get("negatives")  # (T, B, K)
        return {} if negatives is None else {"randint": list(negatives)}

    def load(self, module: Any, init: dict[str, Tensor]) -> None:
        unset = {name: value.clamp(min=0) for name, value in init.items() if name == "normalizer"}
        super().load(module, init | unset)  # the official -1 is our 0


class OfBarlowTwins(Adapter):
    def arguments(
        self, *, bias_lr: float, bias_lr_per_256: float, final_lr_factor: float, **same: Any
    ) -> dict[str, Any]:
        return {"bias_lr_scale": bias_lr / self.case.hyper["lr"], "final_lr": final_lr_factor, **same}


class OfVICReg(Adapter):
    def arguments(self, *, epsilon: float, final_lr_factor: float, **same: Any) -> dict[str, Any]:
        return {"final_lr": final_lr_factor, **same}  # epsilon is a constant of our loss


class OfWMSE(Adapter):
    def arguments(
        self, *, warmup_steps: int, drop_epochs: list[int], drop_factor: float, **same: Any
    ) -> dict[str, Any]:
        return same  # all of that is in the learning rate, which is imposed

    def draws(self) -> dict[str, list[Tensor]]:
        orders = self.case.draws["orders"]  # (T, iterations, B), the first the batch's own
        return {"randperm": list(orders[:, 1:].flatten(0, 1))}


class OfAMDIM(Adapter):
    def backbone(self) -> str:
        return "sslbolts/amdim"

    def arguments(self, *, milestone_factor: float, **same: Any) -> dict[str, Any]:  # a constant of ours
        return {"backbone_kwargs": self.case.facts["backbone"]["amdim"], **same}

    def draws(self) -> dict[str, list[Tensor]]:
        return {"randint": list(self.case.draws["locations"])}  # (T, 2, B)


class OfSwAV(Adapter):
    def arguments(self, *, start_warmup: float, queue_from_epoch: int | None, **same: Any) -> dict[str, Any]:
        return {"queue_from_epoch": queue_from_epoch or 0, **same}  # the warm-up is imposed

    def state(self, module: Any) -> dict[str, Tensor]:
        state = super().state(module)
        if module.queue is not None:
            rows = module.queue.rows.clone()  # (L, views * D), a ring
            rows[int(module.queue.pushed) :] = 0  # not yet written
            batches = rows.roll(-int(module.queue.pointer), 0).unflatten(0, (-1, self.case.batch)).flip(0)
            state["queue"] = batches.flatten(0, 1).unflatten(1, (-1, module.queue.dim)).transpose(0, 1)
        return state


class OfDeepClusterV2(Adapter):
    names = {r"^centroids\.": "bank.centroids_", "^assignments$": "bank.assignments"}

    def arguments(self, *, start_warmup: float, **same: Any) -> dict[str, Any]:  # the warm-up is imposed
        return same

    def draws(self) -> dict[str, list[Tensor]]:
        """Orders of the images that were embedded, from the first of which k-means starts."""
        first = self.case.draws.get("first_index", torch.arange(self.case.images))
        embedded = [first, *(rows.unique() for rows in self.case.rows)]
        starts = [self.case.draws[f"kmeans_start_{head}"] for head in range(len(self.case.hyper["num_prototypes"]))]
        epochs = range(self.case.epochs)
        return {"randperm": [_beginning_with(start[epoch], embedded[epoch]) for epoch in epochs for start in starts]}

    def load(self, module: Any, init: dict[str, Tensor]) -> None:
        module.bank.resize(self.case.images)
        super().load(module, init)
        if "first_memory" in self.case.impose:
            index = self.case.draws["first_index"]
            module.bank.rows[:, index] = self.case.draws["first_memory"]
            module.bank.seen[index] = True
            module.bank.epoch.fill_(0)  # so that there is no pass over all images

    def state(self, module: Any) -> dict[str, Tensor]:
        index = module.bank.seen.nonzero().flatten()
        return super().state(module) | {"memory": module.bank.rows[:, index], "memory_index": index}


def _beginning_with(chosen: Tensor, images: Tensor) -> Tensor:
    """An order of ``images``, which ascend, that has the chosen ones first."""
    return torch.searchsorted(images, torch.cat([chosen, images[~torch.isin(images, chosen)]]))


class OfDINO(Adapter):
    names = {
        r"last_layer\.norm$": "last_layer.parametrizations.weight.original0",
        r"last_layer\.direction$": "last_layer.parametrizations.weight.original1",
        "^center$": "center.value",
    }

    def arguments(self, *, batch_norm_in_head: bool, weight_decay: float, **same: Any) -> dict[str, Any]:
        return {"batch_norm": batch_norm_in_head, **same}

    def optimizer_settings(self) -> dict[str, Any]:
        return {"weight_decay": self.case.hyper["weight_decay"], **super().optimizer_settings()}


class OfOBoW(Adapter):
    names = {r"^generator\.(\d+)": r"generators.\1.mlp", r"^words\.": "vocabularies."}

    def arguments(self, *, places: list[int], mean_distance_momentum: float, **same: Any) -> dict[str, Any]:
        return same

    def draws(self) -> dict[str, list[Tensor]]:
        """Numbers in [0, 1) in the middle of what belongs to the place."""
        places = self.case.draws["places"]  # (T, levels, B)
        numbers = (places + 0.5) / torch.tensor(self.case.hyper["places"])[:, None]
        return {"rand": list(numbers.flatten(0, 1))}

    def load(self, module: Any, init: dict[str, Tensor]) -> None:
        super().load(module, init)
        for words in module.vocabularies:  # it is no argument of the constructor
            words.momentum = self.case.hyper["mean_distance_momentum"]


class OfDistillation(Adapter):
    names = {r"^teacher\.backbone": "teacher.network"}

    def arguments(self, **same: Any) -> dict[str, Any]:
        return {"teacher": network(self.case.facts["backbone"]["teacher"]), **same}


class OfMeanTeacher(Adapter):
    """Our cross entropy is divided by the labeled images, the official one by all: see ``loss_factor``."""

    names = {r"^teacher\.classifier": "teacher.projector"}
    own = {"momentum"}

    def arguments(
        self,
        *,
        consistency_weight: float,
        labelled_share: float,
        lr_rampdown_epochs: int,
        logit_distance_cost: None,
        **same: Any,
    ) -> dict[str, Any]:
        rise = {"ramp_up_epochs": 0} if "consistency_weight" in self.case.impose else {}
        return {"consistency_weight": consistency_weight / labelled_share, **same, **rise}

    def before_step(self, module: Any, step: int) -> None:
        if "consistency_weight" in self.case.impose:
            module.consistency_weight = (
                self.case.schedule["consistency_weight"][step] / self.case.hyper["labelled_share"]
            )


METHODS: dict[str, tuple[type[SSLModule], type[Adapter]]] = {
    "AMDIM": (AMDIM, OfAMDIM),
    "BYOL": (BYOL, Adapter),
    "Barlow Twins": (BarlowTwins, OfBarlowTwins),
    "DINO": (DINO, OfDINO),
    "DeepCluster-v2": (DeepClusterV2, OfDeepClusterV2),
    "Instance discrimination (NPID)": (InstanceDiscrimination, OfInstanceDiscrimination),
    "Mean Teacher": (MeanTeacher, OfMeanTeacher),
    "MoCo v1": (MoCo, OfMoCo),
    "MoCo v2": (MoCo, OfMoCo),
    "MoCo v3": (MoCoV3, Adapter),
    "OBoW": (OBoW, OfOBoW),
    "SimCLR": (SimCLR, OfSimCLR),
    "SimReg (distillation)": (Distillation, OfDistillation),
    "SimSiam": (SimSiam, Adapter),
    "SwAV": (SwAV, OfSwAV),
    "VICReg": (VICReg, OfVICReg),
    "W-MSE": (WMSE, OfWMSE),
}
"""By the ``method`` that a case names."""


def adapter_of(case: Case) -> Adapter:
    method, adapter = METHODS[case.facts["method"]]
    return adapter(method, case)
