"""Two processes."""

import pytest
import torch
from torch.utils.data import TensorDataset

from sslbolts.data import DatasetDataModule, ImageFolderDataModule
from sslbolts.data.files import FileImages
from sslbolts.data.images import UnreadableImage
from sslbolts.errors import UsageError
from tests.data.helpers import Recorder, quiet_trainer, write_folder

IMAGES = 46


def fit_rank(workers, epochs, seed, start_seed, **settings):
    torch.manual_seed(start_seed)
    images = torch.randint(0, 256, (IMAGES, 3, 16, 16), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    dataset = TensorDataset(images, torch.arange(IMAGES) % 5)
    data = DatasetDataModule(
        dataset, val=dataset, batch_size=5, seed=seed, num_workers=workers, in_memory=True, **settings
    )
    model = Recorder()
    trainer = quiet_trainer(max_epochs=epochs, devices=2, strategy="ddp", num_sanity_val_steps=0)
    trainer.fit(model, datamodule=data)
    queries = [index for batch in model.validated for index in batch[2].tolist()]
    return model.seen, queries, data.state_dict()["seed"], [type(trainer.train_dataloader.sampler).__name__]


def fit_rank_from_different_states(workers, epochs):
    rank = torch.distributed.get_rank()
    return fit_rank(workers, epochs, None, 100 + rank)


def fit_rank_keeping_the_last_batch():
    return fit_rank(0, 1, 3, 0, drop_last=False)


def fit_rank_whose_files_differ(root):
    read = FileImages.read

    def read_on(images, index):
        if index == 0 and torch.distributed.get_rank() == 1:
            raise UnreadableImage("0.png")
        return read(images, index)

    data = ImageFolderDataModule(root, batch_size=2, image_size=32, num_workers=0, on_bad_image="skip", in_memory=True)
    trainer = quiet_trainer(max_epochs=1, devices=2, strategy="ddp", num_sanity_val_steps=0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FileImages, "read", read_on)
        try:
            trainer.fit(Recorder(), datamodule=data)
        except UsageError as error:
            return str(error)
    return "no error"


def test_files_that_one_rank_alone_cannot_read_are_an_error_on_all(two_ranks, tmp_path):
    said = two_ranks(fit_rank_whose_files_differ, str(write_folder(tmp_path, per_class=4, size=(32, 32))))
    assert [line.partition(", each")[0] for line in said] == ["the processes could read 8, 7 training images"] * 2


def test_ranks_share_every_epoch_without_repeats_under_different_views(two_ranks):
    ranks = two_ranks(fit_rank, 0, 2, 3, 0)
    for epoch in range(2):
        indices = [index for seen, *_ in ranks for e, _, rows, _ in seen if e == epoch for index in rows]
        assert len(indices) == len(set(indices)) == 40  # 46 images in 4 global batches of 2 x 5
    views = [digest for seen, *_ in ranks for _, _, _, digests in seen for digest in digests]
    assert len(views) == len(set(views)) == 2 * 2 * 4 * 2
    assert [names for *_, names in ranks] == [["EpochSampler"]] * 2  # Lightning has not replaced it


def test_ranks_hold_equally_many_images_in_the_last_batch(two_ranks):
    ranks = two_ranks(fit_rank_keeping_the_last_batch)
    assert [[len(rows) for _, _, rows, _ in seen] for seen, *_ in ranks] == [[5, 5, 5, 5, 3]] * 2
    assert {index for seen, *_ in ranks for _, _, rows, _ in seen for index in rows} == set(range(IMAGES))


def test_without_a_seed_all_ranks_take_that_of_the_first(two_ranks):
    ranks = two_ranks(fit_rank_from_different_states, 0, 1)
    assert ranks[0][2] == ranks[1][2]
    indices = [index for seen, *_ in ranks for _, _, rows, _ in seen for index in rows]
    assert len(set(indices)) == 40


def test_queries_are_shared_as_lightning_shares_them(two_ranks):
    ranks = two_ranks(fit_rank, 0, 1, 3, 0)
    assert [queries for _, queries, *_ in ranks] == [list(range(0, IMAGES, 2)), list(range(1, IMAGES, 2))]
