"""A network whose features are not finite has no number in any protocol: one line says it."""

from functools import partial

import pytest
import torch
from torch import nn

from sslbolts import UsageError
from sslbolts.data import DatasetDataModule
from sslbolts.evaluation import (
    diagnose,
    evaluate_few_label,
    evaluate_finetune,
    evaluate_knn,
    evaluate_layers,
    evaluate_linear,
    evaluate_mlp,
    evaluate_ridge,
    load_encoder,
)
from tests.helpers.nets import TinyBackbone

PROTOCOLS = {
    "knn": evaluate_knn,
    "ridge": evaluate_ridge,
    "linear on features": partial(evaluate_linear, settings="features", epochs=1),
    "linear on images": partial(evaluate_linear, settings="simclr", lr=0.1, on="images", epochs=1),
    "mlp": partial(evaluate_mlp, epochs=1),
    "few labels": partial(evaluate_few_label, per_class=2),
    "few labels, fine-tuned": partial(evaluate_few_label, per_class=2, classifier="finetune", epochs=1),
    "layers": partial(evaluate_layers, epochs=1, progress=False),
    "fine-tuning": partial(evaluate_finetune, epochs=1, progress=False),
    "diagnose": partial(diagnose, max_images=8),
}


@pytest.mark.parametrize("name", PROTOCOLS)
def test_it_is_refused(name):
    network = TinyBackbone()
    nn.init.constant_(network.layers[2].weight, torch.nan)
    images = torch.randint(0, 256, (28, 3, 16, 16), dtype=torch.uint8)
    labeled = torch.utils.data.TensorDataset(images, torch.arange(28) % 7)
    data = DatasetDataModule(labeled, val=labeled, num_classes=7, batch_size=8, num_workers=0)
    with pytest.raises(UsageError, match="not finite"):
        PROTOCOLS[name](load_encoder(network, image_size=16, device="cpu"), data)
