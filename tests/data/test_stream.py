"""Streams: every image once, whoever reads, and the same ones after a resumption."""

import itertools
import tarfile
import warnings
from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import IterableDataset

from sslbolts import DeepCluster, DeepClusterV2, Exemplar, InstanceDiscrimination
from sslbolts.callbacks import AugmentationSheet, NeighborSheet, ViewAgreement, WhitenedStem
from sslbolts.data import DatasetDataModule, StreamDataModule
from sslbolts.data.stream_shares import Share, share_of, shuffled, useful_workers
from sslbolts.errors import UsageError
from sslbolts.transforms import MultiView, View
from tests.data.helpers import Recorder, quiet_trainer
from tests.helpers.nets import TinyBackbone

VIEWS = MultiView((View(8),), normalize=False)  # crops and flips of one-colored images change nothing
COUNT = 48


def image(number):
    return np.full((8, 8, 3), number, np.uint8)


def encoded(number):
    Image.fromarray(image(number)).save(content := BytesIO(), "png")
    return content.getvalue()


class Plain(IterableDataset):
    """Tuples, in an order of each epoch."""

    def __init__(self, count=COUNT):
        self.count, self.epoch = count, 0

    def set_epoch(self, epoch):
        self.epoch = epoch

    def __iter__(self):
        order = torch.randperm(self.count, generator=torch.Generator().manual_seed(self.epoch)).tolist()
        yield from ((image(number), number) for number in order)


def numbers_of_shards(shards):
    per = COUNT // shards
    return [range(shard * per, (shard + 1) * per) for shard in range(shards)]


@pytest.fixture(scope="module")
def streams(tmp_path_factory):
    """A function that makes the stream of an engine, of 48 images in 8 shards, each image's label its color."""
    root = tmp_path_factory.mktemp("streams")

    def hugging_face():
        datasets = pytest.importorskip("datasets")

        def rows(shards):
            for shard in shards:
                for number in shard:
                    yield {"picture": Image.fromarray(image(number)), "label": number}

        made = datasets.IterableDataset.from_generator(rows, gen_kwargs={"shards": numbers_of_shards(8)})
        return made.shuffle(seed=3, buffer_size=4)

    def webdataset():
        wds = pytest.importorskip("webdataset")
        if not (root / "0.tar").exists():
            for shard, numbers in enumerate(numbers_of_shards(8)):
                with tarfile.open(root / f"{shard}.tar", "w") as tar:
                    for number in numbers:
                        for name, content in (
                            (f"{number:03}.png", encoded(number)),
                            (f"{number:03}.cls", b"%d" % number),
                        ):
                            (info := tarfile.TarInfo(name)).size = len(content)
                            tar.addfile(info, BytesIO(content))
        shards = str(root / "{0..7}.tar")
        return wds.WebDataset(shards, shardshuffle=False, nodesplitter=wds.split_by_node).decode("pil")

    def litdata():
        lit = pytest.importorskip("litdata")
        from litdata.streaming.writer import BinaryWriter

        folder = root / "chunks"
        if not folder.exists():
            writer = BinaryWriter(str(folder), chunk_size=6)
            for number in range(COUNT):
                writer[number] = (encoded(number), number)
            writer.done()
            writer.merge()
        return lit.StreamingDataset(str(folder), shuffle=True, drop_last=False, seed=5, transform=_decoded)

    return {"torch": Plain, "datasets": hugging_face, "webdataset": webdataset, "litdata": litdata}


def _decoded(item):
    return np.asarray(Image.open(BytesIO(item[0]))), item[1]


ENGINES = ["torch", "datasets", "webdataset", "litdata"]


def label(item):
    if isinstance(item, dict):
        return item["label"] if "label" in item else item["cls"]
    return int(item[1])


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("world_size", [1, 2, 4])
def test_processes_and_workers_share_every_image_once(streams, engine, world_size):
    """Workers are not started here, but for the one test below: their number is what the loader tells the stream."""
    read = [
        label(item)
        for rank in range(world_size)
        for item in share_of(
            streams[engine](),
            Share(rank, world_size, 0, 1),
            split_by="items" if engine == "torch" else "itself",
            epoch=1,
        )
    ]
    assert sorted(read) == list(range(COUNT))


def data_of(stream, **settings):
    arguments = {"epoch_images": COUNT, "batch_size": 4, "views": VIEWS, "num_workers": 0, "seed": 0}
    key = {"image_key": "picture"} if "datasets" in type(stream).__module__ else {}
    return StreamDataModule(stream, **(arguments | key | settings))


def labels(loader):
    return [batch.targets.tolist() for batch in loader]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("workers", [0, 2])
def test_an_epoch_of_two_ranks_has_every_image_once_and_the_next_another_order(streams, engine, workers, monkeypatch):
    epochs = []
    for rank in range(2):
        monkeypatch.setattr("sslbolts.data.stream.place_of", lambda trainer, rank=rank: {"rank": rank, "world_size": 2})
        loader = data_of(streams[engine](), num_workers=workers).train_dataloader()
        batches = list(loader)
        for batch in batches:  # views, labels belong together
            assert torch.allclose(batch.views[0].mean((1, 2, 3)), batch.targets / 255, atol=1e-6)
        epochs.append([batch.targets.tolist() for batch in batches])
        assert len(epochs[-1]) == len(loader) == 6
        if rank == 0 and engine != "webdataset":  # whose order here is that of its files
            loader.set_epoch(1)
            assert labels(loader) != epochs[-1]
    assert sorted(itertools.chain.from_iterable(itertools.chain.from_iterable(epochs))) == list(range(COUNT))


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("engine", ENGINES)
def test_a_resumed_run_goes_on_with_the_batch_that_would_have_come_next(streams, engine, workers):
    whole = data_of(streams[engine](), num_workers=workers, shuffle_buffer=5).train_dataloader()
    expected = []
    for epoch in range(2):
        whole.set_epoch(epoch)
        expected += labels(whole)
    for done in (13,) if workers else (5, 13):
        resumed = data_of(streams[engine](), num_workers=workers, shuffle_buffer=5).train_dataloader()
        resumed.position = lambda done=done: (done, done % 12)
        assert labels(resumed) == expected[done : (done // 12 + 1) * 12]


def test_a_resumption_at_the_start_of_the_shares_reads_nothing_in_vain():
    data = data_of(Plain(), resume="start")
    loader = data.train_dataloader()
    first = labels(loader)
    loader.position = lambda: (7, 7)
    assert labels(loader) == first[:5]


def test_a_trainer_resumes_in_the_middle_of_an_epoch(tmp_path):
    def run(steps, ckpt_path=None):
        module, trainer = Recorder(), quiet_trainer(max_steps=steps, default_root_dir=tmp_path)
        data = StreamDataModule(Plain(), epoch_images=16, batch_size=4, views=VIEWS, num_workers=0, seed=0)
        trainer.fit(module, data, ckpt_path=ckpt_path)
        trainer.save_checkpoint(tmp_path / "stopped.ckpt")
        return [batch.targets.tolist() for batch in module.batches]

    whole = run(10)
    assert run(6) == whole[:6]
    assert run(10, tmp_path / "stopped.ckpt") == whole[6:]


def fit_rank(steps, folder, ckpt_path=None):
    """What this process of two trains on."""
    module = Recorder()
    trainer = quiet_trainer(max_steps=steps, devices=2, strategy="ddp", default_root_dir=folder)
    data = StreamDataModule(Plain(), epoch_images=COUNT, batch_size=4, views=VIEWS, num_workers=0, seed=0)
    trainer.fit(module, data, ckpt_path=ckpt_path)
    trainer.save_checkpoint(f"{folder}/stopped.ckpt")
    return [batch.targets.tolist() for batch in module.batches]


def test_two_processes_read_every_image_of_an_epoch_once_and_go_on_exactly_in_its_middle(two_ranks, tmp_path):
    whole = two_ranks(fit_rank, 10, str(tmp_path))  # of 6 steps an epoch
    for rank, other in ((0, 1), (1, 0)):
        epoch = [number for batch in whole[rank][:6] for number in batch]
        assert sorted(epoch + [number for batch in whole[other][:6] for number in batch]) == list(range(COUNT))
    begun = two_ranks(fit_rank, 4, str(tmp_path))
    assert [*begun] == [batches[:4] for batches in whole]
    resumed = two_ranks(fit_rank, 10, str(tmp_path), str(tmp_path / "stopped.ckpt"))
    assert [*resumed] == [batches[4:] for batches in whole]


@pytest.mark.parametrize("engine", ENGINES)
def test_ranks_and_workers_together_read_every_image_once_also_when_resumed(streams, engine, monkeypatch):
    read, done = [], 3
    for rank in range(2):
        monkeypatch.setattr("sslbolts.data.stream.place_of", lambda trainer, rank=rank: {"rank": rank, "world_size": 2})
        whole = labels(data_of(streams[engine](), num_workers=2).train_dataloader())
        loader = data_of(streams[engine](), num_workers=2).train_dataloader()
        loader.position = lambda: (done, done)
        resumed = labels(loader)
        assert resumed == whole[done:]
        read += whole[:done] + resumed
    assert sorted(itertools.chain.from_iterable(read)) == list(range(COUNT))


def test_a_sheet_of_augmentations_shows_the_first_batch_of_a_stream(tmp_path):
    sheet = AugmentationSheet(images=3, folder=tmp_path)
    data = data_of(Plain())
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="the picture augmentations cannot be drawn")
        quiet_trainer(max_steps=1, callbacks=[sheet]).fit(Recorder(), data)
    assert [path.name for path in (tmp_path / "pictures").iterdir()] == ["augmentations-epoch0001.png"]


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: (Recorder(), NeighborSheet()), "NeighborSheet"),
        (lambda: (Recorder(), ViewAgreement()), "ViewAgreement"),
        (lambda: (Recorder(), WhitenedStem(network="net")), "WhitenedStem"),
        (lambda: (InstanceDiscrimination(TinyBackbone(), num_images=COUNT), None), "InstanceDiscrimination"),
        (lambda: (DeepCluster(TinyBackbone(), num_clusters=4, pca_dim=None), None), "DeepCluster"),
        (lambda: (DeepClusterV2(TinyBackbone()), None), "DeepClusterV2"),
        (lambda: (Exemplar(TinyBackbone(), objective="batch_hard"), None), "Exemplar"),
    ],
)
def test_what_needs_rows_refuses_a_stream_by_its_name(make, name):
    module, callback = make()
    trainer = quiet_trainer(max_steps=1, callbacks=[] if callback is None else [callback])
    with pytest.raises(
        UsageError, match=rf"^{name}\b.* looks at single training images, and those of StreamDataModule"
    ):
        trainer.fit(module, data_of(Plain(), image_size=None))


def test_a_stream_of_other_channels_asks_for_mean_and_deviation():
    settings = {"epoch_images": 8, "batch_size": 4, "num_workers": 0, "views": MultiView((View(8),))}
    data = StreamDataModule(Plain(), in_chans=5, **settings)
    with pytest.raises(UsageError, match=r"mean and std of 5 channels are not known, .* give mean= and std="):
        data.train_dataloader()


def test_color_operations_of_a_stream_change_the_channels_that_are_named():
    class Gray(IterableDataset):
        def __iter__(self):
            yield from (torch.full((5, 8, 8), 100, dtype=torch.uint8) for _ in range(8))

    jitter = MultiView((View(8, jitter=(0.8, 0, 0, 0), jitter_p=1.0),), normalize=False)
    settings = {"epoch_images": 8, "batch_size": 8, "in_chans": 5, "views": jitter, "num_workers": 0}
    (batch,) = StreamDataModule(Gray(), color_channels=[3, 2, 1], **settings).train_dataloader()
    changed = (batch.views[0] - 100 / 255).abs().amax((0, 2, 3)) > 0.01
    assert changed.tolist() == [False, True, True, True, False]


def test_a_buffer_gives_each_item_once_in_another_order():
    share = Share(0, 1, 0, 1)
    once = list(shuffled(iter(range(100)), 10, seed=0, epoch=0, share=share))
    assert sorted(once) == list(range(100))
    assert max(number - place for place, number in enumerate(once)) <= 10  # none before the buffer has it
    assert once == list(shuffled(iter(range(100)), 10, seed=0, epoch=0, share=share))
    others = [{"seed": 1}, {"epoch": 1}, {"share": Share(1, 2, 0, 1)}, {"share": Share(0, 1, 1, 2)}]
    for other in others:
        given = {"seed": 0, "epoch": 0, "share": share} | other
        assert once != list(shuffled(iter(range(100)), 10, **given))


def test_a_share_that_ends_early_begins_anew_so_all_have_equally_many_batches():
    data = data_of(Plain(10), epoch_images=16)
    flat = [number for batch in labels(data.train_dataloader()) for number in batch]
    assert len(flat) == 16
    assert sorted(flat[:10]) == list(range(10))


def test_what_a_stream_cannot_do_is_refused(streams):
    data = data_of(Plain())
    with pytest.raises(UsageError, match="have no rows"):
        data.num_train_images  # noqa: B018
    with pytest.raises(UsageError, match="no bank"):
        data.bank_dataloader()
    with pytest.raises(UsageError, match="share of worker 0 of 1 of process 0 of 1 holds no image"):
        next(iter(data_of(Plain(0)).train_dataloader()))
    with pytest.raises(UsageError, match="epoch_images=3, but one batch takes 4"):
        data_of(Plain(), epoch_images=3).train_dataloader()
    many = streams["datasets"]()
    assert [useful_workers(many, 16, world_size=world) for world in (1, 2, 3)] == [8, 4, 8]
    assert useful_workers(Plain(), 16, world_size=2) == 16


# Hugging Face, map-style


@pytest.fixture(scope="module")
def rows():
    datasets = pytest.importorskip("datasets")
    features = datasets.Features(
        {
            "picture": datasets.Image(),
            "image": datasets.Image(),
            "label": datasets.ClassLabel(names=["cat", "emu"]),
            "name": datasets.Value("string"),
            "code": datasets.Value("int64"),
        }
    )
    given = {
        "picture": [Image.fromarray(image(100 + number)) for number in range(8)],
        "image": [Image.fromarray(image(number)) for number in range(8)],
        "label": [number % 2 for number in range(8)],
        "name": [["ox", "ant", "bee", "ant"][number % 4] for number in range(8)],
        "code": [[7, 100_000, 70_000, 7][number % 4] for number in range(8)],
    }
    return datasets.Dataset.from_dict(given, features=features)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize(
    ("settings", "names", "targets", "first"),
    [
        ({}, ("cat", "emu"), [0, 1] * 4, 0),
        ({"image_key": "picture", "label_key": "name"}, ("ant", "bee", "ox"), [2, 0, 1, 0] * 2, 100),
        ({"label_key": "code"}, ("7", "70000", "100000"), [0, 2, 1, 0] * 2, 0),
    ],
)
def test_rows_of_hugging_face_give_images_labels_and_names(rows, workers, settings, names, targets, first):
    data = DatasetDataModule(rows, batch_size=8, views=VIEWS, num_workers=workers, **settings)
    assert (data.class_names, data.num_classes) == (names, len(names))
    assert data.images("bank").labeled
    images, found, _ = next(iter(data.bank_dataloader()))
    assert found.tolist() == targets
    assert images[:, 0, 0, 0].tolist() == list(range(first, first + 8))
    batch = next(iter(data.train_dataloader()))
    assert batch.targets.tolist() == [targets[row] for row in batch.indices.tolist()]
