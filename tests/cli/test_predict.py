"""The file of features where ranks and loaders are unlike those of one dataset on one process."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet
import pytest
import torch
from torch import Tensor
from torch.utils.data import BatchSampler, DataLoader, SequentialSampler, Subset, TensorDataset

from sslbolts._lightning import LightningModule
from sslbolts.cli.run.feature_file import FeatureFile, _paths
from sslbolts.data.paths import paths_of
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
        self.sampler = SequentialSampler(range(self.batches))  # which Lightning 2.5 looks at

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


class Photos(TensorDataset):
    """Images of files, as torchvision's ImageFolder lists them."""

    samples = [(f"photos/{number}é.png", 0) for number in range(5)] + [(os.fsdecode(b"photos/\xff.png"), 1)]


@pytest.mark.parametrize("of_files", [True, False])
def test_each_row_has_its_file_and_reads_back_in_two_lines(of_files, tmp_path):
    dataset = (Photos if of_files else TensorDataset)(IMAGES, LABELS, ROWS)
    for name in ("features.npz", "features.parquet"):
        trainer = quiet_trainer(callbacks=[FeatureFile(str(tmp_path / name))])
        trainer.predict(Doubled(), DataLoader(dataset, batch_size=4, sampler=[5, 1, 3]), return_predictions=False)
    file = np.load(tmp_path / "features.npz")
    table = pd.read_parquet(tmp_path / "features.parquet")
    schema = pyarrow.parquet.read_schema(tmp_path / "features.parquet")
    assert str(schema.field("features").type) == "fixed_size_list<element: float>[2]"
    assert schema.names == ["features", "path", "label", "index"]
    np.testing.assert_array_equal(np.stack(table["features"]), file["features"])
    assert table["path"].tolist() == file["paths"].tolist()
    assert table["label"].tolist() == file["targets"].tolist() == [1, 1, 1]
    assert file["indices"].tolist() == table["index"].tolist() == [1, 3, 5]
    named = ["photos/1é.png", "photos/3é.png", "photos/\\xff.png"]
    assert file["paths"].tolist() == (named if of_files else ["", "", ""])


def test_rows_of_a_subset_are_not_given_the_files_of_others():
    dataset = Subset(Photos(IMAGES, LABELS, ROWS), [5, 1, 3])
    assert paths_of(dataset) == [Photos.samples[row][0] for row in (5, 1, 3)]
    assert _paths(dataset, [0, 1, 2]) == ["", "", ""]


def test_a_second_loader_is_refused_before_the_pass(tmp_path):
    trainer = quiet_trainer(callbacks=[FeatureFile(str(tmp_path / "features.npz"))])
    with pytest.raises(UsageError, match="there are 2 predict loaders"):
        trainer.predict(Doubled(), [loader(3), loader(3)])
    assert not (tmp_path / "features.npz").exists()
