"""Wrong uses of methods whose tasks are made of images alone."""

import json

from sslbolts import Exemplar, MultiTask, RotNet
from sslbolts.data import CIFAR10MiniDataModule
from tests.cli.wrong import DATA, TINY, TRAINER, Wrong
from tests.helpers.trainers import quiet_trainer


def _fit(method: str, *arguments: str) -> list[str]:
    network = ["--model.backbone=resnet18", f"--model.backbone_kwargs={json.dumps(TINY)}"]
    return ["fit", f"--model={method}", *network, *DATA, *TRAINER, "--trainer.max_epochs=1", *arguments]


def _run(method: RotNet | Exemplar | MultiTask, views: str) -> None:
    data = CIFAR10MiniDataModule(batch_size=8, num_workers=0, views=views)
    quiet_trainer(max_steps=1).fit(method, datamodule=data)


WRONG_PRETEXT_TASKS = [
    Wrong(
        "a layer that the network does not have",
        _fit("RotNet", "--model.feature_layer=layer9", "--data.views=rotnet"),
        'ResNet has no layer "layer9".',
        lambda files: RotNet("resnet18", feature_layer="layer9"),
    ),
    Wrong(
        "views that are not RotNet's",
        _fit("RotNet", "--data.views=simclr"),
        "RotNet takes 1 views of each image, and the batch has 2",
        lambda files: _run(RotNet("resnet18", backbone_kwargs=TINY), "simclr"),
    ),
    Wrong(
        "a factor that would stop the learning",
        _fit("RotNet", "--model.milestone_factor=0", "--data.views=rotnet"),
        "milestone_factor=0.0: it must be positive.",
        lambda files: RotNet("resnet18", milestone_factor=0.0),
    ),
    Wrong(
        "a classifier over images whose number is not said",
        _fit("Exemplar", "--model.objective=softmax", "--data.views=exemplar"),
        'objective="softmax" has a class for each training image: give num_images=',
        lambda files: Exemplar("resnet18", objective="softmax"),
    ),
    Wrong(
        "a margin where there is none",
        _fit("Exemplar", "--model.objective=batch_hard", "--model.margin=0.5", "--data.views=exemplar"),
        'margin=0.5 has no effect with objective="batch_hard"',
        lambda files: Exemplar("resnet18", objective="batch_hard", margin=0.5),
    ),
    Wrong(
        "triplets of a single view",
        _fit("Exemplar", "--data.views=rotnet", "--model.warmup_epochs=0"),
        "triplets need two or more views of each image",
        lambda files: _run(Exemplar("resnet18", backbone_kwargs=TINY, warmup_epochs=0), "rotnet"),
    ),
    Wrong(
        "a task that is not a method",
        _fit("MultiTask", "--model.tasks=[RotNet,Jigsw]", "--data.views=multi_task"),
        "there is no method 'Jigsw'. Did you mean \"Jigsaw\"",
        lambda files: MultiTask("resnet18", backbone_kwargs=TINY, tasks=["RotNet", "Jigsw"]),
    ),
    Wrong(
        "fewer weights than tasks",
        _fit("MultiTask", "--model.tasks=[RotNet,Counting]", "--model.weights=[1.0]", "--data.views=multi_task"),
        "weights=[1.0]: there are 2 tasks, and one weight is for each.",
        lambda files: MultiTask("resnet18", backbone_kwargs=TINY, tasks=["RotNet", "Counting"], weights=[1.0]),
    ),
    Wrong(
        "a task of two views with a recipe of one",
        _fit("MultiTask", "--model.tasks=[RotNet,SimCLR]", "--data.views=rotnet"),
        "SimCLR takes 2 views of each image, and the batch has 1: choose another recipe",
        lambda files: _run(MultiTask("resnet18", backbone_kwargs=TINY, tasks=["RotNet", "SimCLR"]), "rotnet"),
    ),
]
