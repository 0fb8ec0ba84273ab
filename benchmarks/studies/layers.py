"""Layers over methods: where in the network the features are that a linear classifier reads best."""

from dataclasses import replace
from functools import partial
from typing import Any

from study import NETWORK, SIZE, Claim, Study, Variant, main

from sslbolts import BYOL, Colorization, RotNet, SimCLR
from sslbolts.transforms import MultiView, View

STAGES = ("layer1", "layer2", "layer3")
CROP = View(SIZE, scale=(0.5, 1.0))
pretext: dict[str, Any] = {**NETWORK, "milestones": ()}

STUDY = Study(
    name="layers",
    title="Layers over methods",
    about="Which stage's features does a linear classifier read best? Of pretext methods the papers' tables have a "
    "middle layer ahead of the last (Gidaris et al. 2018, arXiv:1803.07728: conv3 of AlexNet; Zhang et al. "
    "2016, arXiv:1603.08511: conv4), since the last layers learn the task itself; contrastive and "
    "teacher-student methods are evaluated at the last one. Here it is the four stages of a narrow ResNet-10, "
    "averaged over pixels. The rows without a stage are the last stage.",
    variants=[
        Variant("SimCLR", partial(SimCLR, hidden_dim=256, temperature=0.2, **NETWORK), layers=STAGES),
        Variant("BYOL", partial(BYOL, hidden_dim=256, output_dim=128, momentum=0.95, **NETWORK), layers=STAGES),
        Variant("RotNet", partial(RotNet, **pretext), views=MultiView((CROP,)), layers=STAGES),
        Variant(
            "Colorization",
            partial(Colorization, layer="layer2", **pretext),
            views=MultiView((replace(CROP, flip=0.5),), normalize=False),
            layers=STAGES,
        ),
    ],
    claims=[
        Claim("SimCLR", "SimCLR: layer3"),
        Claim("BYOL", "BYOL: layer3"),
        Claim("RotNet: layer3", "RotNet"),
        Claim("Colorization: layer3", "Colorization"),
        Claim("SimCLR", "RotNet: layer3"),
    ],
)

if __name__ == "__main__":
    main(STUDY)
