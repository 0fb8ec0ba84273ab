"""The memory of instance discrimination, beyond what holds for every method."""

import pytest
import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader, IterableDataset

from sslbolts import InstanceDiscrimination, UsageError
from sslbolts.batch import ViewBatch
from sslbolts.data import CIFAR10MiniDataModule
from sslbolts.distributed import rank
from sslbolts.methods.contrastive import instance_discrimination
from sslbolts.methods.contrastive.instance_discrimination import InstanceBank
from tests.helpers.nets import TinyBackbone
from tests.helpers.trainers import quiet_trainer
from tests.helpers.views import noise_loader

SMALL = {"output_dim": 4, "num_negatives": 6, "lr_scaling": "none"}


def _loader(images: int, batch: int, **share: int) -> DataLoader[ViewBatch]:
    return noise_loader(images, batch, (32,), **share)


def test_rows_move_half_of_the_way_and_stay_unit_vectors():
    bank = InstanceBank(5, 3)
    before = bank.rows.clone()
    v = F.normalize(torch.randn(2, 3), dim=1)
    bank.stage(v[:1], torch.tensor([3]))
    bank.stage(v[1:], torch.tensor([0]))
    assert torch.equal(bank.rows, before), "nothing moves before the step"
    bank.commit()
    expected = before.clone()
    for image, row in ((3, v[0]), (0, v[1])):
        mixed = (before[image] + row) / 2
        expected[image] = mixed / mixed.norm()
    torch.testing.assert_close(bank.rows, expected)


def test_an_image_that_came_twice_moves_to_the_mean():
    bank = InstanceBank(3, 2, momentum=0.0)
    bank.stage(torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]]), torch.tensor([1, 1, 2]))
    bank.commit()
    torch.testing.assert_close(bank.rows[1:], torch.tensor([[0.5**0.5, 0.5**0.5], [0.0, 1.0]]))


def test_rows_start_uniform_with_unit_length_in_expectation():
    rows = InstanceBank(4000, 12).rows
    assert rows.abs().max() <= 0.5
    assert rows.square().sum(1).mean().item() == pytest.approx(1, abs=0.02)


def _written(world: int) -> list[torch.Tensor]:
    torch.manual_seed(0)
    method = InstanceDiscrimination(TinyBackbone(), **{**SMALL, "num_negatives": None})
    quiet_trainer(world=world, max_epochs=1).fit(method, _loader(16, 8, rank=rank(), world=world))
    return [method.bank.rows, *method.projector.parameters()]


def test_the_full_softmax_on_two_ranks_is_that_of_one_process(two_ranks):
    one = _written(1)
    for half in two_ranks(_written, 2):
        for ours, expected in zip(half, one, strict=True):
            torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-6)


def test_the_constant_is_that_of_the_first_step(monkeypatch):
    torch.manual_seed(0)
    method = InstanceDiscrimination(TinyBackbone(), num_images=32, temperature=0.5, **SMALL)
    rows = method.bank.rows.clone()
    loader = _loader(32, 8)
    batch = next(iter(loader))
    drawn = []
    draw = instance_discrimination.integers
    kept = lambda *shape, **options: drawn.append(draw(*shape, **options)) or drawn[-1]  # noqa: E731
    monkeypatch.setattr(instance_discrimination, "integers", kept)
    with torch.no_grad():
        v = F.normalize(method.projector(method.backbone(batch.views[0])), dim=1)
    quiet_trainer(max_steps=3).fit(method, loader)
    scores = [
        (v[i] @ rows[j] / 0.5).exp() for i in range(8) for j in (batch.indices[i], *drawn[0][i])
    ]  # of every image with its own row and with those drawn for it
    assert method.bank.normalizer.item() == pytest.approx(32 * (sum(scores) / len(scores)).item(), rel=1e-5)
    assert len(drawn) == 3
    assert not torch.equal(drawn[0], drawn[1])


def test_the_number_of_images_comes_from_the_loader_the_datamodule_or_the_argument():
    method = InstanceDiscrimination(TinyBackbone(), **SMALL)
    quiet_trainer(max_steps=1).fit(method, _loader(24, 8))
    assert len(method.bank.rows) == 24
    method = InstanceDiscrimination(TinyBackbone(), **SMALL)
    quiet_trainer(max_steps=1).fit(method, datamodule=CIFAR10MiniDataModule(batch_size=8, views="npid", num_workers=0))
    assert len(method.bank.rows) == 5000
    method = InstanceDiscrimination(TinyBackbone(), num_images=40, **SMALL)
    quiet_trainer(max_steps=1).fit(method, _loader(24, 8))
    assert len(method.bank.rows) == 40


def test_a_loader_that_cannot_tell_its_images_needs_the_argument():
    class Stream(IterableDataset):
        def __iter__(self):
            return iter(list(_loader(24, 8)))

    stream = DataLoader(Stream(), batch_size=None)
    with pytest.raises(UsageError, match="pass num_images="):
        quiet_trainer(max_steps=1).fit(InstanceDiscrimination(TinyBackbone(), **SMALL), stream)
    method = InstanceDiscrimination(TinyBackbone(), num_images=24, **SMALL)
    before = method.bank.rows.clone()
    quiet_trainer(max_steps=1).fit(method, stream)
    assert not torch.equal(method.bank.rows, before)


def test_a_checkpoint_is_loaded_strictly_without_knowing_the_images(tmp_path):
    method = InstanceDiscrimination("resnet10t", stem="cifar", **SMALL)
    trainer = quiet_trainer(max_steps=2)
    trainer.fit(method, _loader(24, 8))
    trainer.save_checkpoint(tmp_path / "method.ckpt")
    again = InstanceDiscrimination.load_from_checkpoint(tmp_path / "method.ckpt")
    assert torch.equal(again.bank.rows, method.bank.rows)
    assert again.bank.normalizer == method.bank.normalizer > 0


def test_more_images_than_rows_are_refused():
    method = InstanceDiscrimination(TinyBackbone(), num_images=20, **SMALL)
    with pytest.raises(UsageError, match=r"24 training images, but the memory has 20 rows: pass num_images=24"):
        quiet_trainer(max_steps=1).fit(method, _loader(24, 8))


@pytest.mark.parametrize(
    "arguments", [{"temperature": 0}, {"num_negatives": 0}, {"memory_momentum": 1.0}, {"milestones": (80,)}]
)
def test_wrong_arguments_are_named(arguments):
    with pytest.raises(UsageError, match=next(iter(arguments))):
        InstanceDiscrimination(TinyBackbone(), **arguments)


def test_after_training_on_fewer_images_the_advice_is_not_what_was_done():
    method = InstanceDiscrimination(TinyBackbone(), **SMALL)
    quiet_trainer(max_steps=1).fit(method, _loader(16, 8))
    with pytest.raises(
        UsageError, match="has 16 rows, those of the images that this method was trained on: make a new"
    ):
        quiet_trainer(max_steps=1).fit(method, _loader(24, 8))
