"""On a GPU, the numbers of the CPU: views, the first losses of every method, nearest neighbors, ridge."""

import pytest
import torch

from sslbolts import METHODS
from sslbolts.data import CIFAR10MiniDataModule
from sslbolts.readouts import knn_predict, ridge_classifier
from tests.helpers.trainers import Recorder, quiet_trainer
from tests.invariants.cases import MethodCase, case_of

pytestmark = pytest.mark.cuda

VIEWS = ("simclr", "byol", "moco_v2", "swav", "dino", "simsiam", "barlow_twins", "mae", "exemplar", "colorization")


@pytest.fixture(autouse=True)
def _float32(monkeypatch):
    """No TensorFloat-32, which convolutions use unless they are told otherwise."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    monkeypatch.setattr(torch.backends.cuda.matmul, "allow_tf32", False)


@pytest.fixture
def device() -> str:
    return "cuda"


@pytest.mark.parametrize("views", VIEWS)
def test_views(views, device):
    found = []
    for where in ("cpu", device):
        data = CIFAR10MiniDataModule(batch_size=64, views=views, augment_on="device", seed=0)
        draft = next(iter(data.train_dataloader()))
        moved = [[x.to(where) for x in part] if isinstance(part, list) else part for part in draft]
        moved = [part.to(where) if isinstance(part, torch.Tensor) else part for part in moved]
        found.append(data.on_after_batch_transfer(type(draft)(*moved), 0).views)
    for ours, expected in zip(found[1], found[0], strict=True):
        assert ours.device.type == device
        difference = (ours.cpu() - expected).abs()
        assert difference.mean() < 2e-3
        assert (difference > 0.03).float().mean() < 1e-3  # one step of 255, after normalization: rounded the other way


@pytest.mark.parametrize("name", METHODS)
def test_first_losses(name, device):
    """Of three steps; of a method that draws random numbers, which a GPU draws otherwise, only that they are finite."""
    case = case_of(name)
    expected, ours = first_losses(case, "cpu", seed=1), first_losses(case, "gpu" if device == "cuda" else "cpu", seed=1)
    assert ours.isfinite().all()
    if torch.equal(expected, first_losses(case, "cpu", seed=2)):
        torch.testing.assert_close(ours, expected, rtol=2e-3, atol=2e-4)


def first_losses(case: MethodCase, accelerator: str, *, seed: int) -> torch.Tensor:
    module, recorder = case.module(), Recorder()
    torch.manual_seed(seed)
    quiet_trainer(accelerator=accelerator, max_steps=3, callbacks=[recorder]).fit(module, case.loader())
    return torch.stack(recorder.losses).cpu()


def test_readouts(device):
    generator = torch.Generator().manual_seed(0)
    centers = torch.randn(5, 32, generator=generator)
    labels = torch.arange(200) % 5
    bank = centers[labels] + 2 * torch.randn(200, 32, generator=generator)
    queries = centers[labels] + 2 * torch.randn(200, 32, generator=generator)
    votes = [knn_predict(queries.to(d), bank.to(d), labels.to(d), k=20).cpu() for d in ("cpu", device)]
    torch.testing.assert_close(votes[1], votes[0], rtol=1e-4, atol=1e-3)
    ridge = [ridge_classifier(queries.to(d), bank.to(d), labels.to(d)) for d in ("cpu", device)]
    assert ridge[0].penalty == ridge[1].penalty
    torch.testing.assert_close(ridge[1].scores.cpu(), ridge[0].scores, rtol=1e-3, atol=1e-3)
