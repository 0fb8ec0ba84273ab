"""Collapse on purpose: what keeps each method from it is taken away."""

from functools import partial
from typing import Any

import torch
from study import NETWORK, Claim, Study, Variant, main
from torch import Tensor, nn

from sslbolts import BYOL, DINO, SimSiam, VICReg
from sslbolts.batch import ViewBatch


class WithoutPredictor(BYOL):
    """BYOL whose student must give the teacher's embedding directly."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.predictor = nn.Identity()


class WithGradient(SimSiam):
    """SimSiam whose gradient also goes into the targets."""

    def training_step(self, batch: ViewBatch, batch_idx: int) -> Tensor:
        x1, x2 = batch.views
        z1, z2 = self.projector(self.backbone(x1)), self.projector(self.backbone(x2))
        p1, p2 = self.predictor(z1), self.predictor(z2)
        loss = -(torch.cosine_similarity(p1, z2).mean() + torch.cosine_similarity(p2, z1).mean()) / 2
        self.log("train/loss", loss, batch_size=len(x1))
        self.log_spread(z1)
        return loss


class NotCentered(DINO):
    """DINO whose center stays at zero."""

    def training_step(self, batch: ViewBatch, batch_idx: int) -> Tensor:
        loss = super().training_step(batch, batch_idx)
        self.center.forget()
        return loss


small: dict[str, Any] = {"hidden_dim": 256, "output_dim": 128, **NETWORK}
byol = {**small, "momentum": 0.95}
dino: dict[str, Any] = {
    **NETWORK,
    "hidden_dim": 256,
    "output_dim": 512,
    "batch_norm": True,
    "momentum": 0.95,
    "freeze_last_layer_epochs": 0,
    "final_weight_decay": None,
    "drop_path": 0.0,
}
sharp = {"teacher_temperature": 0.04, "warmup_teacher_temperature": 0.04}
dull = {"teacher_temperature": 0.1, "warmup_teacher_temperature": 0.1}

STUDY = Study(
    name="collapse",
    title="Collapse on purpose",
    about="Does each method collapse without the part that is said to prevent it? BYOL without predictor (Grill et "
    "al. 2020, arXiv:2006.07733, table 5b: 0.2 %), SimSiam without stop-gradient (Chen and He 2021, "
    "arXiv:2011.10566, table 1: 0.1 %), DINO without centering or sharpening (Caron et al. 2021, "
    "arXiv:2104.14294, figure 7), VICReg without its variance term (Bardes et al. 2022, arXiv:2105.04906, "
    "table 7). Features are judged, which lag behind collapsed embeddings in a short run; RankMe of the "
    "features says more.",
    variants=[
        Variant("BYOL", partial(BYOL, **byol)),
        Variant("BYOL without predictor", partial(WithoutPredictor, **byol)),
        Variant("SimSiam", partial(SimSiam, **small)),
        Variant("SimSiam without stop-gradient", partial(WithGradient, **small)),
        Variant("DINO", partial(DINO, **dino, **sharp)),
        Variant("DINO without centering", partial(NotCentered, **dino, **sharp)),
        Variant("DINO without sharpening", partial(DINO, **dino, **dull)),
        Variant("VICReg", partial(VICReg, **small)),
        Variant("VICReg without variance", partial(VICReg, variance=0.0, **small)),
    ],
    claims=[
        Claim(method, f"{method} without {part}", metric)
        for method, part in (
            ("BYOL", "predictor"),
            ("SimSiam", "stop-gradient"),
            ("DINO", "centering"),
            ("DINO", "sharpening"),
            ("VICReg", "variance"),
        )
        for metric in ("ridge", "rankme")
    ],
)

if __name__ == "__main__":
    main(STUDY)
