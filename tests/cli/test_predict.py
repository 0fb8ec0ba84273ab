"""The file of features where ranks and loaders are unlike those of one dataset on one process."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import BatchSampler, DataLoader, TensorDataset

from sslbolts._lightning import LightningModule
from sslbolts.cli.run.feature_file import FeatureFile
from sslbolts.distributed import rank
from sslbolts.errors import UsageError
from tests.helpers.trainers import quiet_trainer

IMAGES, LABELS, ROWS = torch.arange(12.0).view(6, 2), torch.arange(6) % 2, torch.arange(6)


class Doubled(LightningModule):
    """Its features are twice the images."""

    def predict_step(self, batch: list[Tensor], batch_idx: int, dataloader_idx: int = 0) -> Tensor:
        return 2 * batch[0]


class OnRankZero(BatchSampler):
    """Batches on the first rank, none on others."""

    def __init__(self, batches: int = 3) -> None:
        self.batches = batches if rank() == 0 else 0

    def __iter__(self):
        return iter([[2 * number, 2 * number + 1] for number in range(self.batches)])

    def __len__(self) -> int:
        return self.batches


def loader(batches: int) -> DataLoader:
    return DataLoader(TensorDataset(IMAGES, LABELS, ROWS), batch_sampler=OnRankZero(batches))


def write(path: Path, batches: int = 3) -> str:
    """Predict on the ranks there are, as Lightning calls the callback."""
    file, module = FeatureFile(str(path)), Doubled()
    for number, batch in enumerate(loader(batches)):
        file.on_predict_batch_end(None, module, module.predict_step(batch, number), batch, number)
    try:
        file.on_predict_end(None, module)
    except UsageError as error:
        return str(error)
    return ""


def test_a_rank_without_a_batch_waits_for_the_others(two_ranks, tmp_path):
    assert two_ranks(write, tmp_path / "features.npz") == ["", ""]
    file = np.load(tmp_path / "features.npz")
    np.testing.assert_array_equal(file["features"], 2 * IMAGES.numpy())
    assert file["targets"].tolist() == LABELS.tolist()
    assert file["indices"].tolist() == ROWS.tolist()


def test_all_ranks_without_a_batch_say_so(two_ranks, tmp_path):
    said = two_ranks(write, tmp_path / "features.npz", 0)
    assert all("there was nothing to predict" in line for line in said)


def test_a_second_loader_is_refused_before_the_pass(tmp_path):
    trainer = quiet_trainer(callbacks=[FeatureFile(str(tmp_path / "features.npz"))])
    with pytest.raises(UsageError, match="there are 2 predict loaders"):
        trainer.predict(Doubled(), [loader(3), loader(3)])
    assert not (tmp_path / "features.npz").exists()
