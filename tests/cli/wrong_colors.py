"""Wrong uses of the methods that predict colors."""

import json

from sslbolts import Colorization, SplitBrain
from sslbolts.data import CIFAR10MiniDataModule
from tests.cli.wrong import DATA, TINY, TRAINER, Wrong
from tests.helpers.trainers import quiet_trainer

_NETWORK = ["--model.backbone=resnet18", f"--model.backbone_kwargs={json.dumps(TINY)}"]
_COLORIZATION = ["fit", "--model=Colorization", *_NETWORK, *DATA, *TRAINER, "--trainer.max_epochs=1"]
_SPLIT_BRAIN = ["fit", "--model=SplitBrain", *_NETWORK, *DATA, *TRAINER, "--trainer.max_epochs=1"]

WRONG_COLORS = [
    Wrong(
        "normalized images for a method that sees colors",
        [*_COLORIZATION, "--data.views=mae"],
        "Colorization takes images in [0, 1], but CIFAR10MiniDataModule normalizes them: give it views= with "
        "normalize=False",
        lambda files: quiet_trainer(max_steps=1).fit(
            Colorization("resnet18", backbone_kwargs=TINY),
            datamodule=CIFAR10MiniDataModule(views="mae", batch_size=8, num_workers=0),
        ),
    ),
    Wrong(
        "two channels for a network of lightness",
        [*_COLORIZATION, "--data.views=colorization", "--model.in_chans=2"],
        "in_chans=2: images must have three, of which the network sees one",
        lambda files: Colorization("resnet18", in_chans=2),
    ),
    Wrong(
        "gray images for two networks of lightness and color",
        [*_SPLIT_BRAIN, "--data.views=split_brain", "--data.in_chans=1"],
        "in_chans=1",
    ),
    Wrong(
        "no pixels to predict",
        [*_SPLIT_BRAIN, "--data.views=split_brain", "--model.target_size=0"],
        "target_size=0: it must be a whole number of at least 1",
        lambda files: SplitBrain("resnet18", target_size=0),
    ),
]
