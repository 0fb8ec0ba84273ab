"""The numbers of a protocol depend on its own seed alone, and random states of the process stay as they were."""

import os
import random
from dataclasses import replace

import numpy as np
import pytest
import torch

from sslbolts import evaluation
from sslbolts._lightning import seed_everything
from sslbolts.data import DatasetDataModule
from sslbolts.evaluation import load_encoder
from sslbolts.evaluation.probes.run import evaluate_maps
from tests.helpers.nets import SmallConvNet

ON_IMAGES = {"settings": "moco", "on": "images", "lr": [0.1, 1.0], "epochs": 1, "batch_size": 16}
QUIET = {"trainer": {"enable_progress_bar": False}}
PROTOCOLS = {
    "knn": evaluation.evaluate_knn,
    "ridge": evaluation.evaluate_ridge,
    "few labels": lambda *given: evaluation.evaluate_few_label(*given, per_class=2, seed=3),
    "linear on features": lambda *given: evaluation.evaluate_linear(*given, epochs=2, lr=[0.1, 1.0], seed=3),
    "linear": lambda *given: evaluation.evaluate_linear(*given, **ON_IMAGES, **QUIET, seed=3),
    "mlp": lambda *given: evaluation.evaluate_mlp(*given, **ON_IMAGES, **QUIET, seed=3),
    "maps": lambda encoder, data: evaluate_maps(
        replace(encoder, layer="layers.5"), data, classifier="mlp", epochs=1, batch_size=16, **QUIET, seed=3
    ),
    "finetune": lambda *given: evaluation.evaluate_finetune(*given, epochs=1, progress=False, seed=3),
    "layers": lambda *given: evaluation.evaluate_layers(
        *given, layers=["layers.5"], epochs=1, lrs=[0.1], progress=False, seed=3
    ),
    "layers on crops": lambda *given: evaluation.evaluate_layers(
        *given, layers=["layers.5"], epochs=1, lrs=[0.1], augment=True, progress=False, seed=3
    ),
}


@pytest.fixture(scope="module")
def encoder():
    torch.manual_seed(0)
    return load_encoder(SmallConvNet(), device="cpu", image_size=16)


def _data() -> DatasetDataModule:
    drawn = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (64, 3, 16, 16), dtype=torch.uint8, generator=drawn)
    dataset = torch.utils.data.TensorDataset(images, torch.arange(64) % 2)
    return DatasetDataModule(dataset, val=dataset, num_classes=2, batch_size=16, num_workers=0)


def _states() -> tuple[object, ...]:
    seeds = {name: value for name, value in os.environ.items() if name.startswith("PL_")}
    return torch.get_rng_state().tolist(), np.random.get_state()[1].tolist(), random.getstate(), seeds  # noqa: NPY002


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", PROTOCOLS)
def test_what_ran_before_changes_no_number_and_what_comes_after_draws_as_it_would_have(name, encoder, monkeypatch):
    monkeypatch.delenv("PL_GLOBAL_SEED", raising=False)
    found = []
    for before in (lambda: torch.manual_seed(1), lambda: seed_everything(99, verbose=False)):
        monkeypatch.setenv("PL_SEED_WORKERS", "0")
        before()
        states = _states()
        result = PROTOCOLS[name](encoder, _data())
        assert _states() == states
        found.append((result.metrics, result.rows))
    assert found[0] == found[1]
